"""Who may do what with the backups, and what is needed here to know who somebody is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from backup_pipelines import environment
from backup_pipelines.access import identity
from backup_pipelines.access.role_table import role_in_table
from backup_pipelines.errors import Refused
from backup_pipelines.preflighting.line import Line, ok, warning, wrong
from backup_pipelines.settings_access import RolesFromSpec
from backup_pipelines.system import System
from backup_pipelines.wording import count

_COORDINATOR = "AccessRunCoordinator"

# Of no user, since it is no id; the question alone is the trial.
_NOBODY = "-"


def access(system: System) -> Iterator[Line]:
    """Whether roles are asked for; where they are, runs must be signed for, scheduled ones too."""
    if system.access == "open":
        yield ok(
            "access",
            "open: whoever reaches the UI or the command line may do everything; to ask for "
            "roles, set access: enforced in the YAML",
        )
        return
    people = count(len(system.admins), "admin")
    yield ok("access", f"enforced; {people} in the YAML")
    try:
        identity.key()
    except Refused as error:
        said, _, advice = str(error).partition(": ")
        yield wrong(
            "access", f"{said}: nobody could start anything", advice[:1].upper() + advice[1:]
        )
    instance = environment.home() / "dagster.yaml"
    if instance.is_file() and _coordinator(instance) != _COORDINATOR:
        yield wrong(
            "access",
            f"{instance} does not name {_COORDINATOR}: no run of the UI or of a schedule is "
            "signed for, and each is refused",
            "Take run_coordinator from docs/deployment/dagster.yaml.",
        )
    if system.roles_from is not None:
        yield _table(system, system.roles_from)


def _coordinator(instance: Path) -> str:
    """The class of the run coordinator that a dagster.yaml names; empty where it names none."""
    try:
        found: Any = yaml.safe_load(instance.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return ""
    chosen = found.get("run_coordinator") if isinstance(found, dict) else None
    return str(chosen.get("class") or "") if isinstance(chosen, dict) else ""


def _table(system: System, spec: RolesFromSpec) -> Line:
    try:
        role_in_table(system, spec, _NOBODY)
    except Refused as error:
        return warning("access", str(error), "Let the role of its URL read that table.")
    return ok("access", f"the roles of {spec.table} can be read")
