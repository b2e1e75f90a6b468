"""The asset of a system's health: its guards as checks, its numbers, and who is told of changes.

The op is not of the system's pool: it must say how things are while a backup runs, or hangs.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines.dagster_layer import (
    backup_links,
    job_names,
    metadata,
    module_pages,
    operations,
    operators,
    partitions,
)
from backup_pipelines.dagster_layer.op_jobs import asset_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import BackupError
from backup_pipelines.health import health_notices
from backup_pipelines.health.finding import READABLE, Finding, applies
from backup_pipelines.messages import notify
from backup_pipelines.system import System
from backup_pipelines.trail import audit
from backup_pipelines.trail.audit import Happened

if TYPE_CHECKING:
    # What define_asset_job returns; Dagster does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from backup_pipelines.health.health import Health
    from backup_pipelines.health.live_look import Counted
    from backup_pipelines.health.second_look import SecondLook
    from backup_pipelines.storage.store import Store

STORE_FAILED_TAG = "backup_pipelines/store_failed"
"""Run tag of a look at the health that the store has failed: people were told."""

# A killed run is found by the next look; one that is older than this was told of, or is history.
_KILLED_WITHIN = timedelta(days=7)

ABOUT: dict[str, str] = {
    "freshness": "The newest good full backup is younger than the recovery point target.",
    "success": "The newest attempt to back up was done.",
    "intact": "No backup is known to be damaged, and every manifest can be read.",
    "restorable": "A drill has passed, not too long ago, and none has failed since.",
    "recovery_time": "The last drill was as fast as the recovery time target asks.",
    "identity": "The identity of this machine, where it has one, opens every encrypted backup.",
    "readable": "The live database can be reached and backed up whole: privileges, row-level "
    "security, tables of the YAML.",
    "coverage": "Every table is in a module, or excluded with a reason.",
    "shrink": "No table has lost more than a set share of its rows or bytes since the backup "
    "before.",
    "growth": "No table has grown by more than a set share since the backup before.",
    "types": "No column has a type that its table did not have in the backup before.",
    "window": "The newest full backup was done within its window.",
    "storage": "The backups leave room under the storage limit.",
    "prune": "Pruning works and is not frozen.",
    "object_lock": "Every backup is locked as the YAML promises.",
    "notify": "People could be told of the newest operation.",
    "audit": "The store takes the records of the audit trail.",
    "second_store": "The second store can be reached, has every backup, and no damaged copy.",
}
"""Every guard of guards.GUARDS, which imports too much for the definitions."""

Context = dg.AssetExecutionContext
_Result = dg.MaterializeResult[Any] | dg.AssetCheckResult


def health_assets(system: System) -> dg.AssetsDefinition:
    """The asset `<system>/health` with one check for each guard."""
    name = system.system
    key = partitions.health_key(name)

    @dg.multi_asset(
        name=job_names.op_of(job_names.health_job(name)),
        description=f"Look at the backups of {name}, and tell people what has changed.",
        specs=[
            dg.AssetSpec(
                key,
                group_name=partitions.catalog_group(name),
                description=_about(name),
                kinds={"observability"},
                owners=system.owners,
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(guard, asset=key, description=about)
            for guard, about in ABOUT.items()
            if applies(guard, system)
        ],
    )
    def health(
        context: dg.AssetExecutionContext, backup_environment: BackupEnvironment
    ) -> Iterator[_Result]:
        # No gate: where nothing is signed, since a key is missing, people must be told of it.
        with metadata.as_failure():
            yield from _look(system, context, backup_environment)

    return health


def health_jobs(
    system: System, health: dg.AssetsDefinition
) -> "list[UnresolvedAssetJobDefinition]":
    """The job that looks at the health; the sensor launches it."""
    name = job_names.health_job(system.system)
    return [asset_job(system, name, dg.AssetSelection.assets(health))]


def _look(system: System, context: Context, environment: BackupEnvironment) -> Iterator[_Result]:
    # Only here: the definitions path must stay free of what reads Parquet.
    from backup_pipelines.dagster_layer import glance, health_metadata, operation_metadata
    from backup_pipelines.health import second_look

    name = system.system
    killed = operations.unreported(context.instance, system, datetime.now(UTC) - _KILLED_WITHIN)
    operations.report_killed(context, system, environment, killed)
    live = _look_at_database(system, environment)
    second = second_look.look(system, lambda: environment.second_store(system))
    try:
        health = _evaluate(system, context, environment.store(), live.finding, second)
        health = _tell(system, context, environment, health)
    except BackupError as error:
        _tell_store_failed(system, context, str(error))
        raise
    done = operation_metadata.newest(name, health.records)
    yield dg.MaterializeResult(
        asset_key=partitions.health_key(name),
        metadata={**health_metadata.of_health(health), **done},
    )
    yield from (health_metadata.check(name, finding) for finding in health.findings)
    _refresh_restorable(context, name, health.findings)
    glance.observe(context, health)
    module_pages.observe(context, system, environment.store(), live.rows)
    _write_metrics(environment.store(), health)


def _evaluate(
    system: System,
    context: Context,
    store: "Store",
    live: Finding,
    second: "SecondLook | None",
) -> "Health":
    """The health, with pruning frozen where it must be."""
    from backup_pipelines.health.health import assess, freeze_pruning

    now = datetime.now(UTC)
    health = assess(store, system, now, live, second)
    frozen = {one.guard for one in health.freezes}
    found = freeze_pruning(store, health)
    if {finding.guard for finding in found} <= frozen:
        return health
    again = assess(store, system, now, live, second)
    for one in again.freezes:
        context.log.warning(f"pruning is frozen by {one.guard}: {one.message}")
    return again


def _tell(
    system: System, context: Context, environment: BackupEnvironment, health: "Health"
) -> "Health":
    """Tell people what has changed and the watchdog how it is, and remember both."""
    from backup_pipelines.health.health import changes, informed, previous, remember, uninformed

    store = environment.store()
    before = previous(store, system.system)
    turned = changes(before, health)
    # First what people know so far: a store that takes no records fails here, not when they have
    # been told, or each look would tell them again. Whoever is killed in between tells twice.
    remember(store, uninformed(before, health))
    problems: list[str] = []
    if _store_failed_before(context, system.system):
        problems += notify.send(
            system, health_notices.store_answers(system.system, context.run.run_id)
        )
    for finding in turned:
        context.log.info(f"{health_notices.turned(finding)}: {finding.message}")
        problems += notify.send(
            system, health_notices.guard_event(system.system, finding, context.run.run_id)
        )
    said = "; ".join(f"{finding.guard}: {finding.message}" for finding in health.red)
    problem = notify.beat(system, health.healthy, said or "no guard is red")
    problems += [problem] if problem else []
    if turned:
        remember(store, informed(before, health))
    _report_untold(system, context, environment, health, problems)
    return health


def _report_untold(
    system: System,
    context: Context,
    environment: BackupEnvironment,
    health: "Health",
    problems: Sequence[str],
) -> None:
    """Leave word of people who could not be told; not once more of what is known."""
    if not problems:
        return
    message = "; ".join(problems)
    known = next(finding for finding in health.findings if finding.guard == "notify")
    for text in problems:
        context.log.warning(f"not told: {text}")
    if known.status == "error" and known.cause == message:
        return
    happened = Happened(
        operation=audit.NOTIFY,
        outcome="failed",
        operator=operators.operator_of(context.run),
        at=datetime.now(UTC),
        message=message,
        run_id=context.run.run_id,
        details={"of": "health"},
    )
    operations.report(context, system, environment, happened)


def _look_at_database(system: System, environment: BackupEnvironment) -> "Counted":
    from backup_pipelines.health.live_look import Counted, look_and_count

    try:
        with environment.source_url(system) as url:
            return look_and_count(system, url)
    except BackupError as error:
        finding = Finding(
            guard=READABLE,
            status="error",
            message=str(error),
            advice=f"Give the daemon {system.database_url_env}.",
        )
        return Counted(finding, None)


def _tell_store_failed(system: System, context: Context, message: str) -> None:
    """Say it once to people, and each time to the watchdog."""
    told = _store_failed_before(context, system.system)
    context.instance.add_run_tags(context.run.run_id, {STORE_FAILED_TAG: "true"})
    problems = [notify.beat(system, False, f"the store cannot be reached: {message}")]
    if not told:
        event = health_notices.store_failed(system.system, message, context.run.run_id)
        problems += notify.send(system, event)
    for text in filter(None, problems):
        context.log.warning(f"not told: {text}")


def _store_failed_before(context: Context, system: str) -> bool:
    """Whether the look before this one ended so; people know it then."""
    found = context.instance.get_runs(dg.RunsFilter(job_name=job_names.health_job(system)), limit=2)
    return any(STORE_FAILED_TAG in run.tags for run in found if run.run_id != context.run.run_id)


def _refresh_restorable(context: Context, system: str, findings: Sequence[Finding]) -> None:
    """Say on the catalog what the last drill came to: a newer backup has made that check stale."""
    from backup_pipelines.dagster_layer import health_metadata

    finding = next(found for found in findings if found.guard == partitions.RESTORABLE)
    if finding.status == "unknown":
        return
    context.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=partitions.catalog_key(system),
            check_name=partitions.RESTORABLE,
            passed=finding.status == "ok",
            severity=health_metadata.severity(finding),
            description=finding.message,
            metadata=health_metadata.numbers(finding),
        )
    )


def _write_metrics(store: "Store", health: "Health") -> None:
    """Write the file for Prometheus, with what is known of the other systems."""
    from backup_pipelines import systems
    from backup_pipelines.health import metrics
    from backup_pipelines.health.health import previous

    path: Path | None = metrics.metrics_file()
    if path is None:
        return
    others = [name for name in systems.known_names() if name != health.system]
    found = [health, *(past for name in others if (past := previous(store, name)))]
    metrics.write(path, sorted(found, key=lambda one: one.system), datetime.now(UTC))


def _about(system: str) -> str:
    return (
        f"How the backups of {system} are: each guard is a check, the numbers are plotted under "
        f"Plots.\n\n{backup_links.about_health(system)}\n\n"
        f"The sensor `{job_names.health_sensor(system)}` has it looked at after each run and every "
        f"hour. `backup-pipelines status {system}` says the same without Dagster."
    )
