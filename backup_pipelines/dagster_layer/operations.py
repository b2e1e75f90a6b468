"""Every operation leaves word of itself: audit record, run tag, activity log, notification.

It does however the operation ends, and nothing that goes wrong here changes how it ended: that
becomes a warning in the run, and where the store refuses, a record in the spool.
"""

import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import operators, run_operations, run_tags
from backup_pipelines.dagster_layer.instance import instance_of_home
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.trail import audit, spool
from backup_pipelines.trail.audit import Happened, Head, Outcome

AUDIT_TAG_PREFIX = "backup_pipelines/audit_"
"""Run tag with the head of the trail after the run's record, outside the store: an anchor."""

Context = dg.OpExecutionContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext

_WAITING = "waiting"
_KILLED = "the run ended without a word: killed, or its machine was lost"


@dataclass
class Operation:
    """What an operation finds out about itself on its way, for the audit record."""

    reason: str = ""
    backup: str = ""
    plan_hash: str = ""
    rows: int | None = None
    digests_before: dict[str, str] = field(default_factory=dict)
    digests_after: dict[str, str] = field(default_factory=dict)
    message: str = ""
    outcome: Outcome = "done"
    """Of one that ended well: a plan may say that what was asked for would be refused."""
    details: dict[str, Any] = field(default_factory=dict)


@contextmanager
def operation(
    context: Context,
    system: System,
    name: str,
    environment: BackupEnvironment,
    *,
    reason: str = "",
    unless_done: bool = False,
) -> Generator[Operation, None, None]:
    """Leave word of the operation in the block, whichever way the block is left.

    With `unless_done` only of a failure or refusal: what it leads to leaves word of its own.
    """
    work, started_at = Operation(reason=reason), datetime.now(UTC)
    with _harmless(context, "tags"):
        run_tags.begin(context, system, name)
    try:
        yield work
    except BaseException as error:
        _finish(context, system, name, environment, work, started_at, error)
        raise
    if not unless_done:
        _finish(context, system, name, environment, work, started_at, None)


def report(
    context: Context,
    system: System,
    environment: BackupEnvironment,
    happened: Happened,
) -> None:
    """Leave word of something that happened, in all the places where people look; never raises."""
    with _harmless(context, "audit trail"):
        _keep(context, system, environment, happened)
    with _harmless(context, "activity log"):
        _log_activity(context, system, happened)
    problems: list[str] = []
    with _harmless(context, "notifications"):
        problems = _notify(system, happened)
    if not problems:
        return
    with _harmless(context, "audit trail"):
        for problem in problems:
            context.log.warning(f"not told: {problem}")
        told = Happened(
            operation=audit.NOTIFY,
            outcome="failed",
            operator=happened.operator,
            at=datetime.now(UTC),
            message="; ".join(problems),
            backup=happened.backup,
            run_id=happened.run_id,
            details={"of": happened.operation},
        )
        _keep(context, system, environment, told)


def unreported(
    instance: dg.DagsterInstance, system: System, since: datetime
) -> list[dg.DagsterRun]:
    """Runs of a system's operations that have failed since then and left no word: killed ones."""
    filters = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED], updated_after=since
    )
    found = instance.get_run_records(filters)
    return [
        record.dagster_run
        for record in found
        if _operations_of(record.dagster_run, system)
        and not _has_reported(record.dagster_run, system.system)
        and not _is_withdrawn(record)
    ]


def is_of(run: dg.DagsterRun, system: System) -> bool:
    """Whether a run is one of the system's operations; a look at its health or modules is none."""
    return bool(run_operations.operation_of(run, system))


def report_killed(
    context: Context,
    system: System,
    environment: BackupEnvironment,
    runs: Iterable[dg.DagsterRun],
) -> None:
    """Leave word for runs that could not do so themselves, refused ones too; never raises."""
    from backup_pipelines.dagster_layer.assets import BACKUP_TAG_PREFIX

    for run in runs:
        with _harmless(context, f"run {run.run_id}"):
            record = context.instance.get_run_record_by_id(run.run_id)
            ended = record.end_time if record else None
            began = record.start_time if record else None
            is_refused = run_operations.is_refused(run)
            message = _KILLED if began else "the run could not be started"
            if is_refused:
                message = _why_refused(context.instance, run)
            for name in _operations_of(run, system):
                happened = Happened(
                    operation=name,
                    outcome="refused" if is_refused else "failed",
                    operator=operators.operator_of(run, system),
                    at=datetime.fromtimestamp(ended, UTC) if ended else datetime.now(UTC),
                    started_at=datetime.fromtimestamp(began, UTC) if began else None,
                    reason=run_operations.reason(run) if is_refused else "",
                    message=message,
                    backup=run.tags.get(BACKUP_TAG_PREFIX + system.system, ""),
                    run_id=run.run_id,
                )
                report(context, system, environment, happened)


def anchors(instance: dg.DagsterInstance, store: Store, system: str) -> list[Head]:
    """The heads of a system's trail in this store that runs have seen, for audit.verify."""
    heads: list[Head] = []
    key = AUDIT_TAG_PREFIX + system
    for _, values in instance.get_run_tags([key]):
        for value in values:
            match value.split():
                case [number, sha256, _, place] if place == _place(store) and number.isdecimal():
                    heads.append(Head(int(number), sha256))
                case _:
                    continue
    return heads


