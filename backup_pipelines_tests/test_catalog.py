"""The catalog as the store has it: whole backups only, newest first."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout, state_log, verify
from backup_pipelines.errors import Damaged, NotFound, Refused
from backup_pipelines.exporting import leftovers
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention import pins
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.bare_manifest import bare_manifest

_START = datetime(2026, 1, 15, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def template() -> Manifest:
    """Some manifest, to be varied."""
    return bare_manifest(_START)


def put(store: Store, template: Manifest, number: int, **fields: object) -> str:
    """A backup that consists of its manifest; returns its id."""
    backup_id = f"20260115T02{number:02d}00Z-manual-{number:06x}"
    at = _START + timedelta(minutes=number)
    known = {"id": backup_id, "snapshot_at": at, "scope": "full"}
    entry = template.model_copy(update=known | fields)
    store.put_new(layout.manifest_key("crm", backup_id), entry.to_json())
    return backup_id


def test_newest_first(store: Store, template: Manifest) -> None:
    """Backups are ordered by the time of their snapshot, not by when they were started."""
    ids = [put(store, template, number) for number in range(5)]
    early = put(store, template, 9, snapshot_at=_START - timedelta(days=1))
    listed = [entry.id for entry in catalog.backups(store, "crm")]
    assert listed == [*reversed(ids), early]
    assert catalog.find(store, "crm", "latest").id == ids[-1]
    assert catalog.find(store, "crm", early).id == early


def test_what_is_not_whole_is_not_listed(store: Store, template: Manifest, tmp_path: Path) -> None:
    """Folders without a manifest and folders that are no backups are not in the catalog."""
    whole = put(store, template, 1)
    leftovers.mark_started(store, "crm", "20260115T030000Z-manual-aaaaaa", "somebody")
    store.put_new("crm/backups/notes/manifest.json", b"{}")
    (tmp_path / "store/crm/backups/20260115T040000Z-manual-bbbbbb").mkdir()
    assert [entry.id for entry in catalog.backups(store, "crm")] == [whole]
    assert leftovers.unsealed(store, "crm") == [
        "20260115T030000Z-manual-aaaaaa",
        "20260115T040000Z-manual-bbbbbb",
    ]
    said: list[str] = []
    removed = leftovers.remove(store, "crm", said.append)
    assert len(removed) == len(said) == 2
    assert catalog.ids(store, "crm") == [whole]
    leftovers.abandon(store, "crm", whole)
    assert catalog.ids(store, "crm") == [whole]
    assert store.exists("crm/backups/notes/manifest.json")


def test_latest_is_a_full_one(store: Store, template: Manifest) -> None:
    """Module backups are not `latest`; without a full one there is none."""
    with pytest.raises(NotFound, match="crm has no full backup yet"):
        catalog.find(store, "crm", "latest")
    full = put(store, template, 1)
    put(store, template, 2, scope="modules")
    assert catalog.find(store, "crm", "latest").id == full


def test_names_of_no_backup(store: Store, template: Manifest) -> None:
    """An id that is not there, and a text that is no id, are refused with what helps."""
    put(store, template, 1)
    with pytest.raises(NotFound, match="backup-pipelines list crm"):
        catalog.find(store, "crm", "20200101T000000Z-manual-aaaaaa")
    with pytest.raises(Refused, match="is not a backup id"):
        catalog.find(store, "crm", "../other")
    assert catalog.backups(store, "unknown") == []


def test_a_manifest_in_the_wrong_folder(store: Store, template: Manifest) -> None:
    """A manifest that was copied into another backup's folder does not pass for that backup."""
    wrong = put(store, template, 1, id="20260115T020200Z-manual-000002")
    with pytest.raises(Damaged, match="is the manifest of crm 20260115T020200Z-manual-000002"):
        catalog.load(store, "crm", wrong)


def test_an_unreadable_manifest_is_named_and_hides_no_other(
    store: Store, template: Manifest
) -> None:
    """Damaged and newer manifests are left out of the backups and said in the listing."""
    good = put(store, template, 1)
    wrong = put(store, template, 2, id="20260115T020900Z-manual-000009")
    newer = put(store, template, 3, format_version=99)
    found = catalog.listing(store, "crm")
    assert [entry.id for entry in found.backups] == [good]
    assert [any(name in problem for problem in found.unreadable) for name in (wrong, newer)] == [
        True,
        True,
    ]
    assert catalog.find(store, "crm", "latest").id == good


def test_rows(store: Store, template: Manifest) -> None:
    """A catalog row has the documented fields and its folder's path."""
    backup_id = put(store, template, 3)
    row = catalog.row(catalog.load(store, "crm", backup_id))
    assert row["id"] == backup_id
    assert row["path"] == f"crm/backups/{backup_id}/"
    assert row["status"] == "completed"
    assert row["created_at"] == template.created_at.isoformat()


def test_what_has_become_of_backups(store: Store, template: Manifest) -> None:
    """The listing and the rows show pins and damage; a new backup counts as verified."""
    ids = [put(store, template, number) for number in range(3)]
    entries = [catalog.load(store, "crm", backup_id) for backup_id in ids]
    now = datetime(2026, 2, 1, tzinfo=UTC)
    pins.pin(store, "crm", ids[0], operator="ann", reason="")
    verify.remember(store, entries[0], None, now=now)
    verify.remember(store, entries[1], "a part is missing", now=now)
    found = catalog.listing(store, "crm")
    assert [(e.manifest.id, e.pinned, e.status, e.verified_at) for e in found.entries] == [
        (ids[2], False, "completed", template.created_at),
        (ids[1], False, "damaged", None),
        (ids[0], True, "completed", now),
    ]
    shown = [catalog.row(entry, found.states) for entry in found.backups]
    assert [row["status"] for row in shown] == ["completed", "damaged", "completed"]
    assert [row["pinned"] for row in shown] == [False, False, True]
    assert [row["verified_at"] for row in shown] == [
        template.created_at.isoformat(),
        None,
        now.isoformat(),
    ]
    assert found.states == catalog.states(store, "crm")


def test_latest_is_a_good_one(store: Store, template: Manifest) -> None:
    """A damaged backup, and one that is being removed, is not `latest`, but has its id."""
    ids = [put(store, template, number) for number in range(3)]
    verify.remember(store, catalog.load(store, "crm", ids[2]), "a part is missing")
    assert catalog.find(store, "crm", "latest").id == ids[1]
    state_log.append(store, "crm", "removals", ids[1], catalog.STARTED, {})
    assert catalog.find(store, "crm", "latest").id == ids[0]
    assert [catalog.find(store, "crm", name).id for name in ids] == ids
    verify.remember(store, catalog.load(store, "crm", ids[0]), "a part is missing")
    with pytest.raises(NotFound, match="crm has no full backup that is whole"):
        catalog.find(store, "crm", "latest")
    verify.remember(store, catalog.load(store, "crm", ids[2]), None)
    assert catalog.find(store, "crm", "latest").id == ids[2]
