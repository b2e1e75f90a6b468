"""`prune` and `acknowledge`: what retention no longer keeps, shown and removed."""

import subprocess
import sys

import pytest

from backup_pipelines import catalog
from backup_pipelines.retention import freezes
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup

KEPT = 30


@pytest.fixture
def ids(own_store: Store) -> list[str]:
    """Two backups more than crm keeps, newest first."""
    return [put_backup(own_store, hours_old=hours).id for hours in range(1, KEPT + 3)]


def test_a_dry_run_shows_each_backup_with_its_reasons(
    cli: Cli, own_store: Store, ids: list[str]
) -> None:
    result = cli("prune", "crm", "--dry-run")
    assert result.code == 0, result.err
    head, *lines, last = result.out.splitlines()
    assert head.split() == ["backup", "verdict", "size", "why"]
    assert [line.split()[:2] for line in lines] == [
        [backup_id, "keep" if number < KEPT else "remove"] for number, backup_id in enumerate(ids)
    ]
    assert "floor: one of the 2 newest" in lines[0]
    assert "older than the newest 30" in lines[-1]
    assert last == "2 backups would go, 20.0 KB; 30 would stay"
    document = cli("prune", "crm", "--dry-run", "--json").document
    assert (document["dry_run"], document["remove"]) == (True, [ids[-1], ids[-2]])
    assert document["verdicts"][-1]["reasons"]
    assert len(catalog.backups(own_store, "crm")) == KEPT + 2


def test_a_dry_run_needs_no_dagster(own_store: Store, ids: list[str]) -> None:
    program = (
        "import sys; from backup_pipelines.cli.__main__ import main;"
        "code = main(['prune', 'crm', '--dry-run']);"
        "sys.exit(str(code or sorted({'dagster', 'pyarrow', 'psycopg'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
    assert ids[-1] in done.stdout


def test_a_freeze_is_shown_kept_and_acknowledged(
    cli: Cli, own_store: Store, ids: list[str]
) -> None:
    """The whole way through the instance: nothing goes before somebody has looked."""
    freezes.freeze(own_store, "crm", "shrink", "public.deals lost 90 % of its rows")
    shown = cli("prune", "crm", "--dry-run")
    assert shown.err.startswith("frozen by shrink since ")
    frozen = cli("prune", "crm")
    assert (frozen.code, frozen.out) == (0, "0 backups removed, 0 B; 32 kept\n")
    assert "public.deals lost 90 % of its rows" in frozen.err
    assert "backup-pipelines acknowledge crm --reason TEXT" in frozen.err
    reason = ("--reason", "moved to the archive", "--as", "ada")
    seen = cli("acknowledge", "crm", *reason, "--guard", "shrink", "--json")
    assert seen.code == 0, seen.err
    assert seen.document["guards"] == ["shrink"]
    done = cli("prune", "crm", "--reason", "room", "--json")
    assert done.code == 0, done.err
    assert [one["backup"] for one in done.document["removed"]] == [ids[-1], ids[-2]]
    assert done.document["run_id"]
    assert [entry.id for entry in catalog.backups(own_store, "crm")] == ids[:KEPT]


def test_what_is_misused_is_refused(cli: Cli, own_store: Store) -> None:
    for arguments in (
        ("prune",),
        ("prune", "cmr"),
        ("prune", "cmr", "--dry-run"),
        ("acknowledge", "crm"),
    ):
        result = cli(*arguments)
        assert (result.code, result.out) == (2, ""), arguments
    assert cli("prune", "crm", "--dry-run").out == "crm has no backups\n"
