"""Reconciling: the store, its manifests and the catalog compared, and put right on request."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.errors import Damaged
from backup_pipelines.exporting import leftovers
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention import reconcile, removal
from backup_pipelines.retention.prune import BY_HAND
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.tiny_backups import Keeping, keys, put_backup, tiny_id

_LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def made(store: Store) -> list[Manifest]:
    """Three backups, the second with a part of the first."""
    first = put_backup(store, 0)
    second = put_backup(store, 1, shares=first.tables[0].parts[:1])
    return [first, second, put_backup(store, 2)]


def look(store: Store, known: list[Manifest]) -> reconcile.Reconciled:
    """A comparison in two days, so that nothing is young."""
    return reconcile.reconcile(store, "crm", [entry.id for entry in known], now=_LATER)


def repair(store: Store, found: reconcile.Reconciled, now: datetime) -> reconcile.Repaired:
    """A repair of what was found."""
    return reconcile.repair(store, "crm", found, report=ignore, operator="ann", now=now)


def test_all_is_well(store: Store, made: list[Manifest]) -> None:
    """Shared parts, markers, and folders that are no backups are nothing to report."""
    store.put_new("crm/backups/notes/readme.txt", b"ours")
    store.put_new("crm/drills/x/y.json", b"{}")
    store.put_new("dcim/backups/x", b"another system's")
    found = look(store, made)
    assert found.agrees
    before = keys(store)
    assert repair(store, found, _LATER) == reconcile.Repaired(0, 0, ())
    assert keys(store) == before


def test_both_directions(store: Store, made: list[Manifest]) -> None:
    """What only the store has, and what only the catalog has, is named."""
    found = reconcile.reconcile(store, "crm", [made[0].id, tiny_id(8)])
    assert found.unknown_to_catalog == [made[1].id, made[2].id]
    assert found.missing_from_store == [tiny_id(8)]
    assert not found.agrees


def test_orphans(store: Store, made: list[Manifest]) -> None:
    """Objects that no manifest names are found, in sealed folders and in abandoned ones."""
    stray = layout.part_key("crm", made[0].id, "public", "deals", 7)
    store.put_new(stray, b"12345")
    leftovers.mark_started(store, "crm", tiny_id(5), "somebody")
    abandoned = layout.started_key("crm", tiny_id(5))
    found = look(store, made)
    assert [key for key, _ in found.orphans] == [stray, abandoned]
    assert found.orphans[0][1] == 5
    assert stray in keys(store)
    assert repair(store, found, _LATER).objects == 2
    assert look(store, made).agrees
    for entry in made:
        assert all(store.exists(part.key) for part in entry.tables[0].parts)


def test_what_is_young_stays(store: Store, made: list[Manifest]) -> None:
    """A repair removes nothing of today, and nothing of a backup in progress."""
    stray = layout.part_key("crm", made[0].id, "public", "deals", 7)
    store.put_new(stray, b"12345")
    leftovers.mark_started(store, "crm", tiny_id(5), "somebody")
    found = reconcile.reconcile(store, "crm", [entry.id for entry in made])
    assert [key for key, _ in found.orphans] == [stray]
    assert repair(store, found, datetime.now(UTC)).objects == 0
    assert store.exists(stray)
    later = look(store, made)
    assert len(later.orphans) == 2
    assert repair(store, later, datetime.now(UTC)).objects == 0


def test_what_has_become_a_backup_since_stays(store: Store, made: list[Manifest]) -> None:
    """What a manifest names by the time of the repair is no orphan any more."""
    number = 5
    folder = layout.backup_prefix("crm", tiny_id(number))
    entry = put_backup(store, number)
    data = store.get(layout.manifest_key("crm", entry.id))
    store.delete([layout.manifest_key("crm", entry.id)])
    found = look(store, made)
    assert len(found.orphans) == 4
    store.put_new(layout.manifest_key("crm", entry.id), data)
    assert repair(store, found, _LATER).objects == 0
    assert len([key for key in keys(store) if key.startswith(folder)]) == 5


def test_lost_objects(store: Store, made: list[Manifest], tmp_path: Path) -> None:
    """Missing and shortened objects are named for each backup that needs them, and mark it."""
    shared, own = made[0].tables[0].parts
    store.delete([shared.key])
    (tmp_path / "store" / own.key).write_bytes(b"123")
    found = look(store, made)
    assert found.orphans == []
    assert found.lost == {
        made[0].id: (
            f"{store.uri(shared.key)} is missing",
            f"{store.uri(own.key)} has 3 bytes instead of 10",
        ),
        made[1].id: (f"{store.uri(shared.key)} is missing",),
    }
    assert catalog.states(store, "crm").damaged == {}
    assert sorted(repair(store, found, _LATER).damaged) == [made[0].id, made[1].id]
    assert reconcile.mark_lost(store, "crm", found) == ()
    status = {e.manifest.id: e.status for e in catalog.listing(store, "crm").entries}
    assert status == {made[0].id: "damaged", made[1].id: "damaged", made[2].id: "completed"}


def test_what_is_there_after_all_is_not_lost(store: Store, made: list[Manifest]) -> None:
    """A backup is marked only when its object is missing from a second listing too."""
    key = made[2].tables[0].parts[0].key
    data = store.get(key)
    store.delete([key])
    found = look(store, made)
    assert set(found.lost) == {made[2].id}
    store.put_new(key, data)
    assert reconcile.mark_lost(store, "crm", found) == ()
    assert catalog.states(store, "crm").damaged == {}


def test_unreadable_manifests(store: Store, made: list[Manifest], tmp_path: Path) -> None:
    """Of a backup whose manifest cannot be read nothing is an orphan, nor what it names."""
    shared = made[0].tables[0].parts[0]
    manifest = tmp_path / "store" / layout.manifest_key("crm", made[1].id)
    manifest.write_text(manifest.read_text().replace('"rows"', '"lines"'))
    removal.remove(store, "crm", made[0].id, operator="ann", reason="", why=BY_HAND, report=ignore)
    assert store.exists(shared.key)
    found = look(store, made[1:])
    assert found.orphans == []
    assert len(found.unreadable) == 1
    with pytest.raises(Damaged):
        catalog.load(store, "crm", made[1].id)
    assert found.unknown_to_catalog == found.missing_from_store == []


def test_unfinished_removals_are_no_orphans(store: Store, made: list[Manifest]) -> None:
    """What a removal has not been able to remove is the next prune's, not the repair's."""
    part = layout.part_key("crm", made[2].id, "public", "deals", 1)
    keeping = Keeping(store.url, [part])
    done = removal.remove(
        keeping, "crm", made[2].id, operator="ann", reason="", why=BY_HAND, report=ignore
    )
    assert done.problem
    assert look(store, made[:2]).agrees
    assert store.exists(part)
