"""The benchmarks run, and the page says what they measured. No test here is about speed."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines_tests.test_docs import PROJECT, rows, section
from benchmarks import encryption, export, figures, others, page, source_load
from benchmarks.__main__ import BENCHMARKS, PAGE, keep, main
from benchmarks.figures import Figure, Grid, Section, Taken
from benchmarks.measuring import CommandFailed, Run, last_json, medians, run
from benchmarks.source_load import Felt

# What a benchmark has to have measured, whatever the machine: a part of the figure's name.
_EXPECTED = {
    "export": ("export with digest,", "export without digest,", "size of the backup",
               "CPU of export, client and server", "over the limit", "peak memory of a backup",
               "temporary files of a backup"),
    "restore": ("restore of everything,", "in one transaction", "5 lost rows written back,",
                "safety backup first", "plan of 5 lost rows", "peak memory of a restore",
               "temporary files of a restore"),
    "changes": ("new bytes, nothing changed", "time, nothing changed", "in one place",
                "all over it"),
    "small": ("launch to sealed", "`backup-pipelines list crm`", "show crm latest`",
              "`backup-pipelines status crm`"),
    "load": ("pgbench beside our backup", "p95 of a transaction beside our backup"),
    "memory": ("1 reader", "2 readers"),
    "upload": ("peak memory of uploading",),
    "encryption": ("backup, encrypted", "verify, encrypted", "restore, proved, encrypted"),
}  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one run at the smallest scale, with the project's own PostgreSQL alone."""
    made = tmp_path_factory.mktemp("benchmarks") / "performance.md"
    options = ["--scale", "0.05", "--repeats", "1", "--without-peers", "--page", str(made)]
    assert main(options) == 0
    return made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_makes_its_part_of_the_page(measured: Path, name: str) -> None:
    """Each figure is in the page, with the ratio of the two numbers that were measured."""
    taken = figures.load(measured.with_suffix(".json"))[name]
    shown = {row[0]: row for row in rows(section(measured, taken.section.title))}
    whats = [figure.what for figure in taken.section.figures]
    if any(note.startswith("Not measured: pgbench") for note in taken.section.notes):
        # No backup ended in so short a time: then there is nothing to publish.
        assert name == "load" and not [f for f in taken.section.figures if f.against_value]
        return
    assert taken.others is not None and taken.others >= 0
    for expected in _EXPECTED[name]:
        assert any(expected in what for what in whats), expected
    for figure in taken.section.figures:
        assert figure.value >= 0
        assert figure.what in shown
        if figure.against_value:
            assert figure.ratio == pytest.approx(figure.value / figure.against_value)
    for grid in taken.section.grids:
        assert grid.title in measured.read_text()
        assert all(len(row) == len(grid.heads) for row in grid.rows)


@pytest.mark.timeout(900)
def test_the_export_is_measured_not_made_up(measured: Path) -> None:
    """Seconds, CPU, bytes and memory of every program are there, and of every kind of data."""
    taken = figures.load(measured.with_suffix(".json"))["export"]
    kinds = [grid.title.partition(":")[0] for grid in taken.section.grids]
    assert kinds == [
        "crm at 0.05 times the demo",
        "one wide table (200 columns)",
        "one narrow table (2 columns)",
        "big jsonb and text (TOAST)",
        "numerics and timestamps",
    ]
    for grid in taken.section.grids:
        found = {row[0]: dict(zip(grid.heads, row, strict=True)) for row in grid.rows}
        assert {"ours", "ours, without digest", "pg_dump -Fc"} <= set(found)
        for name in ("ours", "pg_dump -Fc"):
            for head in ("wall s", "client CPU s", "MB out", "peak MB"):
                assert float(found[name][head].replace(",", "")) > 0, (name, head)


@pytest.mark.timeout(900)
def test_what_cannot_be_compared_is_said(measured: Path) -> None:
    """A peer that is not installed is named with the reason, its goal as not measured."""
    text = measured.read_text()
    assert "Not measured: DuckDB. not asked for (--without-peers)." in text
    goals = {row[0]: row for row in rows(section(measured, "Goals"))}
    (backparq,) = (row for what, row in goals.items() if "to S3" in what)
    assert backparq[-1] == "not measured"


def test_a_run_of_one_benchmark_renews_its_section_only(tmp_path: Path) -> None:
    """The others stay as they were measured, in the same order whoever came first."""
    into = tmp_path / "performance.md"
    old = _taken("restore", 4.0)
    keep(into, "restore", old)
    keep(into, "export", _taken("export", 2.0))
    keep(into, "restore", _taken("restore", 1.0))
    found = figures.load(into.with_suffix(".json"))
    assert list(found) == ["export", "restore"]
    assert found["export"] == _taken("export", 2.0)
    assert found["restore"].section.figures[0].value == 1.0
    text = into.read_text()
    assert text.index("## Export") < text.index("## Restore")
    assert "| a figure of restore | 1.00 s | 2.00 s, a peer | 0.50 |" in text


