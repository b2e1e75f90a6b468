"""`delete` and `reconcile`: one backup removed by hand, and what the store has too much or lost."""

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup


def test_one_backup_is_deleted(cli: Cli, own_store: Store) -> None:
    old, new = (put_backup(own_store, hours_old=hours) for hours in (5, 1))
    result = cli("delete", "crm", old.id, "--confirm", "CONFIRM", "--reason", "test", "--json")
    assert result.code == 0, result.err
    assert (result.document["backup"], result.document["objects"]) == (old.id, 1)
    assert [entry.id for entry in catalog.backups(own_store, "crm")] == [new.id]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ID"], "--confirm CONFIRM"),
        (["ID", "--confirm", "yes"], "--confirm CONFIRM"),
        (["latest", "--confirm", "CONFIRM"], "give the id"),
        (["../crm", "--confirm", "CONFIRM"], "is not a backup id"),
        ([], "Missing argument 'BACKUP'"),
    ],
)
def test_what_names_no_backup_deletes_none(
    cli: Cli, own_store: Store, arguments: list[str], said: str
) -> None:
    entry = put_backup(own_store)
    put_backup(own_store, hours_old=3)
    named = [entry.id if word == "ID" else word for word in arguments]
    result = cli("delete", "crm", *named)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert len(catalog.backups(own_store, "crm")) == 2


def test_reconcile_tells_what_is_lost_and_repairs_on_request(cli: Cli, own_store: Store) -> None:
    """Exit code 1 as long as a backup lacks objects: these manifests name parts that never were."""
    entry = put_backup(own_store)
    missing = f"{layout.backup_prefix('crm', entry.id)}stray"
    own_store.put_new(missing, b"12")
    result = cli("reconcile", "crm")
    assert result.code == 1
    assert f"marked as damaged, no longer counted by retention: {entry.id}" in result.err
    found = {line.split()[0] for line in result.out.splitlines()}
    assert {"lost", "of"} <= found
    assert missing in result.out
    refused = cli("reconcile", "crm", "--repair")
    assert (refused.code, "--confirm CONFIRM" in refused.err) == (2, True)
    repaired = cli("reconcile", "crm", "--repair", "--confirm", "CONFIRM", "--json")
    assert repaired.code == 1
    assert repaired.document["unknown_to_catalog"] == [entry.id]
    (row,) = cli("list", "crm", "--json").document
    assert row["status"] == "damaged"
