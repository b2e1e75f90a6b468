"""Dagster's instance as a process of the command line opens it."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from backup_pipelines.errors import Refused

# Dagster would spawn two processes to copy the terminal's output into files; what a run has to
# say is in its event log.
_OVERRIDES = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


@contextmanager
def instance_of_home() -> Generator[dg.DagsterInstance]:
    """The instance that DAGSTER_HOME names; raises Refused where it names none."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise Refused("DAGSTER_HOME is not set: it is the folder with dagster.yaml")
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(home, overrides=_OVERRIDES)) as instance:
        yield instance
