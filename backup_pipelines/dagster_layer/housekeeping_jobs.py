"""The jobs that look after what is stored and shown: from prune and delete to acknowledge.

Those that remove objects wait in the system's pool for the run that reads or writes them; a pin
must not wait.
"""

import dagster as dg

from backup_pipelines.dagster_layer import (
    catalog_rebuild,
    job_names,
    removal_ops,
    upkeep_ops,
)
from backup_pipelines.dagster_layer.config import (
    AcknowledgeConfig,
    DeleteConfig,
    NamedBackup,
    PruneConfig,
    RebuildConfig,
    ReconcileConfig,
)
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.system import System


def housekeeping_jobs(system: System) -> list[dg.JobDefinition]:
    """The housekeeping jobs of a system."""
    return [*_removing(system), *_upkeep(system)]


def _removing(system: System) -> list[dg.JobDefinition]:
    name = system.system
    return [
        configured_op_job(
            system,
            job_names.prune_job(name),
            removal_ops.prune,
            PruneConfig,
        ),
        configured_op_job(
            system,
            job_names.delete_job(name),
            removal_ops.delete,
            DeleteConfig,
            of_backup=True,
        ),
        configured_op_job(
            system,
            job_names.reconcile_job(name),
            upkeep_ops.reconcile,
            ReconcileConfig,
        ),
    ]


def _upkeep(system: System) -> list[dg.JobDefinition]:
    name = system.system
    return [
        configured_op_job(
            system,
            job_names.pin_job(name),
            upkeep_ops.pin,
            NamedBackup,
            of_backup=True,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.unpin_job(name),
            upkeep_ops.unpin,
            NamedBackup,
            of_backup=True,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.catalog_rebuild_job(name),
            catalog_rebuild.rebuild,
            RebuildConfig,
        ),
        configured_op_job(
            system,
            job_names.acknowledge_job(name),
            upkeep_ops.acknowledge,
            AcknowledgeConfig,
            pooled=False,
        ),
    ]