def seen_heads(store: Store, system: str) -> list[Head]:
    """`anchors` of the instance that DAGSTER_HOME names."""
    with instance_of_home() as instance:
        return anchors(instance, store, system)


def _finish(
    context: Context,
    system: System,
    name: str,
    environment: BackupEnvironment,
    work: Operation,
    started_at: datetime,
    error: BaseException | None,
) -> None:
    with _harmless(context, "tags"):
        run_tags.of_backup(context, work.backup, work.details)
    with _harmless(context, name):
        outcome, message = (work.outcome, "") if error is None else _ended(error)
        happened = Happened(
            operation=name,
            outcome=outcome,
            operator=operators.operator_of(context.run, system),
            at=datetime.now(UTC),
            started_at=started_at,
            reason=work.reason,
            message=message or work.message,
            backup=work.backup,
            plan_hash=work.plan_hash,
            rows=work.rows,
            digests_before=work.digests_before,
            digests_after=work.digests_after,
            run_id=context.run.run_id,
            details=work.details,
        )
        report(context, system, environment, happened)


def _ended(error: BaseException) -> tuple[Outcome, str]:
    """The outcome of an error, and what it says."""
    said = error.__cause__ if isinstance(error, dg.Failure) and error.__cause__ else error
    if isinstance(said, Refused):
        return "refused", str(said)
    if isinstance(said, BackupError):
        return "failed", str(said)
    if isinstance(said, dg.Failure):
        return "failed", said.description or "the run failed"
    if not isinstance(said, Exception):
        return "failed", f"the run was interrupted ({type(said).__name__})"
    # What other libraries say may hold parts of a URL or of a row.
    return "failed", f"the run broke off ({type(said).__name__}); see its log"


def _keep(
    context: Context, system: System, environment: BackupEnvironment, happened: Happened
) -> None:
    """Write the record, or keep it here; the tag tells of the run that somebody has its record."""
    name, place = system.system, ""
    try:
        store = environment.store_of_records()
        place = store.url
        for late, head in spool.flush(store, name):
            _tag(context, name, late.run_id, _anchor(store, late.run_id, head))
        mark = _anchor(store, happened.run_id, audit.append(store, name, happened))
    # An interrupted write, too, may not have arrived.
    except BaseException as error:
        context.log.warning(f"the audit record waits on this machine: {_said(error)}")
        try:
            spool.add(place, name, happened)
        except OSError as failure:
            context.log.warning(f"nor can it be kept ({failure}): {happened.model_dump_json()}")
        mark = f"{_WAITING} {happened.id} {happened.run_id}"
    _tag(context, name, happened.run_id, mark)


def _tag(context: Context, system: str, run_id: str, mark: str) -> None:
    if run_id and context.instance.has_run(run_id):
        context.instance.add_run_tags(run_id, {AUDIT_TAG_PREFIX + system: mark})


def _anchor(store: Store, run_id: str, head: Head) -> str:
    # A re-execution has its parent's tags, and one instance may have seen several stores.
    return f"{head} {run_id} {_place(store)}"


def _place(store: Store) -> str:
    return hashlib.sha256(store.url.encode()).hexdigest()[:12]


def _has_reported(run: dg.DagsterRun, system: str) -> bool:
    return run.run_id in run.tags.get(AUDIT_TAG_PREFIX + system, "").split()


def _is_withdrawn(record: dg.RunRecord) -> bool:
    """Whether somebody canceled the run in the queue: nothing was begun."""
    is_canceled = record.dagster_run.status == dg.DagsterRunStatus.CANCELED
    return is_canceled and record.start_time is None


def _log_activity(context: Context, system: System, happened: Happened) -> None:
    from backup_pipelines.trail import activity_log

    if system.activity_log is not None:
        problem = activity_log.write(system.activity_log, system.system, happened)
        if problem:
            context.log.warning(f"not in the activity log: {problem}")


def _notify(system: System, happened: Happened) -> list[str]:
    """Tell people and the watchdog; gives what went wrong."""
    from backup_pipelines.messages import notify
    from backup_pipelines.trail import notices

    event = notices.event_of(system.system, happened)
    if event is None:
        return []
    problems = list(notify.send(system, event))
    if event.topic == "backup":
        healthy = happened.outcome == "done"
        problem = notify.beat(system, healthy, happened.message or event.title)
        problems += [problem] if problem else []
    return problems


@contextmanager
def _harmless(context: Context, what: str) -> Generator[None, None, None]:
    """Turn whatever goes wrong into a warning; an interrupt only ends the telling."""
    try:
        yield
    except BaseException as error:
        # Dagster's own log may be what is gone.
        with suppress(Exception):
            context.log.warning(f"{what}: {_said(error)}")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def _operations_of(run: dg.DagsterRun, system: System) -> tuple[str, ...]:
    """What word must be left of for a run that has failed: what it was launched for, or refused."""
    if run_operations.is_refused(run):
        return run_operations.refused(run, system)
    known = run_operations.operation_of(run, system)
    return (known,) if known else ()


def _why_refused(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """What the run coordinator has left in the run's log."""
    found = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    event = found[0].dagster_event if found else None
    return (event.message if event else None) or "the launch was refused"
