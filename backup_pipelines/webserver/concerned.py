"""Which systems something in Dagster is of: by names that are made in one place, never guessed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dagster as dg
from dagster._core.workspace.context import BaseWorkspaceRequestContext

from backup_pipelines.dagster_layer import job_names, partitions
from backup_pipelines.system import System

Arguments = Mapping[str, Any]
"""The arguments of a field of GraphQL."""

_Names = Callable[[System], Iterable[str | None]]


class Concerned:
    """The systems that each thing is of; nothing where it is of none that is known."""

    def __init__(self, systems: Mapping[str, System], context: BaseWorkspaceRequestContext) -> None:
        self._systems = systems
        self._context = context

    def of_selector(self, selector: Arguments | None) -> frozenset[str]:
        """Those of a job and of what is selected of it."""
        if selector is None:
            return frozenset()
        job = selector.get("jobName") or selector.get("pipelineName") or ""
        assets = [_path(one) for one in selector.get("assetSelection") or ()]
        checks = selector.get("assetCheckSelection") or ()
        assets += [_path(one.get("assetKey")) for one in checks]
        return self._of_job(str(job), assets)

    def of_run(self, run_id: str | None) -> frozenset[str]:
        """Those of a run that there is."""
        run = self._context.instance.get_run_by_id(run_id) if run_id else None
        if run is None:
            return frozenset()
        keys = [*(run.asset_selection or ())]
        keys += [check.asset_key for check in run.asset_check_selection or ()]
        return self._of_job(run.job_name, [list(key.path) for key in keys])

    def of_asset(self, key: Arguments | None) -> frozenset[str]:
        """That of an asset, by the first part of its key."""
        return self._of_assets([_path(key)])

    def of_schedule(self, name: str | None) -> frozenset[str]:
        """That of a schedule by its name."""
        return self._named(name, _schedules)

    def of_sensor(self, name: str | None) -> frozenset[str]:
        """That of a sensor by its name."""
        return self._named(name, _sensors)

    def of_switch(self, *ids: str) -> frozenset[str]:
        """Those of all schedules and sensors that ids of Dagster's mention in any part."""
        found: frozenset[str] = frozenset()
        for location in self._context.code_locations:
            for repository in location.get_repositories().values():
                for schedule in repository.get_schedules():
                    if _mentions(ids, schedule.selector_id, schedule.get_remote_origin_id()):
                        found |= self.of_schedule(schedule.name)
                for sensor in repository.get_sensors():
                    if _mentions(ids, sensor.selector_id, sensor.get_remote_origin_id()):
                        found |= self.of_sensor(sensor.name)
        return found

    def of_partitions(self, name: str | None) -> frozenset[str]:
        """That of a set of partitions by its name."""
        return self._named(name, _partitions)

    def _of_job(self, job: str, assets: Iterable[list[str]]) -> frozenset[str]:
        return self._named(job, _jobs) | self._of_assets(assets)

    def _of_assets(self, keys: Iterable[list[str]]) -> frozenset[str]:
        return frozenset(key[0] for key in keys if key and key[0] in self._systems)

    def _named(self, name: str | None, names: _Names) -> frozenset[str]:
        # Of several where it could be: `crm` with a module `eu`, and `crm_eu`.
        return frozenset(each for each, one in self._systems.items() if name in set(names(one)))


def _jobs(system: System) -> Iterable[str]:
    return job_names.all_operations(system.system)


def _schedules(system: System) -> Iterable[str]:
    found = {job_names.schedule_of(job) for job in _jobs(system)}
    return found | {job_names.module_schedule(system.system, name) for name in system.modules}


def _sensors(system: System) -> Iterable[str]:
    name = system.system
    return {
        job_names.due_sensor(name),
        job_names.prune_sensor(name),
        job_names.health_sensor(name),
        job_names.requests_sensor(name),
        job_names.copy_sensor(name),
    }


def _partitions(system: System) -> Iterable[str]:
    made: Iterable[dg.DynamicPartitionsDefinition] = (
        partitions.all_backups(system.system),
        partitions.restorable(system.system),
    )
    return {one.name for one in made if one.name}


def _path(key: Arguments | None) -> list[str]:
    return [str(part) for part in (key or {}).get("path") or ()]


def _mentions(ids: Iterable[str], *parts: str) -> bool:
    return any(part in one for one in ids for part in parts)
