"""The jobs that import CSV files into the live database, and show what that would do."""

import dagster as dg

from backup_pipelines.dagster_layer import csv_import_ops, job_names
from backup_pipelines.dagster_layer.config_csv_import import CsvImportConfig, CsvPlanConfig
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.system import System


def csv_import_jobs(system: System) -> list[dg.JobDefinition]:
    """The import of a system, which is tried once by somebody who confirmed it, and its plan."""
    return [
        configured_op_job(
            system,
            job_names.csv_plan_job(system.system),
            csv_import_ops.plan,
            CsvPlanConfig,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.csv_import_job(system.system),
            csv_import_ops.import_files,
            CsvImportConfig,
        ),
    ]
