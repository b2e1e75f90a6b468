"""`csv plan` and `csv import`: documents, exit codes, the file of problems, audit and undo."""

import csv
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backup_pipelines.demo.databases import Demo
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests import twenty_problems
from backup_pipelines_tests.cli.conftest import Cli, run_process
from backup_pipelines_tests.cli.test_csv import last_record
from backup_pipelines_tests.csv_importing import write


def stages(demo: Demo) -> list[tuple[object, ...]]:
    """All sources of leads."""
    with psycopg.connect(demo.owner_url("crm")) as connection:
        return connection.execute("SELECT s::text FROM lead_sources s ORDER BY id").fetchall()


@pytest.fixture
def demo_as_it_was(demo: Demo) -> Iterator[Demo]:
    """The crm demo; sources of leads that a test adds go."""
    before = stages(demo)
    yield demo
    with psycopg.connect(demo.owner_url("crm")) as connection:
        connection.execute("DELETE FROM lead_sources WHERE name LIKE 'test %'")
    assert stages(demo) == before


def test_twenty_kinds_of_errors_are_all_told_and_nothing_is_changed(
    demo: Demo, own_store: Store, tmp_path: Path
) -> None:
    """With lines, columns, values and reasons, in one file; plan and import say the same."""
    wanted = twenty_problems.make(tmp_path / "in")
    assert len(wanted) >= 20
    before = run_process("csv", "export", "crm", "--table", "deals", "--to", str(tmp_path / "a"))
    assert before.code == 0, before.err
    planned = run_process("csv", "plan", "crm", "--from", str(tmp_path / "in"), "--json")
    assert planned.code == 2, planned.err
    document = planned.document
    assert (document["hash"], document["problems"]) == (None, len(wanted))
    told = Path(document["problems_file"])
    assert told == tmp_path / "in-problems.csv"
    assert stat.S_IMODE(told.stat().st_mode) == 0o600
    with told.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert {(int(row["line"]), row["column"]): row["kind"] for row in rows} == wanted
    assert all(row["file"] == "deals.csv" and row["reason"] for row in rows)
    assert [row["line"] for row in rows] == sorted((r["line"] for r in rows), key=int)

    done = run_process(
        "csv", "import", "crm", "--from", str(tmp_path / "in"), "--confirm", "CONFIRM"
    )
    assert (done.code, done.out) == (2, "")
    assert f"{len(wanted)} problems in 1 file" in done.err
    assert "nothing was changed; all of them are in " in done.err
    assert 'deals.csv:6 stage "propsecting"' in done.err and "prospecting" in done.err
    assert "Traceback" not in done.err
    after = run_process("csv", "export", "crm", "--table", "deals", "--to", str(tmp_path / "b"))
    assert after.code == 0, after.err
    assert (tmp_path / "b/deals.csv").read_bytes() == (tmp_path / "a/deals.csv").read_bytes()
    noted = last_record_of(own_store, "csv_import")
    assert (noted.outcome, noted.operation) == ("refused", "csv_import")


def last_record_of(store: Store, operation: str) -> audit.Record:
    """The newest record of an operation."""
    found = [one for one in audit.newest_first(store, "crm") if isinstance(one, audit.Record)]
    return next(one for one in found if one.operation == operation)


def test_an_import_is_planned_done_and_taken_back(
    demo_as_it_was: Demo, own_store: Store, tmp_path: Path
) -> None:
    """The plan ends with the command that does it; undo leaves everything as it was."""
    before = stages(demo_as_it_was)
    folder = write(tmp_path / "in", lead_sources="name;is_paid\r\ntest fair;t\r\ntest mail;f\r\n")
    planned = run_process("csv", "plan", "crm", "--from", str(folder))
    assert planned.code == 0, planned.err
    assert "separated by semicolons" in planned.out
    assert "2 rows to insert" in planned.out
    [command] = [line for line in planned.out.splitlines() if line.startswith("To do it: ")]
    words = command.removeprefix("To do it: backup-pipelines ").split()
    assert stages(demo_as_it_was) == before
    done = run_process(*words, "--json", "--as", "ada", "--reason", "ticket 1")
    assert done.code == 0, done.err
    document = done.document
    assert document["verified"] and document["safety_backup"]
    assert [(t["insert"], t["rejected"]) for t in document["tables"]] == [(2, 0)]
    assert len(stages(demo_as_it_was)) == len(before) + 2
    noted = last_record(own_store, "crm")
    assert (noted.operation, noted.outcome, noted.operator) == ("csv_import", "done", "ada")
    assert (noted.reason, noted.rows, noted.plan_hash) == ("ticket 1", 2, document["hash"])
    again = run_process(*words)
    assert again.code == 2
    assert "exists already" in again.err or "is there already" in again.err
    undone = run_process("undo", "crm", "--confirm", "CONFIRM")
    assert undone.code == 0, undone.err
    assert stages(demo_as_it_was) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--confirm CONFIRM"),
        (("--confirm", "confirm"), "--confirm CONFIRM"),
        (("--confirm", "CONFIRM", "--skip-safety"), "--skip-safety needs --reason TEXT"),
        (("--confirm", "CONFIRM", "--match", "email"), "--match takes NAME=COLUMN, not email"),
        (("--confirm", "CONFIRM", "--map", "a=b", "--map", "a=c"), "--map says two things of a"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    cli: Cli, demo: Demo, own_store: Store, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 2, nothing on stdout, before a run begins."""
    folder = write(tmp_path / "in", lead_sources="name\r\nx\r\n")
    refused = cli("csv", "import", "crm", "--from", str(folder), *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


def test_a_place_without_files_is_refused(
    cli: Cli, demo: Demo, own_store: Store, tmp_path: Path
) -> None:
    """What was looked for is said."""
    nothing = cli("csv", "plan", "crm", "--module", "leads", "--from", str(tmp_path / "nowhere"))
    assert (nothing.code, nothing.out) == (2, "")
    assert "nowhere" in nothing.err
    folder = write(tmp_path / "in", lead_source="name\r\nx\r\n")
    refused = cli("csv", "plan", "crm", "--module", "leads", "--from", str(folder))
    assert (refused.code, refused.out) == (2, "")
    assert "lead_sources.csv" in refused.err
