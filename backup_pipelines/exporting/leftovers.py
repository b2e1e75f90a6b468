"""What a killed backup leaves behind: marked when it starts, removed by the next one."""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from backup_pipelines import catalog, layout
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store


def mark_started(store: Store, system: str, backup_id: str, created_by: str) -> None:
    """Write the marker that makes a backup's folder exist and tells people what it was to be."""
    marker = {
        "id": backup_id,
        "system": system,
        "created_by": created_by,
        "started_at": datetime.now(UTC).isoformat(),
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

    The caller holds the system's lock, so that no other backup can be in progress. What other
    backups name stays, and so do the folders of removals that are not finished.
    """
    found = unsealed(store, system)
    if not found:
        return []
    busy = {*removal.unfinished(store, system), *spare}
    needed = removal.in_use(store, system, layout.backups_prefix(system))
    removed: list[str] = []
    for backup_id in found:
        prefix = layout.backup_prefix(system, backup_id)
        if backup_id in busy:
            continue
        if any(key.startswith(prefix) for key in needed):
            keys = [item.key for item in store.objects(prefix) if item.key not in needed]
            if not keys:
                continue
            store.delete(keys)
            count = len(keys)
        else:
            count = store.delete_folder(prefix)
        report(f"removed {count} objects that the unfinished backup {backup_id} had left")
        removed.append(backup_id)
    return removed


def abandon(store: Store, system: str, backup_id: str) -> None:
    """Remove what a failed backup wrote; one that was sealed is never touched."""
    if not store.exists(layout.manifest_key(system, backup_id)):
        store.delete_folder(layout.backup_prefix(system, backup_id))
