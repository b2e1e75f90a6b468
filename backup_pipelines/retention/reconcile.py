"""Comparing the store with its manifests and with the catalog, in both directions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_pipelines import catalog, layout, verify
from backup_pipelines.backup_id import BackupId
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import Report
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store, StoredObject

# A backup that is being written, here or by another machine, has younger objects than this.
_YOUNG = timedelta(days=1)


@dataclass(frozen=True)
class Reconciled:
    """What does not agree; when everything is empty, all is well."""

    orphans: list[tuple[str, int]]
    """Keys and bytes of objects in backups' folders that no manifest names."""
    lost: Mapping[str, tuple[str, ...]]
    """Id of a backup to what it names and the store lacks, or has in another size."""
    unknown_to_catalog: list[str]
    missing_from_store: list[str]
    unreadable: list[str]
    """What is wrong with manifests that cannot be read."""

    @property
    def agrees(self) -> bool:
        """Whether nothing was found."""
        return not (
            self.orphans
            or self.lost
            or self.unknown_to_catalog
            or self.missing_from_store
            or self.unreadable
        )


@dataclass(frozen=True)
class Repaired:
    """What a repair has removed, and the backups that it has marked as damaged."""

    objects: int
    bytes: int
    damaged: tuple[str, ...]


def reconcile(
    store: Store, system: str, known: Collection[str], *, now: datetime | None = None
) -> Reconciled:
    """Compare, without any effect; `known` are the ids of the catalog's partitions."""
    # Manifests before objects: the objects of a backup that is sealed meanwhile are not missed.
    found = catalog.listing(store, system)
    there = {item.key: item for item in store.objects(layout.backups_prefix(system))}
    whole = {entry.id for entry in found.backups} | set(found.problems)
    lost = {
        entry.id: problems
        for entry in found.backups
        if entry.id not in found.states.removing and (problems := _lost(store, entry, there))
    }
    orphans = _orphans(store, system, there, found, now or datetime.now(UTC))
    return Reconciled(
        orphans=[(item.key, item.size_bytes) for item in orphans],
        lost=lost,
        unknown_to_catalog=sorted(whole - set(known)),
        missing_from_store=sorted(set(known) - whole),
        unreadable=found.unreadable,
    )


def mark_lost(
    store: Store, system: str, found: Reconciled, *, operator: str = ""
) -> tuple[str, ...]:
    """Remember as damaged the backups whose objects were lost; returns the ids that are new.

    The store is listed once more: an answer that was hurt on its way must not brand a backup.
    """
    known = catalog.states(store, system).damaged
    new = [backup_id for backup_id in found.lost if backup_id not in known]
    prefix = layout.backups_prefix(system)
    there = {item.key: item for item in store.objects(prefix)} if new else {}
    marked: list[str] = []
    for backup_id in new:
        entry = catalog.load(store, system, backup_id)
        problems = _lost(store, entry, there)
        if not problems:
            continue
        listed = "\n".join(f"- {problem}" for problem in problems)
        said = f"backup {backup_id} is damaged, do not restore it:\n{listed}"
        verify.remember(store, entry, said, operator=operator)
        marked.append(backup_id)
    return tuple(marked)


def repair(
    store: Store,
    system: str,
    found: Reconciled,
    *,
    report: Report,
    operator: str = "",
    now: datetime | None = None,
) -> Repaired:
    """Remove the orphans that were found, and mark backups with lost objects as damaged.

    What has become part of a backup since, is younger than a day, or lies in the folder of a
    backup in progress, stays. What the catalog lacks is put right by its sync.
    """
    marked = mark_lost(store, system, found, operator=operator)
    at = now or datetime.now(UTC)
    listing = catalog.listing(store, system)
    there = {item.key: item for item in store.objects(layout.backups_prefix(system))}
    asked = {key for key, _ in found.orphans}
    chosen = [
        item
        for item in _orphans(store, system, there, listing, at)
        if item.key in asked and item.modified_at < at - _YOUNG
    ]
    store.delete([item.key for item in chosen])
    size = sum(item.size_bytes for item in chosen)
    report(f"removed {len(chosen)} objects, {size:,} bytes, that no backup of {system} names")
    return Repaired(len(chosen), size, marked)


def _lost(store: Store, entry: Manifest, there: Mapping[str, StoredObject]) -> tuple[str, ...]:
    problems: list[str] = []
    for one in (*entry.parts, *entry.ddl, *entry.documents):
        key, size = one.key, one.size_bytes
        if key not in there:
            problems.append(f"{store.uri(key)} is missing")
        elif there[key].size_bytes != size:
            problems.append(
                f"{store.uri(key)} has {there[key].size_bytes:,} bytes instead of {size:,}"
            )
    return tuple(problems)


def _orphans(
    store: Store,
    system: str,
    there: Mapping[str, StoredObject],
    known: catalog.Listing,
    now: datetime,
) -> list[StoredObject]:
    """Objects in folders of backups that no manifest names and nobody is about to deal with."""
    prefix = layout.backups_prefix(system)
    named = removal.in_use(store, system, prefix)
    whole = {entry.id for entry in known.backups}
    # Of these nobody knows what belongs to them; of those a removal takes care.
    left_alone = set(known.problems) | set(removal.unfinished(store, system))
    for item in there.values():
        backup_id = layout.backup_id_of(system, item.key)
        if backup_id not in whole and item.modified_at >= now - _YOUNG:
            left_alone.add(backup_id)
    found: list[StoredObject] = []
    for item in there.values():
        backup_id = layout.backup_id_of(system, item.key)
        if not BackupId.is_valid(backup_id) or backup_id in left_alone or item.key in named:
            continue
        own = {layout.manifest_key(system, backup_id), layout.started_key(system, backup_id)}
        if not (backup_id in whole and item.key in own):
            found.append(item)
    return sorted(found, key=lambda item: item.key)
