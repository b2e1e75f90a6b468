"""The jobs that plan a restore of the live database, do it, and take it back.

Each is one op without a retry policy: a restore is tried once, by somebody who confirmed it.
"""

import dagster as dg

from backup_pipelines import metadata, partitions, restore_ops
from backup_pipelines.config import LiveRestoreConfig, PlanConfig, UndoConfig
from backup_pipelines.resources import BackupEnvironment
from backup_pipelines.system import System


def restore_jobs(system: System) -> list[dg.JobDefinition]:
    """The plan, restore and undo jobs of a system."""
    return [_plan_job(system), _restore_job(system), _undo_job(system)]


def _plan_job(system: System) -> dg.JobDefinition:
    name = partitions.plan_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def plan_op(
        context: dg.OpExecutionContext,
        config: PlanConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            restore_ops.plan(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Show what a restore of {system.system} would do; changes nothing.",
        executor_def=dg.in_process_executor,
        partitions_def=partitions.restorable(system.system),
    )
    def plan_job() -> None:
        plan_op()

    return plan_job


def _restore_job(system: System) -> dg.JobDefinition:
    name = partitions.restore_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def restore_op(
        context: dg.OpExecutionContext,
        config: LiveRestoreConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            restore_ops.restore(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Restore a backup of {system.system} into the live database: what differs, "
        "all or nothing, after a safety backup of it.",
        executor_def=dg.in_process_executor,
        partitions_def=partitions.restorable(system.system),
    )
    def restore_job() -> None:
        restore_op()

    return restore_job


def _undo_job(system: System) -> dg.JobDefinition:
    name = partitions.undo_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def undo_op(
        context: dg.OpExecutionContext,
        config: UndoConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            restore_ops.undo(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Take the last restore of {system.system} back, by its safety backup.",
        executor_def=dg.in_process_executor,
    )
    def undo_job() -> None:
        undo_op()

    return undo_job
