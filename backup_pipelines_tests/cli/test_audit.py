"""`audit`: who did what, newest first, and whether the trail is as it was written."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_pipelines import layout
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit, spool
from backup_pipelines.trail.audit import Happened
from backup_pipelines_tests.cli.conftest import Cli, put_backup, run_process


def did(operation: str, outcome: str = "done", *, day: int = 1, **more: object) -> Happened:
    """Something that happened on a day of January."""
    return Happened.model_validate(
        {"operation": operation, "outcome": outcome, "operator": "ada"}
        | {"at": datetime(2026, 1, day, 12, tzinfo=UTC), **more}
    )


@pytest.fixture
def trail(own_store: Store) -> Store:
    """A store with some records."""
    audit.append(own_store, "crm", did("backup", day=1, rows=1234, backup="b1"))
    audit.append(own_store, "crm", did("restore", day=2, reason="oops", message="5 rows updated"))
    audit.append(own_store, "crm", did("restore", "refused", day=3, operator="eve"))
    return own_store


def test_records_are_listed_newest_first(cli: Cli, trail: Store) -> None:
    """The table tells when, what, how it ended, by whom, why and what came of it."""
    result = cli("audit", "crm")
    lines = result.out.splitlines()
    assert result.code == 0
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert "oops; 5 rows updated" in lines[2]
    assert "1,234" in lines[3] and "2026-01-01 12:00:00" in lines[3]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--last", "2"), [3, 2]),
        (("--operation", "restore"), [3, 2]),
        (("--operation", "restore", "--last", "1", "--outcome", "done"), [2]),
        (("--operator", "eve"), [3]),
        (("--since", "2026-01-02"), [3, 2]),
        (("--since", "2026-01-02T12:00+00:00"), [3, 2]),
        (("--since", "2026-01-02T13:00:00"), [3]),
        (("--operation", "prune"), []),
    ],
)
def test_filters_choose(
    cli: Cli, trail: Store, options: tuple[str, ...], numbers: list[int]
) -> None:
    """Each filter leaves out what it should, and --last counts what is left."""
    found = cli("audit", "crm", "--json", *options).document
    assert [record["sequence"] for record in found] == numbers


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--since", "tomorrow"), "is no date: write 2026-01-31"),
        (("--verify", "--operator", "eve"), "without filters"),
        (("--last", "0"), "0 is not in the range"),
    ],
)
def test_misuse_is_refused(
    cli: Cli, own_store: Store, options: tuple[str, ...], reason: str
) -> None:
    """What makes no sense is refused in one sentence."""
    result = cli("audit", "crm", *options)
    assert result.code == 2
    assert reason in result.err


def test_a_list_leaves_a_record_and_a_list_that_cannot_still_lists(
    cli: Cli, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at the backups is recorded; where that is impossible a line on stderr says so."""
    entry = put_backup(own_store)
    assert cli("list", "crm").err == ""
    [record] = cli("audit", "crm", "--json").document
    assert (record["operation"], record["outcome"]) == ("list", "done")
    folder = Path(own_store.url.removeprefix("file://")) / "crm" / "audit"
    (folder / "000000000001.json").unlink()
    folder.rmdir()
    folder.write_text("where the folder should be")
    result = cli("list", "crm", "--json")
    assert result.code == 0
    assert [row["id"] for row in result.document] == [entry.id]
    assert result.err.startswith("not in the audit trail: ") and result.err.count("\n") == 1


def test_what_is_refused_before_a_run_begins_is_recorded(cli: Cli, own_store: Store) -> None:
    """A wrong confirmation or an unknown backup leaves a record; an unknown system has no trail."""
    asked = ("--as", "eve", "--reason", "let me in")
    assert cli("restore", "crm", "latest", "--confirm", "yes", *asked).code == 2
    assert cli("restore", "crm", "latest", "--confirm", "CONFIRM", *asked).code == 2
    assert cli("undo", "crm", *asked).code == 2
    assert cli("undo", "hr", *asked).code == 2
    found = cli("audit", "crm", "--json").document
    assert [(r["operation"], r["outcome"], r["operator"], r["reason"]) for r in found] == [
        ("undo", "refused", "eve", "let me in"),
        ("restore", "refused", "eve", "let me in"),
        ("restore", "refused", "eve", "let me in"),
    ]
    assert "has no full backup" in found[1]["message"]
    assert list(own_store.objects("hr/")) == []


def test_what_waits_is_shown_first(cli: Cli, trail: Store, home: Path) -> None:
    """Records that the store has not taken yet are in the list, without a number."""
    path = spool.add(trail.url, "crm", did("backup", "failed", day=4, message="store is gone"))
    try:
        first = cli("audit", "crm", "--json").document[0]
        assert (first["sequence"], first["message"]) == (None, "store is gone")
        assert cli("audit", "crm").out.splitlines()[1].split()[0] == "waiting"
        assert "1 record of this machine" in cli("audit", "crm", "--verify").err
    finally:
        path.unlink()


def test_verify_finds_what_was_changed(cli: Cli, trail: Store) -> None:
    """A trail as written exits with 0; a missing record with 1 and its number."""
    good = cli("audit", "crm", "--verify", "--json")
    assert (good.code, good.document["verified"], good.document["records"]) == (0, True, 3)
    assert "nobody could tell" in good.err
    trail.delete([layout.audit_key("crm", 2)])
    bad = cli("audit", "crm", "--verify", "--json")
    assert (bad.code, bad.document["problems"]) == (1, ["record 2 is missing"])
    assert "record 2 is missing" in bad.err


def test_runs_tell_of_a_trail_that_lost_its_end(cli: Cli, own_store: Store, demo: object) -> None:
    """The newest record of a run removed, the tag of its run says that there was one."""
    taken = run_process("backup", "crm", "--json")
    assert taken.code == 0, taken.err
    good = cli("audit", "crm", "--verify")
    assert (good.code, good.out) == (
        0,
        "crm: 1 record, each follows from the last, as 1 run saw it\n",
    )
    own_store.delete([layout.audit_key("crm", 1)])
    bad = cli("audit", "crm", "--verify")
    assert bad.code == 1
    assert "record 1 is missing: a run has written it" in bad.err


def test_reading_the_trail_needs_no_dagster(trail: Store) -> None:
    """The list comes without the seconds that importing Dagster takes."""
    code = (
        "import sys; from backup_pipelines.cli.__main__ import main;"
        "assert main(['audit', 'crm']) == 0; assert main(['list', 'crm']) == 0;"
        "assert 'dagster' not in sys.modules and 'psycopg' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
