"""The code location: everything under `defs/`, and what all systems share."""

import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

import dagster as dg

from backup_pipelines.resources import BackupEnvironment

# Dagster warns of its own use of its beta features, once for each asset.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """All systems of `defs/`; nothing is read before Dagster asks."""
    shared = dg.Definitions(
        resources={"backup_environment": BackupEnvironment()},
        # For Materialize clicks, which run outside the jobs: one step needs no second process.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(systems(import_module("backup_pipelines.defs")), shared)


def systems(folder: ModuleType) -> dg.Definitions:
    """What `dg.load_from_defs_folder` loads, without its list of all components for the UI.

    For that list it imports every component of every installed integration: a second at each
    start, here and in the command line. It also wants a pyproject.toml, which no wheel has.
    """
    path = Path(folder.__path__[0])
    return dg.ComponentTree.from_module(folder, path.parent).build_defs(path)
