"""`drill`: the proof, from the command line."""

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, run_process


def test_a_drill_of_the_latest_backup_proves_every_row(cli: Cli, backup_id: str) -> None:
    """Without an id it is the newest full backup that is drilled, whoever took it."""
    result = run_process("drill", "dcim", "--json")
    assert result.code == 0, result.err
    found = result.document
    listed = cli("list", "dcim", "--json").document
    newest = next(row["id"] for row in listed if row["scope"] == "full")
    assert newest >= backup_id
    shown = cli("show", "dcim", newest, "--json").document
    assert (found["backup"], found["verified"]) == (newest, True)
    assert found["rows"] == shown["records_count"]
    assert found["tables"] == shown["tables_count"]
    assert set(found["seconds_by_module"]) == {m["module"] for m in shown["modules"]}
    assert found["run_id"]


def test_people_see_the_seconds_of_each_module(cli: Cli, backup_id: str) -> None:
    result = cli("drill", "dcim", backup_id)
    assert result.code == 0, result.err
    assert "infrastructure" in result.out
    assert f"{backup_id}: " in result.out
    assert "are equal after a restore" in result.out


def test_without_a_backup_there_is_nothing_to_drill(cli: Cli, own_store: Store) -> None:
    result = cli("drill", "crm", "--json")
    assert (result.code, result.out) == (2, "")
    assert "crm has no full backup yet" in result.err
