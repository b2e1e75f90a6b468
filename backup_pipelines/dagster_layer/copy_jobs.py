"""The job that copies backups to the second store, and the sensor that launches it.

Neither the sensor nor anything else that the first store's backups wait for asks the second one:
it may be slow, or dead.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines.dagster_layer import (
    job_names,
    labels,
    metadata,
    operations,
    operators,
    partitions,
)
from backup_pipelines.dagster_layer.config import CopyConfig
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Damaged, Failed, NoStore, Refused
from backup_pipelines.progress import sparse
from backup_pipelines.settings_storage import SecondStoreSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.trail.notices import DAMAGED_COPIES
from backup_pipelines.wording import count, moment, size

if TYPE_CHECKING:
    from backup_pipelines.copies.copying import Copied
    from backup_pipelines.retention.prune import Pruned

# A copy is hours of nobody's time; a new backup should not be alone for long.
_COPY_SECONDS = 30

# Without new backups: copies may be lost or found damaged, a second store may be emptied.
_LOOK_AGAIN = timedelta(days=1)

# A second store that is away is asked again soon at first, then a few times a day.
_PAUSE, _LONGEST_PAUSE = timedelta(minutes=15), timedelta(hours=6)

# More failures in a row than lead to the longest pause.
_MOST_FAILED = 10

# A run that was created but never queued, by a daemon that was killed in between, stays like that.
_ABANDONED = timedelta(hours=1)

_ENDED_BADLY = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def copy_jobs(system: System) -> list[dg.JobDefinition]:
    """The copy job of a system that has a second store."""
    if system.second_store is None:
        return []
    name = system.system
    return [
        configured_op_job(
            system,
            job_names.copy_job(name),
            copy,
            CopyConfig,
            own_pool=job_names.copy_pool(name),
        )
    ]


def copy_sensors(system: System) -> list[dg.SensorDefinition]:
    """The sensor that has a copy follow each backup, if there is a second store."""
    return [_copy_after_backup(system)] if system.second_store is not None else []


def copy(
    system: System,
    context: dg.OpExecutionContext,
    config: CopyConfig,
    environment: BackupEnvironment,
) -> None:
    """Copy what the second store lacks, then prune it by its own retention."""
    with operations.operation(context, system, "copy", environment, reason=config.reason) as work:
        second = environment.second_store(system)
        _copy(system, context, config, environment.store(), second, work)


def _copy(
    system: System,
    context: dg.OpExecutionContext,
    config: CopyConfig,
    first: Store,
    second: Store,
    work: operations.Operation,
) -> None:
    from backup_pipelines.copies import copying

    spec, operator = system.second_store, operators.operator_of(context.run)
    if spec is None:
        raise Refused(f"{system.system} has no second store")
    _ensure_bucket(context, second)
    done: list[Copied] = []
    report = sparse(context.log.info)
    work.details |= {"copied": [], "bytes": 0}

    def copy_missing() -> None:
        rule = spec.retention
        for one in copying.copy_missing(
            first, second, system, rule, operator=operator, report=report
        ):
            done.append(one)
            _note(context, work, one)

    copy_missing()
    damaged = copying.verify_due(second, system, operator=operator, report=report)
    if damaged:
        work.details[DAMAGED_COPIES] = ", ".join(damaged)
        for problem in damaged.values():
            context.log.error(problem)
        # What the first store still has, puts them right.
        copy_missing()
    pinned = copying.mirror_pins(first, second, system.system, operator=operator)
    pruned = None
    # As in the first store, removals follow new backups: a look at a store, such as that after a
    # catalog was rebuilt, removes nothing.
    if work.details["copied"]:
        pruned = _prune(system, context, config, spec, first, second)
    _show(system, context, work, done, pinned, pruned)


def _ensure_bucket(context: dg.OpExecutionContext, second: Store) -> None:
    """Make the bucket of the first copy; a store that hangs costs one timeout, not many."""
    from backup_pipelines.storage import bucket

    try:
        second.folders("")
    except NoStore:
        for advice in bucket.ensure(second.url, second.variables):
            context.log.warning(advice)


def _note(context: dg.OpExecutionContext, work: operations.Operation, one: "Copied") -> None:
    """Keep in mind what was copied, whatever becomes of the rest."""
    if one.problem:
        context.log.error(f"{one.id} cannot be copied: {one.problem}")
    elif not one.gone:
        work.details["copied"].append(one.id)
        work.details["bytes"] += one.bytes
        context.log.info(f"{one.id}: {one.objects} objects, {one.bytes:,} bytes copied and read")
    work.message = _counted(work)


def _counted(work: operations.Operation) -> str:
    return f"{len(work.details['copied'])} backups, {work.details['bytes']:,} bytes copied"


def _shown_in_words(work: operations.Operation, removed: Sequence[str]) -> str:
    copied = count(len(work.details["copied"]), "backup")
    said = f"{copied} copied to the second store, {size(work.details['bytes'])}"
    return f"{said}; {count(len(removed), 'copy')[:-1]}ies removed" if removed else said


def _prune(
    system: System,
    context: dg.OpExecutionContext,
    config: CopyConfig,
    spec: SecondStoreSpec,
    first: Store,
    second: Store,
) -> "Pruned":
    from backup_pipelines.copies import copying
    from backup_pipelines.health.health import latch

    # As before every prune: guards that are red freeze it.
    latch(first, system, datetime.now(UTC))
    return copying.prune_second(
        first,
        second,
        system,
        spec.retention,
        operator=operators.operator_of(context.run),
        reason=config.reason,
        report=context.log.info,
    )


def _show(
    system: System,
    context: dg.OpExecutionContext,
    work: operations.Operation,
    done: "list[Copied]",
    pinned: list[str],
    pruned: "Pruned | None",
) -> None:
    """Leave the result, then fail if anything could not be copied or removed."""
    problems = {one.id: one.problem for one in done if one.problem}
    removed = [one.id for one in pruned.removed] if pruned else []
    refused = {one.id: one.problem for one in pruned.refused} if pruned else {}
    document: dict[str, Any] = {
        "system": system.system,
        "copied": work.details["copied"],
        "bytes": work.details["bytes"],
        "given_up": [one.id for one in done if one.gone],
        "problems": problems,
        "damaged": work.details.get(DAMAGED_COPIES, ""),
        "pins_changed": pinned,
        "removed": removed,
        "refused": refused,
        "frozen": [one.guard for one in pruned.frozen] if pruned else [],
    }
    work.message = _counted(work)
    work.message += f"; {len(removed)} copies removed by retention" if removed else ""
    work.details |= {"removed": removed, "given_up": document["given_up"]}
    shown = {
        labels.SUMMARY: _shown_in_words(work, removed),
        "backups_copied": len(document["copied"]),
        "copied_bytes": document["bytes"],
        "copied": metadata.listed(document["copied"]),
        "damaged": metadata.listed(document["damaged"].split(", ")),
        "removed": metadata.listed(removed),
        "frozen": ", ".join(document["frozen"]),
    }
    metadata.leave_result(context, document, shown)
    if problems or refused:
        listed = "\n".join(f"- {name}: {said}" for name, said in {**problems, **refused}.items())
        kind = Damaged if problems else Failed
        raise kind(f"{work.message}, but not all is well:\n{listed}")
    context.log.info(work.message)


def _copy_after_backup(system: System) -> dg.SensorDefinition:
    name, job = system.system, job_names.copy_job(system.system)

    @dg.sensor(
        name=job_names.copy_sensor(name),
        job_name=job,
        minimum_interval_seconds=_COPY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Launch {job} when {name} has a new backup, after a failure once more with "
        "growing pauses, and once a day. Asks the second store nothing. Switched off, new backups "
        "are in one place only.",
    )
    def copy_after_backup(
        context: dg.SensorEvaluationContext, backup_environment: BackupEnvironment
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        try:
            backup_environment.second_url(system)
        except Refused as error:
            yield dg.SkipReason(str(error))
            return
        yield _decide(context.instance, system, datetime.now(UTC))

    return copy_after_backup


def _decide(
    instance: dg.DagsterInstance, system: System, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    name, job = system.system, job_names.copy_job(system.system)
    offered = partitions.restorable(name).name or ""
    if not instance.get_dynamic_partitions(offered):
        return dg.SkipReason(f"{name} has no backup yet")
    runs = [
        record
        for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=_MOST_FAILED)
        if record.dagster_run.status != dg.DagsterRunStatus.NOT_STARTED
        or now - record.create_timestamp < _ABANDONED
    ]
    if runs and not runs[0].dagster_run.is_finished:
        return dg.SkipReason(f"run {runs[0].dagster_run.run_id} is copying")
    failed = 0
    while failed < len(runs) and runs[failed].dagster_run.status in _ENDED_BADLY:
        failed += 1
    last = runs[0].create_timestamp if runs else None
    # One run for each attempt, even if what was requested could not be started.
    attempt = last.isoformat() if last else "first"
    if last is None:
        return dg.RunRequest(run_key=attempt)
    if failed:
        retry_at = last + _pause_after(failed)
        if now < retry_at:
            said = f"failed {failed} times in a row, tried again at {moment(retry_at)}"
            return dg.SkipReason(said)
        return dg.RunRequest(run_key=attempt)
    if _has_new(instance, name, last) or now - last >= _LOOK_AGAIN:
        return dg.RunRequest(run_key=attempt)
    return dg.SkipReason(f"no new backup of {name} since the last copy at {last:%H:%M:%S} UTC")


def _pause_after(failures: int) -> timedelta:
    return min(_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE)


def _has_new(instance: dg.DagsterInstance, system: str, since: datetime) -> bool:
    """Whether the catalog shows a backup that a copy begun then may not have seen."""
    asked = dg.AssetRecordsFilter(
        asset_key=partitions.catalog_key(system), after_timestamp=since.timestamp()
    )
    return bool(instance.fetch_materializations(asked, limit=1).records)
