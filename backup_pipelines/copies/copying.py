"""Copying backups to a second store: the same ids, keys and bytes, each object read back there.

Whatever goes wrong with the second store stays there: the first is only read.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup_pipelines import catalog, layout, manifest, state_log, verify
from backup_pipelines.copies.archive import objects_of
from backup_pipelines.copies.lacking import lacking
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.exporting import leftovers, sealing
from backup_pipelines.manifest import Manifest
from backup_pipelines.pace import Amount
from backup_pipelines.progress import Meter, Report
from backup_pipelines.retention import removal
from backup_pipelines.retention.prune import Pruned, prune
from backup_pipelines.scheduling import rotation
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage.reading import read_again, read_back
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

# What is being written there, such as a safety backup by a restore, has younger objects.
_YOUNG = timedelta(days=1)


class _Unreadable(Damaged):
    """An object of the first store that cannot be read as its manifest says."""


@dataclass(frozen=True)
class Copied:
    """What became of the copy of one backup."""

    id: str
    objects: int = 0
    bytes: int = 0
    kept: int = 0
    """Objects that were there already, with the right bytes."""
    gone: bool = False
    """It was removed from the first store meanwhile, so its copy was given up."""
    problem: str = ""
    """Why the first store's own objects cannot be copied."""


def copy_missing(
    first: Store,
    second: Store,
    system: System,
    rule: RetentionSpec,
    *,
    operator: str,
    report: Report,
    now: datetime | None = None,
) -> Iterator[Copied]:
    """Copy what the second store lacks, one backup after the other, newest first.

    One that cannot be read in the first store keeps no other from its turn; raises Failed when a
    store cannot be reached. What was interrupted goes on where it was.
    """
    name, at = system.system, now or datetime.now(UTC)
    # Of what is half removed there nobody could tell what belongs to the new copy.
    removal.resume(second, name, operator=operator, report=report, sealed=False)
    plan = lacking(catalog.listing(first, name), catalog.listing(second, name), rule, at)
    for number, entry in enumerate(plan, start=1):
        if len(plan) > 1:
            report(f"{name}: copying {entry.id}, {number:,} of {len(plan):,}")
        try:
            yield copy_backup(first, second, entry, operator=operator, report=report)
        except _Unreadable as error:
            if _is_there(first, entry):
                yield Copied(entry.id, problem=str(error))
                continue
            _take_back(second, entry)
            report(f"{entry.id} was removed from {first.url} meanwhile: its copy is given up")
            yield Copied(entry.id, gone=True)


def copy_backup(
    first: Store, second: Store, entry: Manifest, *, operator: str, report: Report
) -> Copied:
    """Copy one backup, its manifest last; what is there already with the right bytes is kept.

    Raises Damaged when the first store's objects are not as its manifest says, Failed when a store
    cannot be read or written or the copy cannot be read back.
    """
    with _of_first():
        document = first.get(layout.manifest_key(entry.system, entry.id))
        if manifest.parse(document, first.uri(entry.id)) != entry:
            raise Damaged(f"{first.uri(entry.id)} has another manifest by now")
    _begin(first, second, entry, operator)
    objects, kept = objects_of(entry), 0
    total = Amount(bytes=sum(one.size_bytes for one in objects.values()))
    with Meter(f"{entry.system}: copying {entry.id}", report, total) as meter:
        for key, one in objects.items():
            kept += _copy_object(first, second, key, (one.size_bytes, one.sha256))
            meter.add(bytes=one.size_bytes, what=key)
    # Before the manifest: whoever is killed in between has not said so of what is none.
    verify.remember(second, entry, None, operator=operator)
    _seal(second, entry, document)
    size = sum(one.size_bytes for one in objects.values())
    return Copied(entry.id, len(objects), size, kept)


def verify_due(
    second: Store, system: System, *, operator: str, report: Report, now: datetime | None = None
) -> dict[str, str]:
    """Verify the copies whose turn it is in the rotation; gives what is wrong with damaged ones.

    Each comes up within the YAML's `verify.days`, if this is called once a day. Raises Failed when
    the store cannot be read.
    """
    at, entries = now or datetime.now(UTC), catalog.listing(second, system.system).staying
    by_id = {one.manifest.id: one.manifest for one in entries}
    damaged: dict[str, str] = {}
    for backup_id in rotation.due_for_verification(entries, system.verify.days, at):
        try:
            verify.check(second, by_id[backup_id], report=report, operator=operator, now=now)
        except Damaged as error:
            damaged[backup_id] = str(error)
    return damaged


