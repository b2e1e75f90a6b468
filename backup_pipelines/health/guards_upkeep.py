"""Guards over what surrounds the backups: room, pruning, messages, audit trail, database."""

from datetime import datetime, timedelta

from backup_pipelines.health.evidence import Evidence
from backup_pipelines.health.finding import READABLE, Finding, Status, unknown
from backup_pipelines.settings import parse_size
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.trail import notices
from backup_pipelines.trail.audit import NOTIFY
from backup_pipelines.wording import age, moment, size

# Older than this, what was found in the live database says nothing of today.
_LIVE_COUNTS = timedelta(days=1)

# With less history than this, a line through it says nothing.
_SHORTEST_TREND = timedelta(days=1)
_MADE_UP = timedelta(days=1)
_FAR_AHEAD = timedelta(days=3650)
_DAY_SECONDS = 86400

_NAMED = 5


def storage_trend(evidence: Evidence) -> float | None:
    """Bytes that are added each day, by least squares; None where the history is too short."""
    points = _recorded(evidence) or _taken(evidence)
    if not points:
        return None
    start = points[0][0]
    days = [(at - start).total_seconds() / _DAY_SECONDS for at, _ in points]
    mean_day = sum(days) / len(days)
    mean_bytes = sum(size for _, size in points) / len(points)
    spread = sum((day - mean_day) ** 2 for day in days)
    joint = sum(
        (day - mean_day) * (size - mean_bytes) for day, (_, size) in zip(days, points, strict=True)
    )
    return joint / spread


def storage_full_at(evidence: Evidence) -> datetime | None:
    """When the limit is reached if all goes on as it does; None if that is far or never."""
    trend, left = storage_trend(evidence), _limit(evidence) - evidence.storage_bytes
    if left <= 0:
        return evidence.now
    if trend is None or trend <= 0 or left / trend > _FAR_AHEAD.days:
        return None
    return evidence.now + timedelta(days=left / trend)


def storage(evidence: Evidence) -> Finding:
    """Whether the system's objects leave room under the limit."""
    used, limit, spec = evidence.storage_bytes, _limit(evidence), evidence.system.guards
    percent = 100 * used / limit if limit else 100.0
    status: Status = "ok"
    if percent >= spec.storage_error_percent:
        status = "error"
    elif percent >= spec.storage_warn_percent:
        status = "warning"
    trend, full_at = storage_trend(evidence), storage_full_at(evidence)
    said = f"{size(used)} of {size(limit)} are used ({percent:.1f} %)"
    if trend is not None:
        said += f"; {size(abs(int(trend)))} {'more' if trend >= 0 else 'less'} each day"
    if full_at is not None and full_at > evidence.now:
        said += f"; the limit is reached on {full_at:%Y-%m-%d}"
    numbers = {"bytes": used, "limit_bytes": limit, "percent": round(percent, 2)}
    if trend is not None:
        numbers["bytes_per_day"] = round(trend, 1)
    return Finding(
        guard="storage",
        status=status,
        message=f"{said}.",
        advice=""
        if status == "ok"
        else f"See what retention would remove (`backup-pipelines prune {evidence.name} "
        "--dry-run`), keep less, or make room and raise storage_limit in "
        f"defs/{evidence.name}/defs.yaml.",
        numbers=numbers,
    )


def prune(evidence: Evidence) -> Finding:
    """Whether pruning works, and is not stopped."""
    last = next(iter(evidence.attempts("prune")), None)
    numbers = {"unfinished": len(evidence.unfinished), "freezes": len(evidence.freezes)}
    if last is not None and last.outcome == "failed":
        return Finding(
            guard="prune",
            status="error",
            message=f"The last prune ({moment(last.at)}) failed: {last.message}",
            advice=f"Do what it says, then `backup-pipelines prune {evidence.name}`.",
            numbers=numbers,
        )
    if evidence.freezes:
        why = "; ".join(f"{one.guard} ({one.message})" for one in evidence.freezes)
        guards = " ".join(one.guard for one in evidence.freezes)
        return Finding(
            guard="prune",
            status="warning",
            message=f"No good history is pruned until an operator acknowledges {guards}: {why}",
            advice="When you have looked: `backup-pipelines acknowledge "
            f"{evidence.name} --reason TEXT`.",
            numbers=numbers,
            cause=guards,
        )
    if evidence.unfinished:
        return Finding(
            guard="prune",
            status="warning",
            message=f"The removal of {len(evidence.unfinished)} backups is not finished: "
            f"{'; '.join(f'{b}: {how}' for b, how in list(evidence.unfinished.items())[:_NAMED])}.",
            advice=f"The next prune goes on with it: `backup-pipelines prune {evidence.name}`. If "
            "the store refuses, look at its permissions and Object Lock.",
            numbers=numbers,
            cause=" ".join(evidence.unfinished),
        )
    when = f"The last prune was {age(last.at, evidence.now)}" if last else "Nothing was pruned yet"
    return Finding(
        guard="prune", status="ok", message=f"{when}; nothing is left to remove.", numbers=numbers
    )


