"""Guards over the backups of a system: fresh, whole, proved, and in time."""

from collections.abc import Set
from datetime import timedelta

from backup_pipelines import state_log
from backup_pipelines.health.evidence import Evidence
from backup_pipelines.health.finding import Finding, Status, span, unknown
from backup_pipelines.scheduling import schedule
from backup_pipelines.settings import PERIODS
from backup_pipelines.wording import moment

# A backup takes a while, and clocks of a schedule's time zone change by one hour.
_GRACE = timedelta(hours=2)

_DAY_SECONDS = 86400
_NAMED = 5


def recovery_point_target(evidence: Evidence) -> timedelta:
    """How old the newest good full backup may get."""
    spec = evidence.system.guards
    if spec.recovery_point_hours is not None:
        return timedelta(hours=spec.recovery_point_hours)
    every = evidence.system.schedule
    if every.every == "never":
        return PERIODS["every_2_days"] + _GRACE
    return schedule.period(every, evidence.now) + _GRACE


def freshness(evidence: Evidence) -> Finding:
    """Whether the newest good full backup is young enough."""
    target = recovery_point_target(evidence)
    never = evidence.system.schedule.every == "never"
    numbers = {"target_seconds": target.total_seconds(), "backups": len(evidence.full)}
    advice = f"Take one: `backup-pipelines backup {evidence.name}`. " + (
        "Its schedule is off (every: never)." if never else "Then look whether the daemon runs."
    )
    ahead = len(evidence.full) - len(evidence.past)
    strange = f" {ahead} more are dated in the future and do not count." if ahead else ""
    if not evidence.past:
        return Finding(
            guard="freshness",
            status="error",
            message=f"There is no good full backup.{strange}",
            advice=advice,
            numbers=numbers,
        )
    newest = evidence.past[0]
    seconds = max((evidence.now - newest.snapshot_at).total_seconds(), 0.0)
    late = seconds > target.total_seconds()
    unscheduled = never and evidence.system.guards.recovery_point_hours is None
    status: Status = "ok" if not late else ("warning" if unscheduled else "error")
    return Finding(
        guard="freshness",
        status=status,
        message=f"The newest good full backup, {newest.id}, is {span(seconds)} old; the target is "
        f"{span(target.total_seconds())}.{strange}",
        advice=advice if late else "",
        numbers={**numbers, "age_seconds": seconds},
    )


def success(evidence: Evidence) -> Finding:
    """Whether the newest attempt to back up came to an end."""
    attempts = evidence.attempts("backup")
    if not attempts:
        return unknown("success", "The audit trail has no attempt to back up.")
    newest = attempts[0]
    when = moment(newest.at)
    if newest.outcome == "done":
        return Finding(guard="success", status="ok", message=f"The newest backup, {when}, is done.")
    # A refusal may be a person's slip; what hinders the backups is red in its own guard.
    status: Status = "error" if newest.outcome == "failed" else "warning"
    failed = next((i for i, record in enumerate(attempts) if record.outcome == "done"), None)
    row = len(attempts) if failed is None else failed
    return Finding(
        guard="success",
        status=status,
        message=f"The newest backup, {when}, {'failed' if status == 'error' else 'was refused'}"
        f"{f' ({row} in a row)' if row > 1 else ''}: {newest.message}",
        advice=f"Do what it says, then `backup-pipelines backup {evidence.name}`.",
        numbers={"in_a_row": row},
    )


def intact(evidence: Evidence) -> Finding:
    """Whether no backup is known to be damaged, and every manifest can be read."""
    broken = {
        backup: f"{backup}, found damaged {moment(at)}" for backup, at in evidence.damaged.items()
    } | dict(evidence.unreadable)
    numbers = {"damaged": len(evidence.damaged), "unreadable": len(evidence.unreadable)}
    if broken:
        more = len(broken) - _NAMED
        return Finding(
            guard="intact",
            status="error",
            message=f"{len(broken)} of the backups are not whole: "
            f"{'; '.join(list(broken.values())[:_NAMED])}"
            f"{f' and {more} more' if more > 0 else ''}",
            advice=f"Do not restore them. Take a new one (`backup-pipelines backup {evidence.name}"
            f"`), prove it (`backup-pipelines drill {evidence.name}`), then remove them: "
            f"`backup-pipelines delete {evidence.name} BACKUP --confirm CONFIRM`.",
            numbers=numbers,
            cause=_since(evidence, "intact", broken.keys()),
            about=tuple(sorted(broken)),
        )
    if not evidence.backups:
        return unknown("intact", "There are no backups.")
    return Finding(
        guard="intact",
        status="ok",
        message=f"None of {len(evidence.backups)} backups is known to be damaged.",
        numbers=numbers,
    )


