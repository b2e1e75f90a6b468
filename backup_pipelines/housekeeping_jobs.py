"""The jobs that look after what is stored and shown: from prune and delete to acknowledge.

Each is one op without a retry policy. Those that remove objects wait in the system's pool for the
run that reads or writes them; a pin must not wait.
"""

import dagster as dg

from backup_pipelines import catalog_rebuild, metadata, partitions, removal_ops, upkeep_ops
from backup_pipelines.config import (
    AcknowledgeConfig,
    DeleteConfig,
    NamedBackup,
    PruneConfig,
    ReconcileConfig,
)
from backup_pipelines.resources import BackupEnvironment
from backup_pipelines.system import System


def housekeeping_jobs(system: System) -> list[dg.JobDefinition]:
    """The housekeeping jobs of a system."""
    return [
        _prune_job(system),
        _delete_job(system),
        _pin_job(system),
        _unpin_job(system),
        _reconcile_job(system),
        _catalog_rebuild_job(system),
        _acknowledge_job(system),
    ]


def _prune_job(system: System) -> dg.JobDefinition:
    name = partitions.prune_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def prune_op(
        context: dg.OpExecutionContext,
        config: PruneConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            removal_ops.prune(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Remove the backups of {system.system} that retention no longer keeps, and "
        "what earlier removals left unfinished; dry_run only shows them, with the reasons.",
        executor_def=dg.in_process_executor,
    )
    def prune_job() -> None:
        prune_op()

    return prune_job


def _delete_job(system: System) -> dg.JobDefinition:
    name = partitions.delete_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def delete_op(
        context: dg.OpExecutionContext,
        config: DeleteConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            removal_ops.delete(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Remove one backup of {system.system} for good.",
        executor_def=dg.in_process_executor,
        partitions_def=partitions.restorable(system.system),
    )
    def delete_job() -> None:
        delete_op()

    return delete_job


def _pin_job(system: System) -> dg.JobDefinition:
    name = partitions.pin_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing))
    def pin_op(
        context: dg.OpExecutionContext,
        config: NamedBackup,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            upkeep_ops.pin(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Keep a backup of {system.system} whatever retention says.",
        executor_def=dg.in_process_executor,
        partitions_def=partitions.restorable(system.system),
    )
    def pin_job() -> None:
        pin_op()

    return pin_job


def _unpin_job(system: System) -> dg.JobDefinition:
    name = partitions.unpin_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing))
    def unpin_op(
        context: dg.OpExecutionContext,
        config: NamedBackup,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            upkeep_ops.unpin(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Let retention decide about a pinned backup of {system.system} again.",
        executor_def=dg.in_process_executor,
        partitions_def=partitions.restorable(system.system),
    )
    def unpin_job() -> None:
        unpin_op()

    return unpin_job


def _reconcile_job(system: System) -> dg.JobDefinition:
    name = partitions.reconcile_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def reconcile_op(
        context: dg.OpExecutionContext,
        config: ReconcileConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            upkeep_ops.reconcile(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Compare the store of {system.system} with its manifests and the catalog, in "
        "both directions; repair removes what belongs to no backup.",
        executor_def=dg.in_process_executor,
    )
    def reconcile_job() -> None:
        reconcile_op()

    return reconcile_job


def _catalog_rebuild_job(system: System) -> dg.JobDefinition:
    name = partitions.catalog_rebuild_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def catalog_rebuild_op(
        context: dg.OpExecutionContext, backup_environment: BackupEnvironment
    ) -> None:
        with metadata.as_failure():
            catalog_rebuild.rebuild(system, context, backup_environment)

    @dg.job(
        name=name,
        description=f"Bring the catalog of {system.system} back from the store alone: every backup "
        "with its status, pin and metadata. Changes nothing in the store.",
        executor_def=dg.in_process_executor,
    )
    def catalog_rebuild_job() -> None:
        catalog_rebuild_op()

    return catalog_rebuild_job


def _acknowledge_job(system: System) -> dg.JobDefinition:
    name = partitions.acknowledge_job(system.system)

    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing))
    def acknowledge_op(
        context: dg.OpExecutionContext,
        config: AcknowledgeConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            upkeep_ops.acknowledge(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Let pruning of {system.system} go on after a guard was red: somebody has "
        "looked.",
        executor_def=dg.in_process_executor,
    )
    def acknowledge_job() -> None:
        acknowledge_op()

    return acknowledge_job
