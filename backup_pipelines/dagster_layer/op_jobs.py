"""How every job that is one op is made: in one process, tried once, an error a failed step.

No retry policy: what failed is tried again by somebody who has looked, or by the due sensor.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import job_names, metadata, partitions
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.system import System

Body = Callable[[System, dg.OpExecutionContext, BackupEnvironment], object]
ConfiguredBody = Callable[[System, dg.OpExecutionContext, Any, BackupEnvironment], object]


def op_job(
    system: System, name: str, body: Body, *, description: str, pooled: bool = True
) -> dg.JobDefinition:
    """A job without config; `pooled` ones wait for the system's run before them."""

    def run(context: dg.OpExecutionContext, backup_environment: BackupEnvironment) -> None:
        with metadata.as_failure():
            body(system, context, backup_environment)

    return _job(name, _op(system, name, run, pooled), description)


def configured_op_job(
    system: System,
    name: str,
    body: ConfiguredBody,
    config_type: type[dg.Config],
    *,
    description: str,
    of_backup: bool = False,
    pooled: bool = True,
    own_pool: str | None = None,
) -> dg.JobDefinition:
    """A job whose launchpad asks for `config_type`, and lists the backups if it is `of_backup`.

    In a pool of its own it waits for its like only.
    """

    def run(
        context: dg.OpExecutionContext, config: Any, backup_environment: BackupEnvironment
    ) -> None:
        with metadata.as_failure():
            body(system, context, config, backup_environment)

    # Dagster takes the fields of the launchpad from the annotation.
    run.__annotations__["config"] = config_type
    offered = partitions.restorable(system.system) if of_backup else None
    return _job(name, _op(system, name, run, pooled, own_pool), description, offered)


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
    name: str,
    op: dg.OpDefinition,
    description: str,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
) -> dg.JobDefinition:
    @dg.job(
        name=name,
        description=description,
        executor_def=dg.in_process_executor,
        partitions_def=partitions_def,
    )
    def job() -> None:
        op()

    return job
