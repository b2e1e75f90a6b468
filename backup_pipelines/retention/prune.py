"""Pruning: removing what retention no longer keeps; a deletion by hand is the same removal."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from backup_pipelines import catalog, layout
from backup_pipelines.backup_id import BackupId
from backup_pipelines.catalog import CatalogEntry, Listing
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import Report, silent
from backup_pipelines.retention import freezes, locking, pins, removal
from backup_pipelines.retention.freezes import Frozen
from backup_pipelines.retention.policy import Held, Verdict, decide, taken
from backup_pipelines.retention.removal import Removed
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import moment

BY_HAND = "deleted by hand"
"""What a removal's note says of why, where no retention rule decided."""


@dataclass(frozen=True)
class PrunePlan:
    """What a prune would do now: with a freeze in force, nothing of it but what is unfinished."""

    system: str
    verdicts: tuple[Verdict, ...]
    """One for each backup, newest first."""
    remove: tuple[str, ...]
    """Ids that retention no longer keeps, oldest first: the order in which they go."""
    sizes: Mapping[str, int]
    """Bytes of each backup whose manifest can be read."""
    bytes: int
    """Bytes of what would go: not of what backups that stay name too."""
    frozen: tuple[Frozen, ...]
    unfinished: Mapping[str, str]
    """Ids of removals that were begun, and how far they have got."""


@dataclass(frozen=True)
class Pruned:
    """What a prune has done; with a freeze in force it removes no further backup."""

    plan: PrunePlan
    """What it followed, made once what was begun before had been finished."""
    removed: tuple[Removed, ...]
    kept: int
    refused: tuple[Removed, ...]
    frozen: tuple[Frozen, ...]


def plan_prune(
    store: Store, system: System, now: datetime, *, beside: Store | None = None
) -> PrunePlan:
    """What retention decides about each backup of a system, without any effect.

    Pins and freezes in the store `beside` count as well.
    """
    name = system.system
    found = catalog.listing(store, name)
    held_until = locking.held_until(store, system, found)
    all_held = held(found, held_until, _pinned(name, beside))
    verdicts = decide(system.retention, all_held, now)
    remove = tuple(verdict.id for verdict in reversed(verdicts) if not verdict.keep)
    return PrunePlan(
        system=name,
        verdicts=tuple(verdicts),
        remove=remove,
        sizes={entry.id: entry.size_bytes for entry in found.backups},
        bytes=taken(all_held) - taken([one for one in all_held if one.id not in remove]),
        frozen=_frozen(name, store, beside),
        unfinished=removal.unfinished(store, name),
    )


def prune(
    store: Store,
    system: System,
    *,
    operator: str,
    reason: str,
    now: datetime | None = None,
    report: Report = silent,
    beside: Store | None = None,
) -> Pruned:
    """Remove what retention no longer keeps, after finishing what an earlier prune began.

    Pins and freezes in the store `beside` count as well. What the store refuses to remove is in
    the result, not raised.
    """
    name = system.system
    # A backup that still has its manifest is judged anew: what was right then may be wrong now.
    done = removal.resume(store, name, operator=operator, report=report, sealed=False)
    plan = plan_prune(store, system, now or datetime.now(UTC), beside=beside)
    for backup_id in plan.unfinished:
        if backup_id not in plan.remove and _is_sealed(store, name, backup_id):
            said = "it was not finished, and retention keeps the backup"
            removal.withdraw(store, name, backup_id, operator=operator, reason=said)
    frozen = plan.frozen
    # Oldest first: a prune that is cut short then leaves what a shorter policy would keep.
    for backup_id in plan.remove:
        # Somebody may have frozen or pinned since the last one went.
        frozen = frozen or _frozen(name, store, beside)
        if frozen:
            break
        if backup_id not in _pinned(name, store, beside):
            done.append(_remove(store, plan, backup_id, operator, reason, report))
    for freeze in frozen:
        report(f"frozen by {freeze.guard} since {moment(freeze.at)}: {freeze.message}")
    gone = {one.id for one in done if not _is_sealed(store, name, one.id)}
    return Pruned(
        plan=plan,
        removed=tuple(one for one in done if not one.problem),
        kept=sum(1 for verdict in plan.verdicts if verdict.id not in gone),
        refused=tuple(one for one in done if one.problem),
        frozen=frozen,
    )


