"""How every job is made: in one process, tried once, an error a failed step.

No retry policy: what failed is tried again by somebody who has looked, or by the due sensor.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines.dagster_layer import gate, job_names, job_words, metadata, partitions
from backup_pipelines.dagster_layer.config import StoreChoice
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.system import System

if TYPE_CHECKING:
    # What define_asset_job returns; Dagster does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

Body = Callable[[System, dg.OpExecutionContext, BackupEnvironment], object]
ConfiguredBody = Callable[[System, dg.OpExecutionContext, Any, BackupEnvironment], object]


def asset_job(
    system: System, name: str, selection: dg.AssetSelection
) -> "UnresolvedAssetJobDefinition":
    """A job that makes assets, looks at them or runs their checks."""
    return dg.define_asset_job(
        name,
        selection=selection,
        description=job_words.about(system.system, name),
        owners=system.owners,
        executor_def=dg.in_process_executor,
    )


def op_job(system: System, name: str, body: Body, *, pooled: bool = True) -> dg.JobDefinition:
    """A job without config; `pooled` ones wait for the system's run before them."""
    operation = job_names.all_operations(system.system)[name]

    def run(context: dg.OpExecutionContext, backup_environment: BackupEnvironment) -> None:
        with metadata.as_failure():
            gate.allow(context, system, operation, backup_environment)
            body(system, context, backup_environment)

    return _job(system, name, _op(system, name, run, pooled))


def configured_op_job(
    system: System,
    name: str,
    body: ConfiguredBody,
    config_type: type[dg.Config],
    *,
    of_backup: bool = False,
    pooled: bool = True,
    own_pool: str | None = None,
) -> dg.JobDefinition:
    """A job whose launchpad asks for `config_type`, and lists the backups if it is `of_backup`.

    In a pool of its own it waits for its like only.
    """
    operation = job_names.all_operations(system.system)[name]

    def run(
        context: dg.OpExecutionContext, config: Any, backup_environment: BackupEnvironment
    ) -> None:
        with metadata.as_failure():
            of_records = backup_environment.at(system, getattr(config, "store", StoreChoice.first))
            reason: str = getattr(config, "reason", "")
            gate.allow(context, system, operation, of_records, reason)
            body(system, context, config, backup_environment)

    # Dagster takes the fields of the launchpad from the annotation.
    run.__annotations__["config"] = config_type
    offered = partitions.restorable(system.system) if of_backup else None
    return _job(system, name, _op(system, name, run, pooled, own_pool), offered)


def _op(
    system: System,
    name: str,
    run: Callable[..., None],
    pooled: bool,
    own_pool: str | None = None,
) -> dg.OpDefinition:
    pool = own_pool or (job_names.pool(system.system) if pooled else None)
    return dg.op(name=job_names.op_of(name), out=dg.Out(dg.Nothing), pool=pool)(run)


def _job(
    system: System,
    name: str,
    op: dg.OpDefinition,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
) -> dg.JobDefinition:
    @dg.job(
        name=name,
        description=job_words.about(system.system, name),
        owners=system.owners,
        executor_def=dg.in_process_executor,
        partitions_def=partitions_def,
    )
    def job() -> None:
        op()

    return job