def test_a_goal_is_judged_by_the_ratio(tmp_path: Path) -> None:
    """At most and at least, against a peer or alone; none without a number of the peer."""
    fast = Figure("x", 1.0, "s", "peer", 2.0, 0.5)
    assert fast.is_met
    assert not replace(fast, value=1.1).is_met
    assert replace(fast, value=1.1, at_least=True).is_met
    assert replace(fast, against_value=None).is_met is None
    assert replace(fast, goal=None).is_met is None
    assert not Figure("alone", 401.0, "MB", goal=400.0).is_met
    keep(tmp_path / "p.md", "small", _taken("small", 1.0, goal=0.2))
    assert (
        "| a figure of small | 0.50 times | at most 0.20 times | no |"
        in (tmp_path / "p.md").read_text()
    )


@pytest.mark.parametrize(
    ("repeats", "others", "said"),
    [
        (3, 0.5, "no"),
        (2, 0.1, "not judged: 2 runs"),
        (1, 0.1, "not judged: one run"),
        (3, 0.6, "not judged: others used 0.6 cores meanwhile"),
        (3, None, "not judged: nobody measured what else the machine did"),
    ],
)
def test_seconds_of_a_busy_machine_judge_no_goal(
    repeats: int, others: float | None, said: str
) -> None:
    """Neither those of a run or two; bytes are judged all the same."""
    taken = replace(_taken("small", 1.0, goal=0.2), repeats=repeats, others=others)
    (slow,) = taken.section.figures
    assert page.met(taken, slow) == said
    for unit in ("ms", "rows a second", "transactions a second"):
        assert page.met(taken, replace(slow, unit=unit)) == said
    assert page.met(taken, replace(slow, unit="MB")) == "no"
    assert page.met(taken, replace(slow, against_value=None)) == "not measured"


def test_the_head_says_what_the_numbers_are_of() -> None:
    """The size, the runs, what is missing, and at the top that seconds are not to be trusted."""
    small = _taken("small", 1.0)
    other = replace(small, scale=100.0, repeats=1)
    quiet = page.render({"small": replace(small, scale=100.0)}, ["small"]).partition("## Goals")[0]
    assert "Measured at 100 times the demo, medians of 3 runs.\n" in quiet
    assert "smaller" not in quiet and "Not measured" not in quiet and "trust" not in quiet
    mixed = page.render({"small": small, "load": other}, ["small", "load", "export"])
    head = mixed.partition("## Goals")[0]
    assert "Measured at 1 times the demo, medians of 3 runs: small.\n" in head
    assert "Measured at 100 times the demo, one run: load.\n" in head
    assert "Not measured: export." in head
    assert "what is smaller says less" in head and "do not trust the other seconds" in head


def test_only_backups_that_ended_are_published() -> None:
    """A window in which none did is not measured, ours or the other's."""
    whole, cut = Felt(100.0, 5.0, 2, 9.0), Felt(100.0, 5.0, 0, 9.0)
    felt = {"pgbench alone": [cut], "beside our backup": [whole, whole], "beside it": [whole]}
    found = source_load.section(felt, "beside it", "crm")
    assert len(found.figures) == 4 and all(one.ratio == 1.0 for one in found.figures)
    assert not found.notes
    found = source_load.section({**felt, "beside our backup": [whole, cut]}, "beside it", "crm")
    assert not found.figures
    assert found.notes == ("Not measured: pgbench beside our backup. No backup ended in time.",)
    assert "not measured" in found.grids[0].rows[1]
    found = source_load.section({**felt, "beside it": [cut]}, "beside it", "crm")
    assert [one.against_value for one in found.figures] == [100.0, 5.0, None, None]


def test_who_comes_first_changes_with_the_turn() -> None:
    """Of two that are compared neither is always warmed by the other."""
    turns = [encryption.order(["plain", "encrypted"], turn) for turn in range(4)]
    assert turns[0] == turns[2] != turns[1] == turns[3]
    assert sorted(turns[0]) == sorted(turns[1])


