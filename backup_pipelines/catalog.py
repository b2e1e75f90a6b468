"""The catalog as the store has it: which backups are whole, newest first.

The store's manifests are the truth; Dagster's partitions mirror them (DESIGN.md section 4).
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from backup_pipelines import layout, manifest
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import Damaged, NewerFormat, NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store

# Manifests are small; on S3 their latency, not their bytes, is what a listing waits for.
_READS_AT_ONCE = 16

LATEST = "latest"


def ids(store: Store, system: str) -> list[str]:
    """Ids of every folder that looks like a backup, whole or not, oldest first."""
    found = store.folders(layout.backups_prefix(system))
    return [name for name in found if BackupId.is_valid(name)]


def load(store: Store, system: str, backup_id: str) -> Manifest:
    """The manifest of one backup; raises NotFound when there is no such backup."""
    key = layout.manifest_key(system, str(BackupId.parse(backup_id)))
    if not store.exists(key):
        raise NotFound(
            f"{system} has no backup {backup_id}; `backup-pipelines list {system}` shows them"
        )
    return _read(store, system, backup_id)


def backups(store: Store, system: str) -> list[Manifest]:
    """Every whole backup of a system, newest first; those that `listing` cannot read are left out.

    So `latest` never means a backup whose manifest is damaged.
    """
    return listing(store, system).backups


@dataclass(frozen=True)
class Listing:
    """A system's backups, newest first, and what is wrong with manifests that cannot be read."""

    backups: list[Manifest]
    unreadable: list[str]


def listing(store: Store, system: str) -> Listing:
    """Every backup of a system; one damaged manifest does not hide the others."""

    def read(backup_id: str) -> Manifest | str | None:
        if not store.exists(layout.manifest_key(system, backup_id)):
            return None
        try:
            return _read(store, system, backup_id)
        except (Damaged, NewerFormat) as error:
            return str(error)

    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        found = list(pool.map(read, ids(store, system)))
    whole = [entry for entry in found if isinstance(entry, Manifest)]
    return Listing(
        backups=sorted(whole, key=lambda entry: (entry.snapshot_at, entry.id), reverse=True),
        unreadable=[problem for problem in found if isinstance(problem, str)],
    )


def find(store: Store, system: str, backup: str) -> Manifest:
    """The backup that `backup` names: an id, or `latest` for the newest full one."""
    if backup != LATEST:
        return load(store, system, backup)
    full = [entry for entry in backups(store, system) if entry.scope == "full"]
    if not full:
        raise NotFound(
            f"{system} has no full backup yet; take one: backup-pipelines backup {system}"
        )
    return full[0]


def row(entry: Manifest) -> Mapping[str, object]:
    """The catalog row of a backup, as `list --json` prints it and Dagster's metadata shows it."""
    return {
        "id": entry.id,
        "system": entry.system,
        "type": entry.type,
        "scope": entry.scope,
        "module": entry.module,
        "status": "completed",
        "created_at": entry.created_at.isoformat(),
        "created_by": entry.created_by,
        "snapshot_at": entry.snapshot_at.isoformat(),
        "tables_count": entry.tables_count,
        "records_count": entry.records_count,
        "size_bytes": entry.size_bytes,
        "seconds": round(entry.seconds, 3),
        "pinned": False,
        "label": entry.label,
        "file_name": "manifest.json",
        "path": layout.backup_prefix(entry.system, entry.id),
    }


def _read(store: Store, system: str, backup_id: str) -> Manifest:
    """The manifest in a backup's folder; raises Damaged when it is another backup's."""
    key = layout.manifest_key(system, backup_id)
    entry = manifest.parse(store.get(key), key)
    if (entry.system, entry.id) != (system, backup_id):
        raise Damaged(f"{store.uri(key)} is the manifest of {entry.system} {entry.id}")
    return entry
