"""What a system does by itself: its schedules, and what they and the due sensor decide by.

A schedule's own tick launches what is due right then. What is overdue, because its tick was missed
or its run failed, is the due sensor's (sensors.py). The two never act at the same time, so that
nothing is launched twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.scheduler.instigation import InstigatorStatus

from backup_pipelines.dagster_layer import job_names, partitions
from backup_pipelines.dagster_layer.assets import TYPE_TAG
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.project import project
from backup_pipelines.scheduling import due, schedule
from backup_pipelines.scheduling.schedule import Decision
from backup_pipelines.settings import ScheduleSpec
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store

SCHEDULE_TAG = "backup_pipelines/schedule"
"""Run tag with the name of the schedule that a run is of, whether its tick or the sensor began."""

Context = dg.ScheduleEvaluationContext | dg.SensorEvaluationContext

# A tick that comes later than this is the sensor's: the daemon was down at its time.
_LATE = timedelta(minutes=1)

# A little more than can fail before a slot's attempts are spent (ScheduleSpec.retries).
_MOST_FAILED = 25

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# A run that was created but never queued, by a daemon that was killed in between, stays like that.
_ABANDONED = timedelta(hours=1)

_CRON_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


@dataclass(frozen=True)
class Task:
    """One thing that a system does by itself."""

    kind: Literal["backup", "module", "drill", "reconcile", "verify"]
    system: System
    spec: ScheduleSpec
    schedule: str
    """The name of its schedule."""
    job: str
    what: str
    module: str | None = None

    @property
    def is_backup(self) -> bool:
        """Whether its runs are scheduled backups."""
        return self.kind in ("backup", "module")


def tasks(system: System) -> list[Task]:
    """Everything that the YAML wants done by itself."""
    name = system.system
    backup, drill = job_names.backup_job(name), job_names.drill_job(name)
    reconcile, verify = job_names.reconcile_job(name), job_names.verify_rotation_job(name)

    def of_job(
        kind: Literal["backup", "drill", "reconcile", "verify"],
        spec: ScheduleSpec,
        job: str,
        what: str,
    ) -> Task:
        return Task(kind, system, spec, job_names.schedule_of(job), job, what)

    found = [of_job("backup", system.schedule, backup, f"Back up {name}.")]
    for module, wanted in system.modules.items():
        if wanted.schedule is not None:
            named = job_names.module_schedule(name, module)
            what = f"Back up module {module} of {name}."
            found.append(Task("module", system, wanted.schedule, named, backup, what, module))
    what = f"Prove the newest full backup of {name} by a drill."
    found.append(of_job("drill", system.drill.schedule, drill, what))
    what = f"Compare store and catalog of {name}."
    found.append(of_job("reconcile", system.reconcile.schedule, reconcile, what))
    what = f"Verify each backup of {name} within {system.verify.days} days."
    found.append(of_job("verify", system.verify.schedule, verify, what))
    return [task for task in found if task.spec.every != "never"]


def schedules(system: System) -> list[dg.ScheduleDefinition]:
    """The schedules of a system, which people see and switch in the UI."""
    return [_schedule(task) for task in tasks(system)]


def look(task: Task, context: Context, store: "Store", now: datetime) -> Decision:
    """Whether a task is to be launched now, and why; looks only."""
    # Runs first: one that seals its backup and ends meanwhile is then seen here or in the store.
    running = _running(task, context.instance, now)
    if running is not None:
        return Decision(False, None, f"run {running} is in progress")
    decision = _decide(task, context.instance, store, now)
    if not decision.due:
        return decision
    if task.kind == "drill" and not due.has_full_backup(store, task.system.system):
        return replace(decision, due=False, reason="there is no full backup to drill yet")
    if task.kind == "module" and _is_whole_due(task, context, store, now):
        said = f"the backup of all of {task.system.system} is due, and has the module"
        return replace(decision, due=False, reason=said)
    return decision


def request(task: Task, decision: Decision) -> dg.RunRequest:
    """The run of a task that is due; for one attempt there is one run."""
    tags = {SCHEDULE_TAG: task.schedule}
    if task.is_backup:
        tags[TYPE_TAG] = "scheduled"
    known = partitions.entry_keys(task.system)
    keys = [key for key, entry in known.items() if entry.module == task.module]
    return dg.RunRequest(
        run_key=f"{task.schedule} {decision.attempt}",
        job_name=task.job,
        tags=tags,
        asset_selection=keys if task.module is not None else None,
    )


def is_on(task: Task, context: Context) -> bool:
    """Whether nobody has switched the task's schedule off in the UI."""
    if context.instance.schedule_storage is None:
        # An instance in memory keeps no switches.
        return True
    # Only sensors are told where they are.
    origin = getattr(context, "code_location_origin", None)
    selector = InstigatorSelector(
        location_name=origin.location_name if origin is not None else project().location,
        repository_name=getattr(context, "repository_name", None) or SINGLETON_REPOSITORY_NAME,
        name=task.schedule,
    )
    state = context.instance.get_instigator_state("", selector.get_id())
    return state is None or state.status != InstigatorStatus.STOPPED