def test_what_others_use_is_not_ours(server: EmbeddedServer) -> None:
    """A process that nobody here has started counts, a child and the server do not."""
    (pid,) = (server.directory / "server" / "data" / "postmaster.pid").read_text().split()[:1]
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    before = others.used(int(pid))
    subprocess.run([sys.executable, "-c", burn], check=True)
    between = others.used(int(pid))
    assert between.ours - before.ours >= 0.5
    # Its parent ends at once, so that it belongs to nobody.
    alone = f"{sys.executable} -c '{burn}\nprint(1)' & "
    with subprocess.Popen(["sh", "-c", alone], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stdout.read() == b"1\n"
    time.sleep(0.1)
    after = others.used(int(pid))
    assert others.cores(between, after) * (after.at - between.at) >= 0.4
    one, two = others.Used(0.0, 10.0, 1.0), others.Used(2.0, 14.0, 2.0)
    assert others.cores(one, two) == 1.5
    assert others.cores(one, two, besides=1.0) == 1.0
    assert others.cores(one, two, besides=9.0) == 0.0


def test_medians_are_of_each_number() -> None:
    """One slow run of three changes nothing."""
    runs = [Run(1.0, client_cpu=3.0), Run(9.0, client_cpu=2.0), Run(2.0, client_cpu=1.0)]
    assert medians(runs) == Run(2.0, client_cpu=2.0)


def test_a_run_is_measured_with_its_children_and_the_server(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    """CPU and memory of a child count, CPU of the server's backend, and the bytes that came out."""
    (pid,) = (server.directory / "server" / "data" / "postmaster.pid").read_text().split()[:1]
    out = tmp_path / "out"
    burn = "import time; x = bytearray(150_000_000); t = time.process_time()\n"
    burn += "while time.process_time() < t + 0.5: pass"
    parent = (
        "import subprocess, sys, psycopg, json\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}], check=True)\n"
        f"c = psycopg.connect({server.url()!r})\n"
        "c.execute('SELECT count(*) FROM generate_series(1, 3000000)')\n"
        "c.close()\n"
        f"open({str(out)!r}, 'wb').write(bytes(1234))\n"
        "print(json.dumps({'seconds': 0.25}))"
    )
    found = run([sys.executable, "-c", parent], server=int(pid), output=lambda: out.stat().st_size)
    assert found.client_cpu >= 0.5
    assert found.server_cpu > 0.05
    assert found.peak_bytes > 150_000_000
    assert found.bytes_out == 1234
    assert found.work_seconds == 0.25
    assert found.cpu == found.client_cpu + found.server_cpu
    assert found.temp_bytes == 0


def test_files_without_a_name_are_seen(server: EmbeddedServer) -> None:
    """What lies in the folder for temporary files counts, whether or not a listing shows it."""
    (pid,) = (server.directory / "server" / "data" / "postmaster.pid").read_text().split()[:1]
    child = (
        "import tempfile, time\n"
        "with tempfile.TemporaryFile() as one, tempfile.NamedTemporaryFile() as two:\n"
        "    one.write(bytes(3_000_000)), two.write(bytes(2_000_000))\n"
        "    one.flush(), two.flush()\n"
        "    time.sleep(1)\n"
    )
    parent = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    found = run([sys.executable, "-c", parent], server=int(pid))
    assert found.temp_bytes == 5_000_000


def test_a_copy_that_fails_is_not_the_limit(tmp_path: Path) -> None:
    """Both scripts have to end well, whichever of them is broken."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("true\n")
    bad.write_text("exit 3\n")
    for scripts, status in (((good, good), 0), ((good, bad), 3), ((bad, good), 3)):
        words = export.both(["sh"], scripts)
        assert subprocess.run(["sh", "-c", words], check=False).returncode == status


def test_a_command_that_fails_is_not_measured(server: EmbeddedServer) -> None:
    """Its error is raised with what it said."""
    (pid,) = (server.directory / "server" / "data" / "postmaster.pid").read_text().split()[:1]
    with pytest.raises(CommandFailed, match="broken on purpose"):
        run([sys.executable, "-c", "raise SystemExit('broken on purpose')"], server=int(pid))
    assert last_json("no JSON at all") == {}


def test_the_page_of_the_project_is_of_a_full_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A smaller run does not overwrite it, and it says what its JSON says."""
    with pytest.raises(SystemExit):
        main(["--scale", "1"])
    assert "say --page FILE" in capsys.readouterr().err
    assert main(["no-such"]) == 2
    taken = figures.load(PAGE.with_suffix(".json"))
    assert taken
    head, goals = PAGE.read_text().partition("## Goals")[0], rows(section(PAGE, "Goals"))
    for name, one in taken.items():
        assert f"at {one.scale:g} times the demo, " in head
        if one.repeats < 3 or one.others is None or one.others > 0.5:
            for row in goals:
                if row[0] in [f.what for f in one.section.figures if f.is_of_time]:
                    assert row[-1].startswith(("not judged: ", "not measured")), (name, row)
    assert PAGE.read_text() == page.render(taken, list(BENCHMARKS))
    copied = tmp_path / "performance.md"
    figures.save(copied.with_suffix(".json"), taken)
    assert main(["--only-page", "--page", str(copied)]) == 0
    assert copied.read_text() == PAGE.read_text()


def test_the_peers_are_no_dependency() -> None:
    """None of what is installed for comparison alone is pinned or required by the project."""
    from benchmarks.peers import PINNED

    own = {pin.partition("==")[0] for pin in PINNED} - {"duckdb"}
    for file in ("pyproject.toml", "constraints.txt"):
        text = (PROJECT / file).read_text()
        assert not [name for name in own if re.search(rf"^\W*{name}\b", text, re.MULTILINE)]


def _taken(name: str, value: float, goal: float | None = None) -> Taken:
    figure = Figure(f"a figure of {name}", value, "s", "a peer", 2.0, goal)
    grid = Grid("a grid", ("", "wall s"), (("ours", "1.00"),))
    return Taken(
        Section(name, name.capitalize(), (figure,), (grid,), ("a note",)),
        at="2026-01-02 03:04",
        seconds=5.0,
        scale=1.0,
        repeats=3,
        others=0.1,
        machine={"CPU": "one"},
        versions={"PostgreSQL": "18"},
    )
