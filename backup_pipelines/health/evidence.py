"""Everything that the guards look at, read from the store once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel, ValidationError

from backup_pipelines import catalog, drill_record, encryption, layout
from backup_pipelines.catalog import Listing
from backup_pipelines.copies.lacking import lacking
from backup_pipelines.drill_record import DrillResult
from backup_pipelines.errors import BackupError, Damaged
from backup_pipelines.health.finding import READABLE, Finding
from backup_pipelines.health.second_look import SecondLook
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention import freezes, locking, removal
from backup_pipelines.retention.freezes import Frozen
from backup_pipelines.storage.reading import read_all
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.trail import audit, spool
from backup_pipelines.trail.audit import Record

# Two machines' clocks differ; what lies further ahead was taken by a wrong one.
_SKEW = timedelta(minutes=5)

# Enough of the audit trail for the last attempts of each operation; all of it may be long.
_RECORDS = 300

# Enough points for a line, and few enough to be read each time.
_POINTS = 30


@dataclass(frozen=True)
class Evidence:
    """What the store tells of one system at one time."""

    system: System
    now: datetime
    backups: Sequence[Manifest] = ()
    """All sealed ones, newest first."""
    damaged: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    """Ids of backups that must not be restored, and when that was found."""
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Ids of backups whose manifest cannot be read, and why."""
    removing: frozenset[str] = frozenset()
    unfinished: Mapping[str, str] = field(default_factory=dict[str, str])
    """Ids of backups whose removal was begun or refused, and how far it has got."""
    storage_bytes: int = 0
    storage_points: Sequence[tuple[datetime, float]] = ()
    """Bytes in the store over time, oldest first."""
    drill: DrillResult | None = None
    """The last that passed."""
    records: Sequence[Record] = ()
    """The newest of the audit trail, newest first."""
    unlocked: Sequence[Manifest] | str = ()
    """Those that are not locked as the YAML promises, or why nobody can tell."""
    closed: Sequence[str] | str | None = None
    """Ids of the encrypted backups that the identity here does not open, newest first.

    None without an identity on this machine; a text when that which is set is of no use.
    """
    freezes: Sequence[Frozen] = ()
    waiting: int = 0
    """Audit records that the store has not taken so far."""
    before: Mapping[str, Finding] = field(default_factory=dict[str, Finding])
    """What each guard found the last time."""
    live: Finding | None = None
    """What a look at the live database found."""
    store_url: str = ""
    second: SecondLook | None = None
    """What a look at the second store found, if there is one and it was looked at."""
    lacking: Sequence[Manifest] = ()
    """The backups that the second store should have and lacks."""

    @property
    def name(self) -> str:
        """The system's name."""
        return self.system.system

    @property
    def full(self) -> list[Manifest]:
        """The good full backups, newest first; a copy counts once its original is gone."""
        bad = self.damaged.keys() | self.removing
        good = [entry for entry in self.backups if entry.id not in bad]
        ids = {entry.id for entry in good}
        return [e for e in good if e.scope == "full" and ids.isdisjoint(e.copy_of)]

    @property
    def encrypted(self) -> list[Manifest]:
        """The encrypted backups, newest first."""
        return [entry for entry in self.backups if entry.encryption is not None]

    @property
    def past(self) -> list[Manifest]:
        """The good full backups but for those of a time to come."""
        return [entry for entry in self.full if entry.snapshot_at <= self.now + _SKEW]

    @property
    def newest_full(self) -> Manifest | None:
        """The newest good full backup."""
        return next(iter(self.full), None)

    @property
    def newest_pair(self) -> tuple[Manifest, Manifest] | None:
        """The newest good full backup and the one before it."""
        match self.full[:2]:
            case [newest, before]:
                return newest, before
            case _:
                return None

    def attempts(self, operation: str) -> list[Record]:
        """The audit records of one operation, newest first."""
        return [record for record in self.records if record.operation == operation]


class Remembered(BaseModel):
    """As much of a health record as later ones need."""

    at: datetime
    storage_bytes: int
    findings: list[Finding]


def gather(
    store: Store,
    system: System,
    now: datetime,
    live: Finding | None = None,
    second: SecondLook | None = None,
) -> Evidence:
    """Read everything; without `live`, the last look at the live database counts.

    `second` is a look at the second store, if one was taken. Raises Failed when the store cannot
    be read.
    """
    name = system.system
    listing = catalog.listing(store, name)
    past = _remembered(store, name)
    before = {finding.guard: finding for finding in past[-1].findings} if past else {}
    return Evidence(
        system=system,
        now=now,
        backups=listing.backups,
        damaged={
            backup: at
            for backup, at in listing.states.damaged.items()
            # The removed ones are no harm any more.
            if any(entry.id == backup for entry in listing.backups)
        },
        unreadable=listing.problems,
        removing=listing.states.removing,
        unfinished=removal.unfinished(store, name),
        storage_bytes=sum(o.size_bytes for o in store.objects(layout.system_prefix(name))),
        storage_points=[(one.at, float(one.storage_bytes)) for one in past],
        drill=drill_record.last_drill(store, name),
        records=audit.records(store, name, last=_RECORDS),
        unlocked=_unlocked(store, system, listing, now),
        closed=encryption.closed(listing.backups),
        freezes=freezes.active(store, name),
        waiting=len(spool.waiting(name)),
        before=before,
        live=live or _looked(before, past),
        store_url=store.url,
        second=second,
        lacking=_lacking(system, listing, second, now),
    )


def _lacking(
    system: System, listing: Listing, second: SecondLook | None, now: datetime
) -> Sequence[Manifest]:
    if second is None or second.problem or system.second_store is None:
        return ()
    return lacking(listing, second.listing, system.second_store.retention, now)


def _unlocked(
    store: Store, system: System, listing: Listing, now: datetime
) -> Sequence[Manifest] | str:
    try:
        return locking.unlocked(store, system, listing, now)
    except BackupError as error:
        return str(error)


def _looked(before: Mapping[str, Finding], past: Sequence[Remembered]) -> Finding | None:
    found = before.get(READABLE)
    if found is None or found.status == "unknown":
        return None
    return found.model_copy(update={"at": found.at or past[-1].at})


def _remembered(store: Store, system: str) -> list[Remembered]:
    """Some of the health records, evenly over time, the newest last; foreign objects left out."""
    keys = sorted(item.key for item in store.objects(layout.health_prefix(system)))
    step = max(1, -(-len(keys) // _POINTS))
    chosen = sorted({*keys[::step], *keys[-1:]})

    def read(key: str) -> Remembered | None:
        try:
            return Remembered.model_validate_json(store.get(key))
        except (Damaged, ValidationError):
            # Removed meanwhile, or none of ours.
            return None

    return [found for found in read_all(read, chosen) if found is not None]