def _remove(
    store: Store, plan: PrunePlan, backup_id: str, operator: str, reason: str, report: Report
) -> Removed:
    [reasons] = [verdict.reasons for verdict in plan.verdicts if verdict.id == backup_id]
    why = "; ".join(reasons)
    report(f"{backup_id}: {why}")
    return removal.remove(
        store, plan.system, backup_id, operator=operator, reason=reason, why=why, report=report
    )


def delete_backup(
    store: Store,
    system: System,
    backup_id: str,
    *,
    operator: str,
    reason: str,
    report: Report = silent,
) -> Removed:
    """Remove one backup by hand, whatever retention says; one that is half removed is finished.

    Raises NotFound when there is no such backup, Refused when it is pinned, locked or the last good
    full one. What the store refuses to remove is in the result, not raised.
    """
    name, backup_id = system.system, str(BackupId.parse(backup_id))
    if not _is_sealed(store, name, backup_id):
        return _finish_one(store, name, backup_id, operator, report)
    found = catalog.listing(store, name)
    if backup_id in found.states.pinned:
        raise Refused(
            f"{backup_id} is pinned; if it shall go: backup-pipelines unpin {name} {backup_id}"
        )
    until = locking.locked_until(store, system, found, backup_id)
    if until is not None:
        raise Refused(
            f"{backup_id} is locked until {locking.in_words(until)}: before that it cannot be "
            "deleted"
        )
    good = [one.manifest.id for one in found.entries if _is_good_full(one)]
    if good == [backup_id]:
        raise Refused(
            f"{backup_id} is the last good full backup of {name}; take another one first: "
            f"backup-pipelines backup {name}"
        )
    return removal.remove(
        store, name, backup_id, operator=operator, reason=reason, why=BY_HAND, report=report
    )


def refuse_latest(backup: str) -> None:
    """Refuse to delete a backup that is not named by its id."""
    if backup == catalog.LATEST:
        raise Refused(
            "give the id of the backup that is to go: the latest may be another one by now"
        )


def _finish_one(
    store: Store, system: str, backup_id: str, operator: str, report: Report
) -> Removed:
    if backup_id in removal.unfinished(store, system):
        done = removal.resume(store, system, operator=operator, report=report, sealed=False)
        return next(one for one in done if one.id == backup_id)
    raise NotFound(
        f"{system} has no backup {backup_id}; `backup-pipelines list {system}` shows them"
    )


def _frozen(system: str, *stores: Store | None) -> tuple[Frozen, ...]:
    return tuple(one for store in stores if store for one in freezes.active(store, system))


def _pinned(system: str, *stores: Store | None) -> frozenset[str]:
    return frozenset(one for store in stores if store for one in pins.pinned(store, system))


def held(
    found: Listing, held_until: Mapping[str, datetime], pinned: Collection[str] = ()
) -> list[Held]:
    """The backups as retention sees them; of one whose manifest is unreadable, what its id says.

    `held_until` are the locks of the store, `pinned` ids that are pinned elsewhere.
    """
    names = Counter(key for entry in found.backups for key in _parts(entry))
    readable = [
        Held(
            id=one.manifest.id,
            type=one.manifest.type,
            full=one.manifest.scope == "full",
            # Single tables of a module are not its data.
            modules=frozenset(one.manifest.modules if one.manifest.scope != "tables" else ()),
            at=one.manifest.snapshot_at,
            size_bytes=one.manifest.size_bytes,
            good=one.status == "completed",
            pinned=one.pinned or one.manifest.id in pinned,
            locked_until=held_until.get(one.manifest.id),
            copy_of=one.manifest.copy_of,
            shared={key: n for key, n in _parts(one.manifest).items() if names[key] > 1},
        )
        for one in found.entries
    ]
    unreadable = [
        Held(
            id=str(backup_id),
            type=backup_id.type,
            full=False,
            modules=frozenset(),
            at=backup_id.started_at,
            size_bytes=0,
            good=False,
            pinned=str(backup_id) in found.states.pinned or str(backup_id) in pinned,
            locked_until=held_until.get(str(backup_id)),
        )
        for backup_id in map(BackupId.parse, found.problems)
    ]
    return readable + unreadable


def _parts(entry: Manifest) -> dict[str, int]:
    return {part.key: part.size_bytes for part in entry.parts}


def _is_good_full(one: CatalogEntry) -> bool:
    return one.status == "completed" and one.manifest.scope == "full"


def _is_sealed(store: Store, system: str, backup_id: str) -> bool:
    return store.exists(layout.manifest_key(system, backup_id))
