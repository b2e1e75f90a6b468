"""The sensors of a system: each only looks, and says what it has looked at."""

from collections.abc import Iterator

import dagster as dg

from backup_pipelines import app_requests, layout, partitions
from backup_pipelines.resources import BackupEnvironment
from backup_pipelines.system import System

# An application's user waits for the answer.
_SECONDS = 10


def request_sensors(system: System) -> list[dg.SensorDefinition]:
    """The sensor for requests of the application, if the YAML permits any."""
    return [_requests(system)] if system.requests.operations else []


def _requests(system: System) -> dg.SensorDefinition:
    job = partitions.request_job(system.system)

    @dg.sensor(
        name=partitions.requests_sensor(system.system),
        job_name=job,
        minimum_interval_seconds=_SECONDS,
        # Without it a sensor does nothing until somebody switches it on.
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Launch {job} for each request that the application of {system.system} "
        f"leaves under `{layout.requests_prefix(system.system)}` in the store.",
    )
    def requests(
        backup_environment: BackupEnvironment,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        # A preview in the UI runs this too: verifying, claiming and refusing are the job's.
        found = app_requests.listed(backup_environment.store(), system.system)
        if not found.pending:
            yield dg.SkipReason(
                f"{layout.requests_prefix(system.system)} has no request that waits: "
                f"{found.settled} were taken or refused, {found.unusable} folders hold none"
            )
        for request_id in found.pending:
            # Dagster launches a run key once, so that a request that is queued is not repeated.
            yield dg.RunRequest(
                run_key=request_id,
                run_config={"ops": {partitions.op_of(job): {"config": {"request": request_id}}}},
            )

    return requests
