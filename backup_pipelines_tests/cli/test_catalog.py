"""`catalog rebuild`: the catalog of a Dagster instance, from the store alone."""

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup


def test_a_rebuild_tells_what_it_brought_back(cli: Cli, own_store: Store) -> None:
    """Of a store that the instance has never seen; the second time nothing."""
    old, newest = put_backup(own_store, hours_old=5), put_backup(own_store)
    assert cli("pin", "crm", old.id).code == 0
    result = cli("catalog", "rebuild", "crm", "--json")
    assert result.code == 0, result.err
    document = result.document
    assert document["added"] == document["offered"] == [old.id, newest.id]
    assert (document["pinned"], document["newest"]) == ([old.id], newest.id)
    assert [row["backup"] for row in document["backups"]] == [newest.id, old.id]
    result = cli("catalog", "rebuild", "crm")
    assert result.code == 0, result.err
    assert "crm: 2 backups in the store; 0 brought back, 0 put right, 1 pinned" in result.out
    trail = cli("audit", "crm", "--operation", "catalog_rebuild", "--json").document
    assert len(trail) == 2


def test_a_system_that_does_not_exist_is_refused(cli: Cli, own_store: Store) -> None:
    """Before Dagster is loaded, with what there is."""
    result = cli("catalog", "rebuild", "nonesuch")
    assert (result.code, result.out) == (2, "")
    assert "nonesuch" in result.err
