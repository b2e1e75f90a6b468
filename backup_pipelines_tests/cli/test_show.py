"""`show`: what one backup holds."""

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup
from backup_pipelines_tests.cli.test_list import PROMISED


def test_a_backup_is_shown_with_modules_tables_and_what_was_left_out(
    cli: Cli, own_store: Store
) -> None:
    entry = put_backup(own_store, label="monthly")
    result = cli("show", "crm", entry.id)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert f"backup {entry.id}" in lines
    assert "label monthly" in lines
    assert "leads 1 1,200 5.0 KB" in lines
    assert "public.deals_table deals 1,200 5.0 KB 00000000000000ab" in lines
    assert "public.sessions they end with a restore" in lines
    assert "warning: one thing to know" in lines


def test_json_has_the_catalog_row_and_the_tables(cli: Cli, own_store: Store) -> None:
    entry = put_backup(own_store)
    shown = cli("show", "crm", entry.id, "--json").document
    assert set(shown) >= PROMISED
    assert [(t["table"], t["module"], t["rows"], t["digest"]) for t in shown["tables"]] == [
        ("public.leads_table", "leads", 1200, "00000000000000ab"),
        ("public.deals_table", "deals", 1200, "00000000000000ab"),
    ]
    assert [m["module"] for m in shown["modules"]] == ["leads", "deals"]
    assert shown["excluded"] == [{"table": "public.sessions", "reason": "they end with a restore"}]
    assert shown["sequences_count"] == 0


def test_latest_is_the_newest_full_backup(cli: Cli, own_store: Store) -> None:
    full = put_backup(own_store, hours_old=2)
    put_backup(own_store, hours_old=4)
    put_backup(own_store, hours_old=1, modules=["leads"])
    assert cli("show", "crm", "latest", "--json").document["id"] == full.id


def test_a_backup_that_does_not_exist_is_refused(cli: Cli, own_store: Store) -> None:
    result = cli("show", "crm", "20260115T020000Z-manual-9f3c1a")
    assert (result.code, result.out) == (2, "")
    assert "backup-pipelines list crm" in result.err


def test_what_is_no_id_is_refused(cli: Cli, own_store: Store) -> None:
    result = cli("show", "crm", "../../etc/passwd")
    assert result.code == 2
    assert "is not a backup id" in result.err


def test_latest_of_none_is_refused_with_what_to_do(cli: Cli, own_store: Store) -> None:
    result = cli("show", "crm", "latest", "--json")
    assert (result.code, result.out) == (2, "")
    assert "take one: backup-pipelines backup crm" in result.err
