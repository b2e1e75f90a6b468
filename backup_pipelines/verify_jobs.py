"""The job that verifies the catalog in rotation, some backups in each run."""

from datetime import UTC, datetime

import dagster as dg

from backup_pipelines import catalog, metadata, operations, operators, partitions, rotation
from backup_pipelines.errors import BackupError, Damaged, Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import sparse
from backup_pipelines.resources import BackupEnvironment
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System


def verify_jobs(system: System) -> list[dg.JobDefinition]:
    """The verification job of a system that runs by itself."""
    return [_rotation_job(system)]


def _rotation_job(system: System) -> dg.JobDefinition:
    name = partitions.verify_rotation_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def verify_rotation_op(
        context: dg.OpExecutionContext, backup_environment: BackupEnvironment
    ) -> None:
        with metadata.as_failure():
            _verify_due(system, context, backup_environment)

    @dg.job(
        name=name,
        description=f"Verify those backups of {system.system} that were verified longest ago, as "
        f"many as it takes to verify each within {system.verify.days} days.",
        executor_def=dg.in_process_executor,
    )
    def verify_rotation_job() -> None:
        verify_rotation_op()

    return verify_rotation_job


def _verify_due(
    system: System, context: dg.OpExecutionContext, environment: BackupEnvironment
) -> None:
    store, now = environment.store(), datetime.now(UTC)
    found = catalog.listing(store, system.system)
    entries = [e for e in found.entries if e.manifest.id not in found.states.removing]
    period = rotation.period_of(system.verify.schedule, now)
    due = rotation.due_for_verification(entries, system.verify.days, now, period)
    by_id = {entry.manifest.id: entry.manifest for entry in entries}
    problems: dict[str, BackupError] = {}
    for backup_id in due:
        try:
            _verify(system, context, environment, store, by_id[backup_id])
        except BackupError as error:
            # One that is damaged, or cannot be read now, must not keep the others from their turn.
            problems[backup_id] = error
            context.log.error(str(error))
    damaged = [name for name, error in problems.items() if isinstance(error, Damaged)]
    context.add_output_metadata(
        {
            "backups": len(entries),
            "verified": len(due) - len(problems),
            "damaged": ", ".join(damaged),
            "not_verified": ", ".join(name for name in problems if name not in damaged),
        }
    )
    if problems:
        listed = "\n".join(f"- {name}: {error}" for name, error in problems.items())
        kind = Damaged if damaged else Failed
        raise kind(f"{len(problems)} of {len(due)} backups are not whole:\n{listed}")
    context.log.info(f"{len(due)} of {len(entries)} backups verified")


def _verify(
    system: System,
    context: dg.OpExecutionContext,
    environment: BackupEnvironment,
    store: Store,
    entry: Manifest,
) -> None:
    from backup_pipelines.verify import check

    with operations.operation(context, system, "verify", environment) as work:
        work.backup, work.details["rotation"] = entry.id, True
        operator = operators.operator_of(context.run)
        result = check(store, entry, report=sparse(context.log.info), operator=operator)
        work.message = f"{result.objects} objects, {result.bytes} bytes are as written"
