"""The catalog as the store has it: which backups are whole, newest first.

The store's manifests are the truth; Dagster's partitions mirror them.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from backup_pipelines import layout, manifest, state_log
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import Damaged, NewerFormat, NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.reading import read_again, read_all
from backup_pipelines.storage.store import Store

LATEST = "latest"

# What the objects of `state_log` say of a backup; the newest of each kind counts.
PINNED, UNPINNED = "pinned", "unpinned"
INTACT, DAMAGED = "intact", "damaged"
STARTED, REFUSED, DONE, WITHDRAWN = "started", "refused", "done", "withdrawn"

Status = Literal["completed", "damaged"]


@dataclass(frozen=True)
class States:
    """What has become of a system's backups since they were made, by id; at first, nothing."""

    pinned: frozenset[str] = frozenset()
    intact: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    damaged: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    removing: frozenset[str] = frozenset()


NOTHING_KNOWN = States()
"""The states of a new backup."""


@dataclass(frozen=True)
class CatalogEntry:
    """A backup and what has become of it."""

    manifest: Manifest
    pinned: bool
    status: Status
    verified_at: datetime | None
    """When it was last found whole; None for a damaged one."""


def states(store: Store, system: str) -> States:
    """What has become of a system's backups, by three listings."""
    pins = state_log.latest(store, system, "pins").values()
    verifications = state_log.latest(store, system, "verifications").values()
    removals = state_log.latest(store, system, "removals").values()
    return States(
        pinned=frozenset(one.subject for one in pins if one.state == PINNED),
        intact={one.subject: one.at for one in verifications if one.state == INTACT},
        damaged={one.subject: one.at for one in verifications if one.state == DAMAGED},
        removing=frozenset(one.subject for one in removals if one.state == STARTED),
    )


def describe(entry: Manifest, known: States) -> CatalogEntry:
    """A backup with what is known of it; a sealed one has been read back when it was made."""
    if entry.id in known.damaged:
        return CatalogEntry(entry, entry.id in known.pinned, "damaged", None)
    verified_at = known.intact.get(entry.id, entry.created_at)
    return CatalogEntry(entry, entry.id in known.pinned, "completed", verified_at)


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
    """Every sealed backup of a system, newest first; those `listing` cannot read are left out."""
    return listing(store, system).backups


@dataclass(frozen=True)
class Listing:
    """A system's backups, newest first, and what is wrong with manifests that cannot be read."""

    backups: list[Manifest]
    states: States
    problems: Mapping[str, str]
    """Id to what is wrong with its manifest."""

    @property
    def unreadable(self) -> list[str]:
        """What is wrong with each manifest that cannot be read."""
        return list(self.problems.values())

    @property
    def entries(self) -> list[CatalogEntry]:
        """The backups with what has become of them, newest first."""
        return [describe(entry, self.states) for entry in self.backups]

    @property
    def staying(self) -> list[CatalogEntry]:
        """Those that are not being removed."""
        return [one for one in self.entries if one.manifest.id not in self.states.removing]

    @property
    def good(self) -> list[Manifest]:
        """The backups that are neither damaged nor being removed, newest first."""
        return [one.manifest for one in self.staying if one.status == "completed"]


def listing(store: Store, system: str) -> Listing:
    """Every backup of a system; one damaged manifest does not hide the others."""

    def read(backup_id: str) -> Manifest | str | None:
        if not store.exists(layout.manifest_key(system, backup_id)):
            return None
        try:
            return _read(store, system, backup_id)
        except (Damaged, NewerFormat) as error:
            return str(error)

    with ThreadPoolExecutor(1) as pool:
        known = pool.submit(states, store, system)
        folders = ids(store, system)
        found = dict(zip(folders, read_all(read, folders), strict=True))
    whole = [entry for entry in found.values() if isinstance(entry, Manifest)]
    return Listing(
        backups=sorted(whole, key=lambda entry: (entry.snapshot_at, entry.id), reverse=True),
        states=known.result(),
        problems={name: entry for name, entry in found.items() if isinstance(entry, str)},
    )


def find(store: Store, system: str, backup: str) -> Manifest:
    """The backup that `backup` names: an id, or `latest` for the newest full one.

    `latest` is never one that was found damaged, whose manifest is, or that is being removed. An
    id that a backup had before it was encrypted anew finds it too.
    """
    if backup != LATEST:
        return _named(store, system, backup)
    found = listing(store, system)
    newest = next((entry for entry in found.good if entry.scope == "full"), None)
    if newest is not None:
        return newest
    is_any = any(entry.scope == "full" for entry in found.backups)
    what = "no full backup that is whole" if is_any else "no full backup yet"
    raise NotFound(f"{system} has {what}; take one: backup-pipelines backup {system}")


def row(entry: Manifest, known: States = NOTHING_KNOWN) -> Mapping[str, object]:
    """The catalog row of a backup, as `list --json` prints it and Dagster's metadata shows it.

    Without `known` it is the row of a new backup.
    """
    described = describe(entry, known)
    verified_at = described.verified_at
    return {
        "id": entry.id,
        "system": entry.system,
        "type": entry.type,
        "scope": entry.scope,
        "module": entry.module,
        "status": described.status,
        "created_at": entry.created_at.isoformat(),
        "created_by": entry.created_by,
        "snapshot_at": entry.snapshot_at.isoformat(),
        "tables_count": entry.tables_count,
        "records_count": entry.records_count,
        "size_bytes": entry.size_bytes,
        "added_bytes": entry.added_bytes,
        "seconds": round(entry.seconds, 3),
        "pinned": described.pinned,
        "verified_at": None if verified_at is None else verified_at.isoformat(),
        "label": entry.label,
        "encrypted": entry.encryption is not None,
        "copy_of": entry.copy_of[-1] if entry.copy_of else "",
        "file_name": "manifest.json",
        "path": layout.backup_prefix(entry.system, entry.id),
    }


def _named(store: Store, system: str, backup_id: str) -> Manifest:
    try:
        return load(store, system, backup_id)
    except NotFound:
        copies = (entry for entry in backups(store, system) if backup_id in entry.copy_of)
        found = next(copies, None)
        if found is None:
            raise
        return found


def _read(store: Store, system: str, backup_id: str) -> Manifest:
    """The manifest in a backup's folder; raises Damaged when it is another backup's."""
    key = layout.manifest_key(system, backup_id)
    entry = read_again(lambda: manifest.parse(store.get(key), key))
    if (entry.system, entry.id) != (system, backup_id):
        raise Damaged(f"{store.uri(key)} is the manifest of {entry.system} {entry.id}")
    return entry
