"""Every change that Dagster's GraphQL can make: who may, and which systems it is about.

A change that is not named here is refused, so that a later Dagster brings nothing unseen.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from backup_pipelines.access.roles import Role
from backup_pipelines.webserver.concerned import Arguments, Concerned

Systems = Callable[[Concerned, Arguments], frozenset[str]]


@dataclass(frozen=True)
class Rule:
    """Who may make a change."""

    what: str
    """What it is, for the sentence of a refusal."""
    least: Role | None
    """The role for it in each system that it is about; None is nobody's."""
    about: Systems | None = None
    """The systems that it is about; None is all of them."""
    unknown_is_open: bool = False
    """Where no system is known: the role in any system will do, since more is asked later."""
    instead: str = ""
    """What to do instead of what nobody may."""
    said_as: str = "UnauthorizedError"
    """The kind of answer whose sentence Dagster's page shows; launchpads show that of no other."""


def _all(found: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*found)


def _launched(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    each = arguments.get("executionParamsList") or [arguments.get("executionParams")]
    again = arguments.get("reexecutionParams") or {}
    parents = [
        ((one or {}).get("executionMetadata") or {}).get("parentRunId")
        for one in [*each, {"executionMetadata": again}]
    ]
    return _all(
        [
            *(concerned.of_selector((one or {}).get("selector")) for one in each),
            *(concerned.of_run(parent) for parent in parents),
        ]
    )


def _runs(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    ids: list[str | None] = [*(arguments.get("runIds") or ()), arguments.get("runId")]
    found = [concerned.of_run(run_id) for run_id in ids if run_id]
    # One that is of no system makes it a matter of all.
    return _all(found) if all(found) else frozenset()


def _schedule(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    selector = arguments.get("scheduleSelector") or arguments.get("selectorData") or {}
    return concerned.of_schedule(selector.get("scheduleName"))


def _sensor(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    selector = arguments.get("sensorSelector") or arguments.get("selectorData") or {}
    return concerned.of_sensor(selector.get("sensorName"))


def _switch(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    return concerned.of_switch(*(str(value) for value in arguments.values() if value))


def _event(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    return concerned.of_asset((arguments.get("eventParams") or {}).get("assetKey"))


def _partitions(concerned: Concerned, arguments: Arguments) -> frozenset[str]:
    return concerned.of_partitions(arguments.get("partitionsDefName"))


_LAUNCH = Rule(
    "launching a run", Role.OPERATOR, _launched, unknown_is_open=True, said_as="PythonError"
)
_STOP = Rule("stopping a run", Role.OPERATOR, _runs)
_FORGET = Rule("removing a run", Role.ADMIN, _runs)
_OF_SCHEDULE = Rule("switching a schedule", Role.ADMIN, _schedule)
_OF_SENSOR = Rule("switching a sensor", Role.ADMIN, _sensor)
_SWITCH = Rule("switching a schedule or sensor", Role.ADMIN, _switch)
_TRY_SCHEDULE = Rule("trying a schedule", Role.ADMIN, _schedule)
_TRY_SENSOR = Rule("trying a sensor", Role.ADMIN, _sensor)
_RELOAD = Rule("reloading the definitions", Role.ADMIN)
_EVENT = Rule("reporting an event", Role.ADMIN, _event)
_PARTITIONS = Rule("changing the list of backups", Role.ADMIN, _partitions)
_LIMITS = Rule("changing limits of concurrency", Role.ADMIN)
_WIPE = Rule(
    "wiping assets",
    None,
    instead="the catalog would be gone for all; use catalog rebuild, or delete a backup",
)
_BACKFILL = Rule(
    "a backfill",
    None,
    instead="the daemon launches its runs, in nobody's name; launch the run of each partition",
    said_as="PythonError",
)
_COMPONENTS = Rule("changing components", None, instead="change the YAML")
_HARMLESS = Rule("this", Role.VIEWER, unknown_is_open=True, about=lambda _, __: frozenset())

RULES: Mapping[str, Rule] = {
    "launchPipelineExecution": _LAUNCH,
    "launchRun": _LAUNCH,
    "launchMultipleRuns": _LAUNCH,
    "launchPipelineReexecution": _LAUNCH,
    "launchRunReexecution": _LAUNCH,
    "terminatePipelineExecution": _STOP,
    "terminateRun": _STOP,
    "terminateRuns": _STOP,
    "deletePipelineRun": _FORGET,
    "deleteRun": _FORGET,
    "startSchedule": _OF_SCHEDULE,
    "resetSchedule": _OF_SCHEDULE,
    "stopRunningSchedule": _SWITCH,
    "scheduleDryRun": _TRY_SCHEDULE,
    "startSensor": _OF_SENSOR,
    "resetSensor": _OF_SENSOR,
    "setSensorCursor": _OF_SENSOR,
    "stopSensor": _SWITCH,
    "sensorDryRun": _TRY_SENSOR,
    "reloadRepositoryLocation": _RELOAD,
    "reloadWorkspace": _RELOAD,
    "shutdownRepositoryLocation": Rule("stopping the code server", Role.ADMIN),
    "wipeAssets": _WIPE,
    "reportRunlessAssetEvents": _EVENT,
    "reportAssetCheckEvaluations": _EVENT,
    "launchPartitionBackfill": _BACKFILL,
    "resumePartitionBackfill": _BACKFILL,
    "reexecutePartitionBackfill": _BACKFILL,
    "cancelPartitionBackfill": Rule("stopping a backfill", Role.ADMIN),
    "addDynamicPartition": _PARTITIONS,
    "deleteDynamicPartitions": _PARTITIONS,
    "setAppManagedComponent": _COMPONENTS,
    "deleteAppManagedComponent": _COMPONENTS,
    "refreshComponentState": Rule("refreshing a component", Role.ADMIN),
    "setAutoMaterializePaused": Rule("switching automations", Role.ADMIN),
    "setConcurrencyLimit": _LIMITS,
    "deleteConcurrencyLimit": _LIMITS,
    "freeConcurrencySlotsForRun": _LIMITS,
    "freeConcurrencySlots": _LIMITS,
    # Counts clicks where telemetry is on, and remembers that a greeting was seen.
    "logTelemetry": _HARMLESS,
    "setNuxSeen": _HARMLESS,
}
"""By the field's name, which an alias in a request does not change."""

REPORTS = Rule("reporting events of assets", Role.ADMIN)
"""Of the addresses /report_asset_...; the asset may be named in three ways there."""

NOTEBOOKS = Rule("reading notebooks", Role.ADMIN)
"""Of the address /notebook, which reads files of the code server."""