def notify(evidence: Evidence) -> Finding:
    """Whether the newest message to people could be sent."""
    told = (r for r in evidence.records if r.operation == NOTIFY or notices.topic_of(r.operation))
    newest = next(told, None)
    if newest is None:
        return unknown("notify", "The audit trail has nothing yet that people are told of.")
    if newest.operation == NOTIFY and newest.outcome != "done":
        return Finding(
            guard="notify",
            status="error",
            message=f"People could not be told ({moment(newest.at)}): {newest.message}",
            advice="Put the URLs right in the variables that `notifications` and "
            f"`heartbeat_url_env` of defs/{evidence.name}/defs.yaml name. The next message that is "
            "sent clears it.",
            cause=newest.message,
        )
    return Finding(guard="notify", status="ok", message="The newest message was not refused.")


def object_lock(evidence: Evidence) -> Finding:
    """Whether every backup is locked as the YAML promises."""
    spec, found = evidence.system.object_lock, evidence.unlocked
    if spec is None:
        return unknown("object_lock", "The YAML asks for no locks.")
    if isinstance(found, str):
        return Finding(guard="object_lock", status="error", message=found, cause=found)
    if not found:
        return Finding(
            guard="object_lock",
            status="ok",
            message=f"Every backup of the last {spec.days} days is locked ({spec.mode}).",
            numbers={"unlocked": 0},
        )
    names = [entry.id for entry in found]
    tried = next((r.details.get(notices.NOT_LOCKED) for r in evidence.attempts("backup")), None)
    # The next backup, or the daily verification, makes up for it.
    old = evidence.now - found[-1].created_at > _MADE_UP
    return Finding(
        guard="object_lock",
        status="error" if old else "warning",
        message=f"{len(names)} backups of the last {spec.days} days are not locked: "
        f"{', '.join(names[:_NAMED])}{' and others' if len(names) > _NAMED else ''}."
        f"{f' The last backup said, {tried}' if tried else ''}",
        advice="The next backup or verification of the rotation locks them. If it does not, look "
        'at the rights under "Object Lock" in docs/operations.md.',
        numbers={"unlocked": len(names)},
        about=tuple(sorted(names)),
    )


def audit(evidence: Evidence) -> Finding:
    """Whether the store takes the records of the audit trail."""
    numbers = {"waiting": evidence.waiting}
    if not evidence.waiting:
        return Finding(
            guard="audit", status="ok", message="No record waits on this machine.", numbers=numbers
        )
    return Finding(
        guard="audit",
        status="error",
        message=f"{evidence.waiting} audit records wait on this machine: the store did not take "
        "them.",
        advice="Look whether the store can be written: room, credentials, permissions. The next "
        "operation writes them; do not remove `.spool`.",
        numbers=numbers,
    )


def identity(evidence: Evidence) -> Finding:
    """Whether the identity of this machine, where it has one, opens every encrypted backup."""
    encrypted, closed = len(evidence.encrypted), evidence.closed
    if not encrypted:
        return Finding(guard="identity", status="ok", message="No backup is encrypted.")
    there = f"{encrypted} of {len(evidence.backups)} backups are encrypted"
    if closed is None:
        return unknown(
            "identity", f"{there}; this machine has no identity, as hosts that only back up."
        )
    keep = (
        f"Add the identity that opens them to the file that {BACKUP_AGE_IDENTITY} names: without "
        "it nobody can restore them. To whom they are encrypted: "
        f"`backup-pipelines show {evidence.name} BACKUP`."
    )
    if isinstance(closed, str):
        return Finding(guard="identity", status="error", message=f"{there}; {closed}.", advice=keep)
    numbers = {"encrypted": encrypted, "closed": len(closed)}
    if not closed:
        said = f"{there}; the identity here opens all of them."
        return Finding(guard="identity", status="ok", message=said, numbers=numbers)
    return Finding(
        guard="identity",
        status="error",
        message=f"{there}; the identity here does not open {len(closed)} of them, "
        f"{closed[0]} the newest.",
        advice=keep,
        numbers=numbers,
        about=tuple(sorted(closed)),
    )


def readable(evidence: Evidence) -> Finding:
    """What a look at the live database found, unless it is too long ago."""
    live = evidence.live
    advice = f"Let the daemon run, or launch the job `{evidence.name}_health`."
    if live is None:
        return unknown(READABLE, "Nobody has looked at the live database yet.", advice)
    if live.at is None:
        return live
    old = evidence.now - live.at
    when = age(live.at, evidence.now)
    if old > _LIVE_COUNTS:
        message = f"The last look at the live database was {when}: {live.message}"
        return unknown(READABLE, message, advice)
    return live.model_copy(update={"message": f"{live.message} (as of {when})"})


def _limit(evidence: Evidence) -> int:
    return parse_size(evidence.system.storage_limit)


def _recorded(evidence: Evidence) -> list[tuple[datetime, float]]:
    points = [*evidence.storage_points, (evidence.now, float(evidence.storage_bytes))]
    return points if points[-1][0] - points[0][0] >= _SHORTEST_TREND else []


def _taken(evidence: Evidence) -> list[tuple[datetime, float]]:
    """What the backups that are there have added one by one."""
    points: list[tuple[datetime, float]] = []
    total = 0.0
    for entry in reversed(evidence.backups):
        total += entry.size_bytes
        points.append((entry.snapshot_at, total))
    return points if points and points[-1][0] - points[0][0] >= _SHORTEST_TREND else []
