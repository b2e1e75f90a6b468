"""The jobs that plan a restore of the live database, do it, and take it back.

A restore is tried once, by somebody who confirmed it.
"""

import dagster as dg

from backup_pipelines.dagster_layer import job_names, restore_ops
from backup_pipelines.dagster_layer.config import LiveRestoreConfig, PlanConfig, UndoConfig
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.system import System


def restore_jobs(system: System) -> list[dg.JobDefinition]:
    """The plan, restore and undo jobs of a system."""
    name = system.system
    return [
        configured_op_job(
            system,
            job_names.plan_job(name),
            restore_ops.plan,
            PlanConfig,
            of_backup=True,
        ),
        configured_op_job(
            system,
            job_names.restore_job(name),
            restore_ops.restore,
            LiveRestoreConfig,
            of_backup=True,
        ),
        configured_op_job(
            system,
            job_names.undo_job(name),
            restore_ops.undo,
            UndoConfig,
        ),
    ]