def mirror_pins(first: Store, second: Store, system: str, *, operator: str) -> list[str]:
    """Pin and unpin the copies as the first store has it since; returns the ids that changed.

    The second store alone must tell what is pinned, once the first is lost.
    """
    copies = set(catalog.ids(second, system))
    known = state_log.latest(second, system, "pins")
    changed: list[str] = []
    for backup_id, state in state_log.latest(first, system, "pins").items():
        before = known.get(backup_id)
        newer = before is None or state.at > before.at
        same = (before.state if before else catalog.UNPINNED) == state.state
        if backup_id in copies and newer and not same:
            content = {"operator": operator, "reason": "as in the first store"}
            state_log.append(second, system, "pins", backup_id, state.state, content)
            changed.append(backup_id)
    return sorted(changed)


def prune_second(
    first: Store,
    second: Store,
    system: System,
    rule: RetentionSpec,
    *,
    operator: str,
    reason: str,
    report: Report,
    now: datetime | None = None,
) -> Pruned:
    """Remove from the second store what its own retention no longer keeps, and old leftovers.

    Pins and freezes of both stores count. What is refused is in the result, not raised.
    """
    at = now or datetime.now(UTC)
    done = prune(
        second,
        # The first store's locks are none of the second's, which refuses what it has locked.
        system.model_copy(update={"retention": rule, "object_lock": None}),
        operator=operator,
        reason=reason,
        now=at,
        report=report,
        beside=first,
    )
    name = system.system
    young = {
        backup_id
        for backup_id in leftovers.unsealed(second, name)
        for item in second.objects(layout.backup_prefix(name, backup_id))
        if item.modified_at > at - _YOUNG
    }
    leftovers.remove(second, name, report, spare=young)
    return done


@contextmanager
def _of_first() -> Generator[None]:
    """Tell damage of the first store from that of the second."""
    try:
        yield
    except Damaged as error:
        raise _Unreadable(str(error)) from error


def _begin(first: Store, second: Store, entry: Manifest, operator: str) -> None:
    key = layout.started_key(entry.system, entry.id)
    if second.exists(key):
        return
    if first.exists(key):
        with _of_first():
            second.put_new(key, first.get(key))
    else:
        # Of an archive's upload long ago, or removed by hand.
        leftovers.mark_started(second, entry.system, entry.id, operator)


def _copy_object(first: Store, second: Store, key: str, meant: tuple[int, str]) -> bool:
    """Whether the object was there; if it was not, or was damaged, it is copied."""
    if second.exists(key):
        if second.checksum(key) == meant:
            return True
        # No two backups have a key in common that does not mean the same bytes.
        second.delete([key])
    read_again(lambda: _stream(first, second, key, meant))
    try:
        read_back(second, key, *meant)
    except Damaged as error:
        raise Failed(f"the copy failed: {error}") from error
    return False


def _stream(first: Store, second: Store, key: str, meant: tuple[int, str]) -> None:
    # Leaving the block by an exception publishes nothing.
    with second.writer(key) as out:
        for chunk in _chunks(first, key):
            out.write(chunk)
        if (out.size_bytes, out.sha256) != meant:
            raise _Unreadable(
                f"{first.uri(key)} has other bytes than its manifest says: verify its backup"
            )


def _chunks(store: Store, key: str) -> Iterator[bytes]:
    with _of_first():
        yield from store.chunks(key)


def _seal(second: Store, entry: Manifest, document: bytes) -> None:
    key = layout.manifest_key(entry.system, entry.id)
    if second.exists(key):
        if second.get(key) == document:
            return
        second.delete([key])
    sealing.seal(second, entry, document)


def _is_there(first: Store, entry: Manifest) -> bool:
    """Whether the first store has the backup still, and no removal of it has begun."""
    states = catalog.states(first, entry.system)
    is_sealed = first.exists(layout.manifest_key(entry.system, entry.id))
    return is_sealed and entry.id not in states.removing


def _take_back(second: Store, entry: Manifest) -> None:
    """Remove what was copied of a backup that shall not be copied any more."""
    system = entry.system
    if second.exists(layout.manifest_key(system, entry.id)):
        # It was to be put right; what is there is what there is of it.
        return
    prefix = layout.backups_prefix(system)
    needed = removal.in_use(second, system, prefix)
    own = [item.key for item in second.objects(layout.backup_prefix(system, entry.id))]
    second.delete(sorted({*own, *objects_of(entry)} - needed))
    folders = {layout.backup_id_of(system, key) for key in objects_of(entry)}
    for backup_id in sorted({*folders, entry.id}):
        folder = layout.backup_prefix(system, backup_id)
        if next(iter(second.objects(folder)), None) is None:
            second.delete_folder(folder)
