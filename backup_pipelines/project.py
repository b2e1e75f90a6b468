"""Whose systems are meant: those of this package's own `defs/`, or of another Dagster project."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup_pipelines.errors import Refused

BACKUP_PROJECT = "BACKUP_PROJECT"

# The files that tell what a Dagster project consists of, and where in them that stands.
_FILES = (("dg.toml", ("project",)), ("pyproject.toml", ("tool", "dg", "project")))


@dataclass(frozen=True)
class Project:
    """A Dagster project with systems."""

    defs: Path
    """The folder with one folder for each system."""
    definitions: str
    """The module that Dagster loads."""
    location: str
    """The name of its code location, to whose jobs the runs belong in the UI."""
    working_directory: str | None = None
    """Where its modules are found, unless they are installed."""


_OWN = Project(
    Path(__file__).resolve().parent / "defs", "backup_pipelines.definitions", "backup_pipelines"
)


def project() -> Project:
    """The project in the folder that BACKUP_PROJECT names, else this package; may raise Refused."""
    named = os.environ.get(BACKUP_PROJECT)
    return _described(Path(named).resolve()) if named else _OWN


def _described(folder: Path) -> Project:
    """A project as `dg` understands its settings, with the same defaults."""
    settings = _settings(folder)
    root = settings.get("root_module")
    if not isinstance(root, str) or not root:
        raise Refused(
            f"{BACKUP_PROJECT}={folder} has no pyproject.toml with root_module under "
            "[tool.dg.project], and no such dg.toml: name the folder of a Dagster project"
        )
    source = folder / "src" if (folder / "src").is_dir() else folder
    defs = settings.get("defs_module") or f"{root}.defs"
    return Project(
        defs=source.joinpath(*str(defs).split(".")),
        definitions=str(settings.get("code_location_target_module") or f"{root}.definitions"),
        location=str(settings.get("code_location_name") or folder.name),
        working_directory=str(source),
    )


def _settings(folder: Path) -> Mapping[str, Any]:
    for name, place in _FILES:
        try:
            found: Any = tomllib.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise Refused(
                f"{BACKUP_PROJECT}: {folder / name} cannot be read: {' '.join(str(error).split())}"
            ) from error
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return {}