def restorable(evidence: Evidence) -> Finding:
    """Whether a drill has passed, not too long ago, and none has failed since."""
    days, passed = evidence.system.guards.drill_days, evidence.drill
    advice = f"Prove the newest backup: `backup-pipelines drill {evidence.name}`."
    failed = next(iter(evidence.attempts("drill")), None)
    if failed is not None and failed.outcome == "failed":
        # A drill's record has the time of its start, its audit record that of its end.
        began = failed.started_at or failed.at
        if passed is None or passed.at < began:
            return Finding(
                guard="restorable",
                status="error",
                message=f"The last drill ({moment(failed.at)}"
                f"{f', of {failed.backup}' if failed.backup else ''}) failed: {failed.message}",
                advice=f"Look at its run and put right what it says. {advice}",
                cause=state_log.stamp(failed.at),
            )
    if passed is None:
        return _never_drilled(evidence, advice)
    seconds = (evidence.now - passed.at).total_seconds()
    old = seconds > days * _DAY_SECONDS
    return Finding(
        guard="restorable",
        status="error" if old else "ok",
        message=f"The last drill that passed is {span(seconds)} old, of {passed.backup_id}: "
        f"{passed.tables} tables and {passed.rows:,} rows were equal; it may be {days:g} days old.",
        advice=f"Look whether the daemon runs. {advice}" if old else "",
        numbers={"age_seconds": seconds, "tables": passed.tables, "rows": passed.rows},
    )


def recovery_time(evidence: Evidence) -> Finding:
    """Whether the restore of the last drill was fast enough."""
    if evidence.drill is None:
        return unknown(
            "recovery_time",
            "No drill has passed yet, so nobody knows how long a restore takes.",
            f"Take the time of one: `backup-pipelines drill {evidence.name}`.",
        )
    target = evidence.system.guards.recovery_time_minutes * 60
    seconds = evidence.drill.seconds
    slow = seconds > target
    return Finding(
        guard="recovery_time",
        status="error" if slow else "ok",
        message=f"The last drill took {span(seconds)}; the target is {span(target)}.",
        advice="See which module takes the time in the drill's record, give the server more, or "
        f"raise guards.recovery_time_minutes in defs/{evidence.name}/defs.yaml."
        if slow
        else "",
        numbers={"seconds": seconds, "target_seconds": target},
    )


def window(evidence: Evidence) -> Finding:
    """Whether the newest full backup was done within its window."""
    newest = evidence.newest_full
    if newest is None:
        return unknown("window", "There is no good full backup.")
    limit = evidence.system.guards.window_minutes * 60
    slow = newest.seconds > limit
    return Finding(
        guard="window",
        status="warning" if slow else "ok",
        message=f"{newest.id} took {span(newest.seconds)}; its window is {span(limit)}.",
        advice=f"Raise readers in defs/{evidence.name}/defs.yaml, move the schedule to a quieter "
        "hour, or raise guards.window_minutes."
        if slow
        else "",
        numbers={"seconds": newest.seconds, "limit_seconds": limit},
    )


def _since(evidence: Evidence, guard: str, about: Set[str]) -> str:
    """Since when it is about these, as a stamp; fewer than before are no other cause."""
    before = evidence.before.get(guard)
    if before is None or not before.cause or not about <= set(before.about):
        return state_log.stamp(evidence.now)
    return before.cause


def _never_drilled(evidence: Evidence, advice: str) -> Finding:
    """Nothing is proved; as long as the first backup is young, the first drill may still come."""
    if not evidence.full:
        return unknown("restorable", "There is no good full backup to drill.")
    first = evidence.full[-1]
    seconds = (evidence.now - first.snapshot_at).total_seconds()
    late = seconds > evidence.system.guards.drill_days * _DAY_SECONDS
    return Finding(
        guard="restorable",
        status="error" if late else "warning",
        message="No drill has passed yet, so nothing proves that these backups can be restored; "
        f"the oldest is {span(seconds)} old.",
        advice=advice,
    )
