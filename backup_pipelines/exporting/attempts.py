"""Attempts on a cluster: the same piece may be read twice, and the loser may end late.

A worker that is only cut off reads on, while another one has its task. So each attempt writes
under names of its own, and takes back what it wrote unless its backup still waits for it. What
a killed one leaves is removed here, before and after the seal.
"""

import secrets
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from backup_pipelines import catalog, layout
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import BackupError, Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import Report
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store

# A task does not outlive its backup by more; after that `reconcile` finds what it left.
_LATE = timedelta(days=2)


def new() -> str:
    """The name of one attempt."""
    return secrets.token_hex(4)


def problem(store: Store, system: str, backup_id: str) -> str:
    """What is wrong with this process as a writer of a backup that began elsewhere."""
    return unseen(store, layout.started_key(system, backup_id))


def unseen(store: Store, key: str) -> str:
    """What is wrong with a process that does not see an object that is there; else empty."""
    if store.exists(key):
        return ""
    return (
        f"it does not see what this machine has written to {store.url}: give it the same bucket "
        "and credentials, or mount the same folder there"
    )


def settle(store: Store, system: str, backup_id: str, keys: Sequence[str]) -> None:
    """Take back what an attempt has written if nobody waits for it any more, and raise Failed.

    Called after the last object was written, and before the manifest can name one of them. An
    abandoned backup has lost its marker before its objects are listed for removal, and one that is
    sealed is swept once more: so either this look or theirs finds what came late.
    """
    is_sealed = store.exists(layout.manifest_key(system, backup_id))
    if not is_sealed and store.exists(layout.started_key(system, backup_id)):
        return
    store.delete(keys)
    prefix = layout.backup_prefix(system, backup_id)
    if not is_sealed and next(iter(store.objects(prefix)), None) is None:
        # A folder without objects would look like a leftover.
        store.delete_folder(prefix)
    raise Failed(f"backup {backup_id} ended before this attempt to read a part of it")


def take_back(store: Store, keys: Sequence[str]) -> None:
    """Remove what an attempt has written that failed; what cannot be removed is swept later."""
    with suppress(BackupError):
        store.delete(keys)


def sweep(store: Store, system: str, backup_id: str, named: Collection[str], report: Report) -> int:
    """Remove the parts of attempts that a backup does not name; gives how many there were.

    What the store does not remove does no harm to the backup, and is reported.
    """
    prefix = layout.backup_prefix(system, backup_id)
    try:
        store.drop_unfinished(prefix)
        stray = [
            item.key
            for item in store.objects(prefix)
            if layout.attempt_of(item.key) and item.key not in named
        ]
        store.delete(stray)
    except BackupError as error:
        report(f"parts of lost attempts are left for the next backup to remove: {error}")
        return 0
    if stray:
        report(f"removed {len(stray)} parts of attempts that were lost on the cluster")
    return len(stray)


def remove_late(store: Store, system: str, report: Report, *, now: datetime | None = None) -> None:
    """Remove what attempts wrote into backups of the last days after these were sealed.

    The caller holds the system's lock, so that none of them is still in progress.
    """
    since = (now or datetime.now(UTC)) - _LATE
    for backup_id in catalog.ids(store, system):
        if BackupId.parse(backup_id).started_at < since:
            continue
        prefix = layout.backup_prefix(system, backup_id)
        there = {o.key for o in store.objects(prefix) if layout.attempt_of(o.key)}
        if not there or not store.exists(layout.manifest_key(system, backup_id)):
            continue
        needed = removal.in_use(store, system, prefix)
        if there - needed:
            sweep(store, system, backup_id, needed, report)


@contextmanager
def swept(store: Store, entry: Manifest, report: Report, *, on_cluster: bool) -> Generator[None]:
    """Around the seal of a backup: nothing is in its folder that it does not name.

    Before it, what killed attempts left; after it, what came since and did not see the seal.
    """
    named = {part.key for part in entry.parts}
    if on_cluster:
        sweep(store, entry.system, entry.id, named, report)
    yield
    if on_cluster:
        sweep(store, entry.system, entry.id, named, report)
