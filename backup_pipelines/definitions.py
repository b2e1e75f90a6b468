"""The code location: everything under `defs/`, and what all systems share."""

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer.resources import BackupEnvironment

# Dagster warns of its own use of its beta features, once for each asset.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """All systems of `defs/`; nothing is read before Dagster asks."""
    found = systems(import_module("backup_pipelines.defs"))
    shared = dg.Definitions(
        resources={"backup_environment": environment_with(found.resources)},
        # For Materialize clicks, which run outside the jobs: one step needs no second process.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(found, shared)


def environment_with(resources: Mapping[str, Any] | None) -> BackupEnvironment:
    """The world as the ops see it, with the S3Resource `s3` of the definitions if there is one."""
    given = (resources or {}).get("s3")
    if given is None:
        return BackupEnvironment()
    # Two seconds of import that nobody else needs.
    from dagster_aws.s3 import S3Resource

    from backup_pipelines.dagster_layer.s3_environment import S3Environment

    # Other projects' resources of that name are none of ours.
    return S3Environment(s3=given) if isinstance(given, S3Resource) else BackupEnvironment()


def systems(folder: ModuleType) -> dg.Definitions:
    """What `dg.load_from_defs_folder` loads, without its list of all components for the UI.

    For that list it imports every component of every installed integration: a second at each
    start, here and in the command line. It also wants a pyproject.toml, which no wheel has.
    """
    path = Path(folder.__path__[0])
    return dg.ComponentTree.from_module(folder, path.parent).build_defs(path)
