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
            description=f"Remove the backups of {name} that retention no longer keeps, and what "
            "earlier removals left unfinished; dry_run only shows them, with the reasons.",
        ),
        configured_op_job(
            system,
            job_names.delete_job(name),
            removal_ops.delete,
            DeleteConfig,
            description=f"Remove one backup of {name} for good.",
            of_backup=True,
        ),
        configured_op_job(
            system,
            job_names.reconcile_job(name),
            upkeep_ops.reconcile,
            ReconcileConfig,
            description=f"Compare the store of {name} with its manifests and the catalog, in both "
            "directions; repair removes what belongs to no backup.",
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
            description=f"Keep a backup of {name} whatever retention says.",
            of_backup=True,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.unpin_job(name),
            upkeep_ops.unpin,
            NamedBackup,
            description=f"Let retention decide about a pinned backup of {name} again.",
            of_backup=True,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.catalog_rebuild_job(name),
            catalog_rebuild.rebuild,
            RebuildConfig,
            description=f"Bring the catalog of {name} back from the store alone: every backup "
            "with its status, pin and metadata. Changes nothing in the store.",
        ),
        configured_op_job(
            system,
            job_names.acknowledge_job(name),
            upkeep_ops.acknowledge,
            AcknowledgeConfig,
            description=f"Let pruning of {name} go on after a guard was red: somebody has looked.",
            pooled=False,
        ),
    ]
