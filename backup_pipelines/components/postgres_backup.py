"""The component: one `defs.yaml` becomes the assets, checks and jobs of one system."""

import dagster as dg
from pydantic import BaseModel

from backup_pipelines.dagster_layer import (
    assets,
    checks,
    copy_jobs,
    csv_jobs,
    health_jobs,
    housekeeping_jobs,
    jobs,
    link_jobs,
    query_jobs,
    reencrypt_jobs,
    request_jobs,
    restore_jobs,
    schedules,
    sensors,
    upload_jobs,
    verify_jobs,
)
from backup_pipelines.system import System


class PostgresBackup(dg.Component):
    """Backups of one PostgreSQL database, module by module, proved by restoring them."""

    def __init__(self, system: System) -> None:
        self.system = system

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The fields of the YAML are those of System, checked by it and defined only there."""
        return System

    @classmethod
    def load(
        cls, attributes: BaseModel | None, context: dg.ComponentLoadContext
    ) -> "PostgresBackup":
        """The component for checked attributes."""
        # Dagster gives None for an empty `attributes`; this names the fields that are missing.
        return cls(attributes if isinstance(attributes, System) else System.model_validate({}))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything Dagster shows of the system; touches no database."""
        backup = assets.backup_assets(self.system)
        drill = checks.drill_check(self.system)
        health = health_jobs.health_assets(self.system)
        all_jobs = [
            *jobs.jobs(self.system, backup, drill),
            *restore_jobs.restore_jobs(self.system),
            *request_jobs.request_jobs(self.system),
            *housekeeping_jobs.housekeeping_jobs(self.system),
            *verify_jobs.verify_jobs(self.system),
            *upload_jobs.upload_jobs(self.system),
            *csv_jobs.csv_jobs(self.system),
            *link_jobs.link_jobs(self.system),
            *query_jobs.query_jobs(self.system),
            *reencrypt_jobs.reencrypt_jobs(self.system),
            *copy_jobs.copy_jobs(self.system),
            *health_jobs.health_jobs(self.system, health),
        ]
        return dg.Definitions(
            assets=[backup, assets.catalog_spec(self.system), health],
            asset_checks=[drill],
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
