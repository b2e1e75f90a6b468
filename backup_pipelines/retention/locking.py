"""Locking backups: what the YAML promises in `object_lock`, and what the store keeps of it.

The manifest is locked last: a backup whose manifest is locked, is locked as a whole.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_pipelines import catalog, layout
from backup_pipelines.catalog import Listing
from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import Report, silent
from backup_pipelines.settings_storage import ObjectLockSpec
from backup_pipelines.storage.object_lock import Locks, whole_second
from backup_pipelines.storage.reading import read_all
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import moment


@dataclass(frozen=True)
class Locked:
    """What a look at all backups has locked, and why others are not."""

    done: tuple[str, ...]
    problems: Mapping[str, str]
    """Id of a backup to what stood against its lock."""

    @property
    def in_words(self) -> str:
        """Which backups are not locked, and why, in a sentence; empty when all are."""
        said = "; ".join(f"{name}: {problem}" for name, problem in self.problems.items())
        return f"not locked: {said}" if said else ""


def refuse_unable(store: Store, system: System) -> None:
    """Raise Refused when the YAML promises locks and the store cannot keep them."""
    if system.object_lock is not None:
        Locks(store).refuse_unable()


def promised_until(spec: ObjectLockSpec, entry: Manifest) -> datetime:
    """Until when every object of a backup shall be locked."""
    return whole_second(entry.created_at + timedelta(days=spec.days))


def lock_due(
    store: Store, system: System, *, now: datetime | None = None, report: Report = silent
) -> Locked:
    """Lock every backup that is not locked as the YAML promises, the newest first.

    What stands against it is in the result, not raised. Damaged backups and those that are being
    removed stay as they are.
    """
    spec = system.object_lock
    if spec is None:
        return Locked((), {})
    done: list[str] = []
    problems: dict[str, str] = {}
    try:
        locks = Locks(store)
        locks.refuse_unable()
        found = catalog.listing(store, system.system)
        due = _unlocked(locks, spec, found.good, now or datetime.now(UTC))
    except BackupError as error:
        return Locked((), {"all backups": str(error)})
    for entry in due:
        try:
            count = _lock(store, locks, spec, entry)
        except BackupError as error:
            problems[entry.id] = str(error)
        else:
            until = promised_until(spec, entry)
            report(f"{entry.id}: {count} objects locked until {in_words(until)} ({spec.mode})")
            done.append(entry.id)
    return Locked(tuple(done), problems)


def unlocked(store: Store, system: System, found: Listing, now: datetime) -> list[Manifest]:
    """The backups that are not locked as the YAML promises, newest first.

    Raises Refused when the store cannot lock or may not be asked, Failed when it is away.
    """
    if system.object_lock is None:
        return []
    locks = Locks(store)
    locks.refuse_unable()
    return _unlocked(locks, system.object_lock, found.good, now)


def held_until(
    store: Store, system: System, found: Listing, only: Collection[str] | None = None
) -> dict[str, datetime]:
    """Id of a backup to when it may be removed at the earliest; empty where nothing locks.

    The YAML's promise counts as well as the lock: a host without the right to see locks sees none,
    and a removal would hide what is locked instead of being refused. Without `object_lock` in the
    YAML, a bucket that may not be asked counts as one that does not lock.
    """
    spec, locks = system.object_lock, _able(store, system)
    if locks is None:
        return {}
    chosen = [entry for entry in found.backups if only is None or entry.id in only]
    held = {} if spec is None else {entry.id: promised_until(spec, entry) for entry in chosen}
    ids = [*(entry.id for entry in chosen)]
    ids += [backup_id for backup_id in found.problems if only is None or backup_id in only]
    seen = read_all(lambda i: locks.of(layout.manifest_key(system.system, i)), ids)
    for backup_id, lock in zip(ids, seen, strict=True):
        if lock is not None:
            held[backup_id] = max(lock.until, held.get(backup_id, lock.until))
    return held


def locked_until(store: Store, system: System, found: Listing, backup_id: str) -> datetime | None:
    """When one backup may be removed at the earliest; None when it may be now."""
    until = held_until(store, system, found, [backup_id]).get(backup_id)
    return until if until is not None and until > datetime.now(UTC) else None


def in_words(until: datetime) -> str:
    """The end of a lock, for people."""
    return moment(until)


def _able(store: Store, system: System) -> Locks | None:
    """The locks of a store that has any."""
    if not store.url.startswith("s3:"):
        return None
    locks = Locks(store)
    try:
        return locks if locks.is_able else None
    except Refused:
        if system.object_lock is None:
            return None
        raise


def _unlocked(
    locks: Locks, spec: ObjectLockSpec, entries: Iterable[Manifest], now: datetime
) -> list[Manifest]:
    promised = [entry for entry in entries if promised_until(spec, entry) > now]

    def is_locked(entry: Manifest) -> bool:
        return _is_kept(locks, spec, entry)

    locked = read_all(is_locked, promised)
    return [entry for entry, is_done in zip(promised, locked, strict=True) if not is_done]


def _is_kept(locks: Locks, spec: ObjectLockSpec, entry: Manifest) -> bool:
    lock = locks.of(layout.manifest_key(entry.system, entry.id))
    if lock is None or lock.until < promised_until(spec, entry):
        return False
    return lock.mode == "compliance" or spec.mode == "governance"


def _lock(store: Store, locks: Locks, spec: ObjectLockSpec, entry: Manifest) -> int:
    """Lock what a backup consists of, wherever it lies, its manifest last."""
    manifest_key = layout.manifest_key(entry.system, entry.id)
    prefix = layout.backup_prefix(entry.system, entry.id)
    keys = {item.key for item in store.objects(prefix)}
    keys |= {one.key for one in entry.objects}
    until = promised_until(spec, entry)
    count = locks.lock(sorted(keys - {manifest_key}), spec.mode, until)
    count += locks.lock([manifest_key], spec.mode, until)
    if not _is_kept(locks, spec, entry):
        raise Failed(
            f"the store took the lock of {store.uri(manifest_key)} and does not show it: grant "
            "s3:GetObjectRetention"
        )
    return count
