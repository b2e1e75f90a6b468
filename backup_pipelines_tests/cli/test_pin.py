"""`pin` and `unpin`: what no policy removes."""

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup


def test_a_pinned_backup_is_listed_as_such_until_it_is_unpinned(cli: Cli, own_store: Store) -> None:
    entry = put_backup(own_store)
    other = put_backup(own_store, hours_old=3)
    result = cli("pin", "crm", "latest", "--reason", "before the move")
    assert (result.code, result.out) == (0, f"{entry.id}: pinned\n")
    rows = {row["id"]: row["pinned"] for row in cli("list", "crm", "--json").document}
    assert rows == {entry.id: True, other.id: False}
    lines = {line.split()[0]: line for line in cli("list", "crm").out.splitlines()}
    assert "pinned" in lines[entry.id].split()
    assert "pinned" not in lines[other.id].split()
    result = cli("unpin", "crm", entry.id, "--json")
    assert result.code == 0, result.err
    assert (result.document["backup"], result.document["pinned"]) == (entry.id, False)
    assert not any(row["pinned"] for row in cli("list", "crm", "--json").document)


def test_a_backup_that_does_not_exist_is_refused(cli: Cli, own_store: Store) -> None:
    for backup in ("latest", "20260115T020000Z-manual-9f3c1a", "nonsense"):
        result = cli("pin", "crm", backup)
        assert (result.code, result.out) == (2, ""), backup
    assert cli("unpin", "crm", "nonsense").code == 2
