"""The component: one `defs.yaml` becomes the assets, checks and jobs of one system."""

import dagster as dg
from pydantic import BaseModel

from backup_pipelines.components.scaffolder import PostgresBackupScaffolder
from backup_pipelines.dagster_layer import (
    assets,
    checks,
    copy_jobs,
    csv_import_jobs,
    csv_jobs,
    health_jobs,
    housekeeping_jobs,
    jobs,
    link_jobs,
    module_pages,
    query_jobs,
    reencrypt_jobs,
    request_jobs,
    restore_jobs,
    schedules,
    sensors,
    timeline_jobs,
    upload_jobs,
    verify_jobs,
)
from backup_pipelines.dagster_layer.resources import USUAL_WORLD, BackupEnvironment
from backup_pipelines.system import System


@dg.scaffold_with(PostgresBackupScaffolder)
class PostgresBackup(dg.Component):
    """Backups of one PostgreSQL database, module by module, proved by restoring them."""

    def __init__(self, system: System, world: BackupEnvironment | None = None) -> None:
        self.system = system
        self.world = world

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The fields of the YAML are those of System, checked by it and defined only there."""
        return System

    @classmethod
    def load(
        cls, attributes: BaseModel | None, context: dg.ComponentLoadContext
    ) -> "PostgresBackup":
        """The component for checked attributes, which a project needs nothing else for.

        One that is made in Python is without a world: whoever merges it gives `backup_environment`.
        """
        # Dagster gives None for an empty `attributes`; this names the fields that are missing.
        system = attributes if isinstance(attributes, System) else System.model_validate({})
        return cls(system, USUAL_WORLD)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything Dagster shows of the system; touches no database."""
        backup = assets.backup_assets(self.system)
        drill = checks.drill_check(self.system)
        health = health_jobs.health_assets(self.system)
        modules = module_pages.module_assets(self.system)
        all_jobs = [
            *jobs.jobs(self.system, backup, drill),
            *restore_jobs.restore_jobs(self.system),
            *request_jobs.request_jobs(self.system),
            *housekeeping_jobs.housekeeping_jobs(self.system),
            *verify_jobs.verify_jobs(self.system),
            *upload_jobs.upload_jobs(self.system),
            *csv_jobs.csv_jobs(self.system),
            *csv_import_jobs.csv_import_jobs(self.system),
            *link_jobs.link_jobs(self.system),
            *query_jobs.query_jobs(self.system),
            *timeline_jobs.timeline_jobs(self.system),
            *reencrypt_jobs.reencrypt_jobs(self.system),
            *copy_jobs.copy_jobs(self.system),
            *health_jobs.health_jobs(self.system, health),
            *module_pages.module_jobs(self.system, modules),
        ]
        return dg.Definitions(
            assets=[backup, assets.catalog_spec(self.system), health, modules],
            asset_checks=[drill],
            resources={"backup_environment": self.world} if self.world is not None else {},
            jobs=all_jobs,
            schedules=schedules.schedules(self.system),
            sensors=[
                *sensors.request_sensors(self.system),
                *sensors.prune_sensors(self.system),
                *sensors.due_sensors(self.system, all_jobs),
                *copy_jobs.copy_sensors(self.system),
                *sensors.health_sensors(self.system),
            ],
        )
