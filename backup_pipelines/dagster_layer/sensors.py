"""The sensors of a system: each only looks, and says what it has looked at."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import layout
from backup_pipelines.dagster_layer import job_names, operations, partitions, schedules
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.restoring import app_requests
from backup_pipelines.scheduling import schedule
from backup_pipelines.system import System

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    Job = dg.JobDefinition | UnresolvedAssetJobDefinition

# How soon after an outage, or after a retry's pause, what is due is launched.
_DUE_SECONDS = 30

# Until then a slot is its schedule's, whose tick comes within a minute of it or not at all.
_TICK_TIME = timedelta(minutes=2)

# An application's user waits for the answer.
_SECONDS = 10

# Guards should be looked at soon after a run, and at least this often.
_HEALTH_SECONDS = 30
_HEALTH_AGE = timedelta(hours=1)

_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]

# Nobody waits for a prune; the next backup is hours away.
_PRUNE_SECONDS = 15

# A new backup is among so many, unless a rebuild of a long catalog follows it within seconds.
_PRUNE_LOOK = 100


def request_sensors(system: System) -> list[dg.SensorDefinition]:
    """The sensor for requests of the application, if the YAML permits any."""
    return [_requests(system)] if system.requests.operations else []


def _requests(system: System) -> dg.SensorDefinition:
    job = job_names.request_job(system.system)

    @dg.sensor(
        name=job_names.requests_sensor(system.system),
        job_name=job,
        minimum_interval_seconds=_SECONDS,
        # Without it a sensor does nothing until somebody switches it on.
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Launch {job} for each request that the application of {system.system} "
        f"leaves under `{layout.requests_prefix(system.system)}` in the store. It only looks. "
        "Switched off, requests wait.",
    )
    def requests(
        backup_environment: BackupEnvironment,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        # A preview in the UI runs this too: verifying, claiming and refusing are the job's.
        found = app_requests.listed(backup_environment.store(), system.system)
        if not found.pending:
            yield dg.SkipReason(
                f"{layout.requests_prefix(system.system)} has no request that waits: "
                f"{found.settled} were taken or refused, {found.unusable} folders hold none"
            )
        for request_id in found.pending:
            # Dagster launches a run key once, so that a request that is queued is not repeated.
            yield dg.RunRequest(
                run_key=request_id,
                run_config={"ops": {job_names.op_of(job): {"config": {"request": request_id}}}},
            )

    return requests


def prune_sensors(system: System) -> list[dg.SensorDefinition]:
    """The sensor that has a prune follow each backup."""
    return [_prune(system)]


def _prune(system: System) -> dg.SensorDefinition:
    key = partitions.catalog_key(system.system)

    @dg.sensor(
        name=job_names.prune_sensor(system.system),
        job_name=job_names.prune_job(system.system),
        minimum_interval_seconds=_PRUNE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Launch {job_names.prune_job(system.system)} when the catalog "
        f"{key.to_user_string()} has a new backup. It only looks; the prune removes what retention "
        "no longer keeps. Switched off, nothing is removed by itself, and the store fills.",
    )
    def prune_after_backup(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen = int(context.cursor or 0)
        found = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_storage_id=seen), limit=_PRUNE_LOOK
        ).records
        # Of several backups the newest will do: one prune decides about all.
        new = next((record for record in found if not _is_rebuilt(record)), None)
        cursor = str(found[0].storage_id) if found else None
        if new is None:
            reason = f"{key.to_user_string()} has no new backup"
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        # Dagster launches a run key once: a backup that is shown anew needs no other prune.
        request = dg.RunRequest(run_key=new.partition_key)
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return prune_after_backup


def _is_rebuilt(record: dg.EventLogRecord) -> bool:
    """Whether a rebuild shows an old backup: after a disaster nothing may go for that."""
    shown = record.asset_materialization
    return shown is not None and partitions.REBUILT_TAG in (shown.tags or {})


def due_sensors(system: System, jobs: "Sequence[Job]") -> list[dg.SensorDefinition]:
    """The sensor for what is overdue, if the system does anything by itself."""
    tasks = schedules.tasks(system)
    return [_due(system, tasks, jobs)] if tasks else []


def _due(system: System, tasks: list[schedules.Task], jobs: "Sequence[Job]") -> dg.SensorDefinition:
    names = {task.job for task in tasks}

    @dg.sensor(
        name=job_names.due_sensor(system.system),
        jobs=[job for job in jobs if job.name in names],
        minimum_interval_seconds=_DUE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Launch what is overdue of {system.system}: what was never done, what was "
        "missed while nothing ran, and what failed, after a pause. Schedules that are switched "
        "off are left alone. Switched off itself, a missed backup waits for its next time.",
    )
    def due(
        context: dg.SensorEvaluationContext, backup_environment: BackupEnvironment
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now, store = datetime.now(UTC), backup_environment.store()
        skipped: list[str] = []
        for task in tasks:
            if not schedules.is_on(task, context):
                reason = "it is switched off"
            elif now - schedule.slot_before(task.spec, now) < _TICK_TIME:
                reason = "its own tick is at this time"
            else:
                decision = schedules.look(task, context, store, now)
                if decision.due:
                    yield schedules.request(task, decision)
                    continue
                reason = decision.reason
            skipped.append(f"{task.schedule}: {reason}")
        # Dagster takes requests or a reason, not both.
        if len(skipped) == len(tasks):
            yield dg.SkipReason("\n".join(skipped))

    return due


def health_sensors(system: System) -> list[dg.SensorDefinition]:
    """The sensor that has the health looked at."""
    return [_health(system)]


def _health(system: System) -> dg.SensorDefinition:
    name, job = system.system, job_names.health_job(system.system)

    @dg.sensor(
        name=job_names.health_sensor(name),
        job_name=job,
        minimum_interval_seconds=_HEALTH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Launch {job} after each run of {name}, and every hour. Switched off, nobody "
        "is told when backups stop or go bad, and the pages are as they were.",
    )
    def health_watch(
        context: dg.SensorEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = datetime.now(UTC)
        looks = context.instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
        looked_at = looks[0].create_timestamp if looks else now - _HEALTH_AGE
        if looks and not looks[0].dagster_run.is_finished and now - looked_at < _HEALTH_AGE:
            yield dg.SkipReason(f"run {looks[0].dagster_run.run_id} is looking at it now")
            return
        ended = context.instance.get_run_records(
            dg.RunsFilter(statuses=_ENDED, updated_after=looked_at)
        )
        # What has changed only its tags has ended before.
        since = looked_at.timestamp()
        of_system = [
            record.dagster_run.run_id
            for record in ended
            if operations.is_of(record.dagster_run, system) and (record.end_time or 0) >= since
        ]
        if of_system:
            yield dg.RunRequest(run_key=of_system[0])
        elif now - looked_at >= _HEALTH_AGE:
            # One an hour, even if what was requested could not be started.
            yield dg.RunRequest(run_key=f"{now:%Y%m%dT%H}")
        else:
            yield dg.SkipReason(
                f"no run of {name} has ended since the last look at {looked_at:%H:%M:%S} UTC"
            )

    return health_watch
