"""What a killed backup leaves behind: marked when it starts, removed by the next one."""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from backup_pipelines import catalog, layout
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store


def mark_started(
    store: Store, system: str, backup_id: str, created_by: str, builds_on: str = ""
) -> None:
    """Write the marker that makes a backup's folder exist and tells people what it was to be.

    Whatever `builds_on` names is not removed as long as the marker is there without a manifest.
    """
    marker = {
        "id": backup_id,
        "system": system,
        "created_by": created_by,
        "started_at": datetime.now(UTC).isoformat(),
        removal.BUILDS_ON: builds_on,
    }
    store.put_new(layout.started_key(system, backup_id), json.dumps(marker).encode())


def unsealed(store: Store, system: str) -> list[str]:
    """Ids of folders without a manifest: backups in progress, or the leftovers of killed ones."""
    return [
        backup_id
        for backup_id in catalog.ids(store, system)
        if not store.exists(layout.manifest_key(system, backup_id))
    ]


def remove(
    store: Store, system: str, report: Callable[[str], None], *, spare: Collection[str] = ()
) -> list[str]:
    """Remove every folder without a manifest, but those to spare, and return their ids.

    The caller holds the system's lock, so that no other backup of the same database can be in
    progress; one of its standby, or a copy, that loses its marker here fails at its seal. What
    other backups name stays, and so do the folders of removals that are not finished.
    """
    found = unsealed(store, system)
    if not found:
        return []
    busy = {*removal.unfinished(store, system), *spare}
    found = [backup_id for backup_id in found if backup_id not in busy]
    keys = [layout.started_key(system, backup_id) for backup_id in found]
    markers = [key for key in keys if store.exists(key)]
    # Before the manifests are looked for once more: see sealing.py.
    store.delete(markers)
    found = [one for one in found if not store.exists(layout.manifest_key(system, one))]
    needed = removal.in_use(store, system, layout.backups_prefix(system))
    removed: list[str] = []
    for backup_id in found:
        prefix = layout.backup_prefix(system, backup_id)
        marked = layout.started_key(system, backup_id) in markers
        if any(key.startswith(prefix) for key in needed):
            keys = [item.key for item in store.objects(prefix) if item.key not in needed]
            if not keys and not marked:
                continue
            store.delete(keys)
            count = len(keys) + marked
        else:
            count = store.delete_folder(prefix) + marked
        report(f"removed {count} objects that the unfinished backup {backup_id} had left")
        removed.append(backup_id)
    return removed


def abandon(store: Store, system: str, backup_id: str) -> None:
    """Remove what a failed backup wrote; one that was sealed is never touched."""
    if not store.exists(layout.manifest_key(system, backup_id)):
        # Before the rest is listed: an attempt on a cluster that ends later looks for it.
        store.delete([layout.started_key(system, backup_id)])
        store.delete_folder(layout.backup_prefix(system, backup_id))