def cron(spec: ScheduleSpec) -> str:
    """The cron expression of a schedule's ticks; every two days ticks daily."""
    if spec.every == "cron":
        return spec.cron
    hour, minute = (int(part) for part in spec.at.split(":"))
    day = "1" if spec.every == "monthly" else "*"
    weekday = _CRON_WEEKDAYS.index(spec.weekday) if spec.every == "weekly" else "*"
    return f"{minute} {hour} {day} * {weekday}"


def _schedule(task: Task) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=task.schedule,
        job_name=task.job,
        cron_schedule=cron(task.spec),
        execution_timezone=task.spec.timezone,
        # Without it a schedule does nothing until somebody switches it on.
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=_about(task),
    )
    def scheduled(
        context: dg.ScheduleEvaluationContext, backup_environment: BackupEnvironment
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        at = context.scheduled_execution_time
        late = datetime.now(UTC) - at
        if late > _LATE:
            yield dg.SkipReason(
                f"this tick comes {str(late).split('.')[0]} late: "
                f"{job_names.due_sensor(task.system.system)} launches what is overdue"
            )
            return
        decision = look(task, context, backup_environment.store(), at)
        yield request(task, decision) if decision.due else dg.SkipReason(decision.reason)

    return scheduled


def _about(task: Task) -> str:
    period = {
        "every_2_days": "Due two days after the last one; looks every day, and says why it skips.",
        "cron": f"Due by the cron expression {task.spec.cron}.",
    }.get(task.spec.every, f"Due {task.spec.every}.")
    overdue = job_names.due_sensor(task.system.system)
    name = task.system.system
    key = {"backup": "schedule", "module": f"modules.{task.module}.schedule"}.get(
        task.kind, f"{task.kind}.schedule"
    )
    return (
        f"{task.what} {period} The sensor {overdue} launches what was missed or has failed.\n\n"
        "Switch it off or on here: that lasts until it is switched again. Its time is the key "
        f"`{key}` of `defs/{name}/defs.yaml`; then reload the code location. Runs that it launches "
        "are those of the job: its page says what they change."
    )


def _is_whole_due(task: Task, context: Context, store: "Store", now: datetime) -> bool:
    whole = next((other for other in tasks(task.system) if other.kind == "backup"), None)
    if whole is None or not is_on(whole, context):
        return False
    return _decide(whole, context.instance, store, now).due


def _decide(task: Task, instance: dg.DagsterInstance, store: "Store", now: datetime) -> Decision:
    until = schedule.horizon(task.spec, now)
    name = task.system.system
    if task.is_backup:
        last = due.last_backup(store, name, task.module, until=until)
    elif task.kind == "drill":
        last = due.last_drill(store, name, until=until)
    else:
        last = _last_success(instance, task.job)
    return schedule.decide(task.spec, now, last, _failed(task, instance))


def _running(task: Task, instance: dg.DagsterInstance, now: datetime) -> str | None:
    # Backups that people start are no scheduled ones; a drill is a drill.
    tags = {TYPE_TAG: "scheduled"} if task.is_backup else {}
    whole = job_names.schedule_of(task.job)
    wanted = dg.RunsFilter(job_name=task.job, tags=tags, statuses=_UNFINISHED)
    for found in instance.get_run_records(wanted):
        run, age = found.dagster_run, now - found.create_timestamp
        abandoned = run.status == dg.DagsterRunStatus.NOT_STARTED and age > _ABANDONED
        # Another module's is in nobody's way.
        if run.tags.get(SCHEDULE_TAG, whole) in (task.schedule, whole) and not abandoned:
            return run.run_id
    return None


def _failed(task: Task, instance: dg.DagsterInstance) -> list[datetime]:
    wanted = dg.RunsFilter(job_name=task.job, tags={SCHEDULE_TAG: task.schedule}, statuses=_FAILED)
    found = instance.get_run_records(wanted, limit=_MOST_FAILED)
    return [record.create_timestamp for record in found]


def _last_success(instance: dg.DagsterInstance, job: str) -> datetime | None:
    wanted = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    found = instance.get_run_records(wanted, limit=1)
    return found[0].create_timestamp if found else None
