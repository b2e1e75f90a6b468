"""The health of a system's backups, from the store alone: numbers, findings, and what changed."""

import json
from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backup_pipelines import layout, state_log
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.health import guards, guards_second
from backup_pipelines.health.evidence import Evidence, gather
from backup_pipelines.health.finding import Finding, Status
from backup_pipelines.health.guards_backups import recovery_point_target
from backup_pipelines.health.guards_second import Destination
from backup_pipelines.health.guards_upkeep import storage_full_at, storage_trend
from backup_pipelines.health.second_look import SecondLook
from backup_pipelines.retention import freezes
from backup_pipelines.scheduling import due, schedule
from backup_pipelines.settings import parse_size
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.trail.audit import Record

KEPT = 500
"""How many records are kept: three weeks of hourly ones."""

# Records differ by their time.
_TICK = timedelta(microseconds=1)

# What the requirements count: the last 30 backups, and attempts.
_LAST = 30


class Alarm(BaseModel):
    """What people know of a guard."""

    model_config = ConfigDict(frozen=True)

    status: Status
    cause: str


class Drill(BaseModel):
    """The last drill that passed."""

    backup: str
    at: datetime
    seconds: float


class Prune(BaseModel):
    """The last prune that the audit trail has."""

    at: datetime
    outcome: str
    message: str


class Freeze(BaseModel):
    """A guard that keeps good history from being pruned until somebody acknowledges it."""

    guard: str
    since: datetime
    message: str


class Health(BaseModel):
    """How the backups of one system are; times in UTC, durations in seconds."""

    system: str
    at: datetime
    healthy: bool = Field(description="No guard is an error.")
    backups: int
    encrypted: int = Field(default=0, description="How many of them are.")
    opened: int | None = Field(
        default=None,
        description="How many of those the identity here opens; null where there is none.",
    )
    last_backup: str
    last_backup_at: datetime | None
    recovery_point_seconds: float | None = Field(description="Age of the newest good full backup.")
    recovery_point_target_seconds: float
    largest_gap_seconds: float | None = Field(description="Between the last 30 of them.")
    recovery_time_seconds: float | None = Field(description="What the last drill took.")
    recovery_time_target_seconds: float
    success_rate: float | None = Field(description="Of the last 30 attempts to back up, 0 to 1.")
    attempts: int
    storage_bytes: int
    storage_limit_bytes: int
    storage_bytes_per_day: float | None
    storage_full_at: datetime | None = Field(description="When the limit is reached.")
    last_drill: Drill | None
    next_drill: datetime | None
    last_prune: Prune | None
    last_scheduled: datetime | None
    next_scheduled: datetime | None = Field(description="In the past if it is overdue.")
    destinations: list[Destination] = Field(
        default_factory=list[Destination], description="The first store, and the second if any."
    )
    findings: list[Finding]
    freezes: list[Freeze]
    records: list[Record] = Field(
        default_factory=list[Record], exclude=True, description="The newest of the audit trail."
    )
    known: dict[str, Alarm] = Field(
        default_factory=dict[str, Alarm], description="What people were told of each guard."
    )

    @property
    def red(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self.findings if finding.status == "error"]

    @property
    def alerts(self) -> list[Finding]:
        """The findings that somebody should do something about, errors first."""
        return [*self.red, *(found for found in self.findings if found.status == "warning")]

    def document(self) -> dict[str, object]:
        """What `status --json` prints."""
        shown: dict[str, object] = json.loads(self.model_dump_json(exclude={"known"}))
        return {**shown, "alerts": [finding.message for finding in self.alerts]}


def assess(
    store: Store,
    system: System,
    now: datetime,
    live: Finding | None = None,
    second: SecondLook | None = None,
) -> Health:
    """The health of a system now; `live` is what a look at its database has just found.

    `second` is a look at its second store. Raises Failed when the store cannot be read.
    """
    return _health(store, gather(store, system, now, live, second))


def remember(store: Store, health: Health) -> None:
    """Write the record of what was found, and remove the oldest; raises Failed."""
    key = layout.health_key(health.system, state_log.stamp(health.at))
    store.put_new(key, health.model_dump_json(indent=1).encode())
    try:
        store.delete(_keys(store, health.system)[:-KEPT])
    except Failed:
        # A bucket that keeps objects for a time refuses; a later record removes them.
        return


def previous(store: Store, system: str) -> Health | None:
    """The newest record, or None; one that cannot be read is as none."""
    keys = _keys(store, system)
    if not keys:
        return None
    try:
        return Health.model_validate_json(store.get(keys[-1]))
    except (Damaged, ValidationError):
        return None


