"""The code location: everything under `defs/`, and what all systems share."""

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
from dagster_shared.record import replace

from backup_pipelines.dagster_layer.resources import BackupEnvironment

# Dagster warns of its own use of its beta features, once for each asset.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """All systems of `defs/`; nothing is read before Dagster asks."""
    found = with_environment(systems(import_module("backup_pipelines.defs")))
    # For Materialize clicks, which run outside the jobs: one step needs no second process.
    return dg.Definitions.merge(found, dg.Definitions(executor=dg.in_process_executor))


def with_environment(found: dg.Definitions) -> dg.Definitions:
    """The definitions of a project whose S3Resource `s3`, if there is one, is for backups too."""
    resources = {**(found.resources or {}), "backup_environment": environment_with(found.resources)}
    return replace(found, resources=resources)


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