def changes(before: Health | None, after: Health) -> list[Finding]:
    """The findings that people do not know of: red, green again, or red for another cause.

    A guard that cannot tell changes nothing; what was known of it goes on to count.
    """
    known = before.known if before else {}
    found: list[Finding] = []
    for finding in after.findings:
        was = known.get(finding.guard, Alarm(status="ok", cause=""))
        another = finding.status != "ok" and finding.cause != was.cause
        if finding.status != "unknown" and (finding.status != was.status or another):
            found.append(finding)
    return found


def uninformed(before: Health | None, after: Health) -> Health:
    """The health while people know what they knew before."""
    return after.model_copy(update={"known": dict(before.known) if before else {}})


def informed(before: Health | None, after: Health) -> Health:
    """The health once people were told of the changes, as a record of its own."""
    known = dict(before.known) if before else {}
    for finding in after.findings:
        if finding.status != "unknown":
            known[finding.guard] = Alarm(status=finding.status, cause=finding.cause)
    return after.model_copy(update={"known": known, "at": after.at + _TICK})


def freeze_pruning(store: Store, health: Health) -> list[Finding]:
    """Stop pruning for each guard of guards.FREEZING that is red; returns those findings.

    For a cause that was acknowledged already nothing is done.
    """
    found = [
        finding
        for finding in health.findings
        # A drill that is only too long ago has no cause: it says nothing against the backups.
        if finding.guard in guards.FREEZING and finding.status == "error" and finding.cause
    ]
    for finding in found:
        freezes.freeze(store, health.system, finding.guard, finding.message, subject=finding.cause)
    return found


def latch(store: Store, system: System, now: datetime) -> list[Finding]:
    """Look at the guards and freeze pruning where they are red: to be done before every prune."""
    return freeze_pruning(store, assess(store, system, now))


def _health(store: Store, evidence: Evidence) -> Health:
    system, now = evidence.system, evidence.now
    findings = guards.look(evidence)
    newest = next(iter(evidence.past), None)
    attempts = evidence.attempts("backup")[:_LAST]
    scheduled = due.last_backup(store, evidence.name)
    drill = evidence.drill
    return Health(
        system=evidence.name,
        at=now,
        healthy=not any(finding.status == "error" for finding in findings),
        backups=len(evidence.backups),
        encrypted=len(evidence.encrypted),
        opened=_opened(evidence),
        last_backup=newest.id if newest else "",
        last_backup_at=newest.snapshot_at if newest else None,
        recovery_point_seconds=_seconds(now - newest.snapshot_at) if newest else None,
        recovery_point_target_seconds=recovery_point_target(evidence).total_seconds(),
        largest_gap_seconds=_largest_gap(evidence),
        recovery_time_seconds=drill.seconds if drill else None,
        recovery_time_target_seconds=system.guards.recovery_time_minutes * 60,
        success_rate=_share_done(attempts),
        attempts=len(attempts),
        storage_bytes=evidence.storage_bytes,
        storage_limit_bytes=parse_size(system.storage_limit),
        storage_bytes_per_day=storage_trend(evidence),
        storage_full_at=storage_full_at(evidence),
        last_drill=Drill(backup=drill.backup_id, at=drill.at, seconds=drill.seconds)
        if drill
        else None,
        next_drill=schedule.next_due(system.drill.schedule, now, drill.at if drill else None),
        last_prune=_last_prune(evidence),
        last_scheduled=scheduled,
        next_scheduled=schedule.next_due(system.schedule, now, scheduled),
        findings=findings,
        destinations=guards_second.destinations(evidence),
        freezes=[Freeze(guard=f.guard, since=f.at, message=f.message) for f in evidence.freezes],
        records=list(evidence.records),
    )


def _largest_gap(evidence: Evidence) -> float | None:
    """The longest time that was lost at most had the database gone just before a backup."""
    times = [entry.snapshot_at for entry in evidence.past[:_LAST]]
    return max((_seconds(after - before) for after, before in pairwise(times)), default=None)


def _opened(evidence: Evidence) -> int | None:
    if evidence.closed is None or isinstance(evidence.closed, str):
        return None
    return len(evidence.encrypted) - len(evidence.closed)


def _share_done(attempts: list[Record]) -> float | None:
    if not attempts:
        return None
    return sum(record.outcome == "done" for record in attempts) / len(attempts)


def _last_prune(evidence: Evidence) -> Prune | None:
    last = next(iter(evidence.attempts("prune")), None)
    return Prune(at=last.at, outcome=last.outcome, message=last.message) if last else None


def _seconds(length: timedelta) -> float:
    return max(length.total_seconds(), 0.0)


def _keys(store: Store, system: str) -> list[str]:
    return sorted(item.key for item in store.objects(layout.health_prefix(system)))
