"""The tags by which runs are found in the Runs page: their names, and who sets those of every run.

docs/operations.md says how to search for them. A test compares the tags of runs with NAMES.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from backup_pipelines.modules import OTHER
from backup_pipelines.system import System

PREFIX = "backup_pipelines/"

SYSTEM = f"{PREFIX}system"
OPERATION = f"{PREFIX}operation"
BACKUP = f"{PREFIX}backup"
MODULE_PREFIX = f"{PREFIX}module_"
"""A run can be about several modules, and a tag is searched by its whole value."""

_YES = "yes"

NAMES: Mapping[str, str] = {
    SYSTEM: "the system, as in its YAML",
    OPERATION: "what the run does: backup, restore, plan, verify, drill, prune, ...",
    BACKUP: "id of the backup that the run has made, read, restored, pinned or removed",
    f"{MODULE_PREFIX}MODULE": "yes: the run is about this module and not about everything",
    f"{PREFIX}operator": "who started it",
    f"{PREFIX}backup_of_SYSTEM": "id of the backup that the run has made, of a restore its safety "
    "backup",
    f"{PREFIX}type": "scheduled or safety, for backups that no person asked for",
    f"{PREFIX}schedule": "the schedule that launched it, or would have, had its tick not been late",
    f"{PREFIX}request": "the request of the application that it carries out",
    f"{PREFIX}restored": "the system whose live database it has changed",
    f"{PREFIX}restored_from": "in which store the backup was: first or second",
    f"{PREFIX}created": "the tables and objects that the restore created, which its undo drops",
    f"{PREFIX}undo": "when that was committed, and the safety backup that an undo restores",
    f"{PREFIX}audit_SYSTEM": "the head of the audit trail after its record",
    f"{PREFIX}refused": "the launch was refused: whose it was lacks the role",
    f"{PREFIX}store_failed": "true: the store could not be reached, and people were told",
    f"{PREFIX}process": "the process of a run of the command line",
}
"""Every tag of ours with its meaning; SYSTEM and MODULE stand for a name."""

_OURS_ALONE = (
    f"{PREFIX}restored",
    f"{PREFIX}created",
    f"{PREFIX}undo",
    f"{PREFIX}request",
    f"{PREFIX}audit_",
    f"{PREFIX}refused",
)
"""How the tags begin that our code believes of a run: an undo drops what they name."""


def claimed(run: dg.DagsterRun) -> dict[str, str]:
    """The tags to take from a run that is launched: whoever launches it has sent them, not our ops.

    Tags cannot be removed, so each is to be empty.
    """
    return {tag: "" for tag in run.tags if tag.startswith(_OURS_ALONE)}


def begin(context: Any, system: System, operation: str) -> None:
    """Tag a run with what it does, and the modules that its config names."""
    tags = {SYSTEM: system.system, OPERATION: operation}
    for op in dict(context.run.run_config.get("ops") or {}).values():
        config = op.get("config") if isinstance(op, dict) else None
        named = config.get("modules") if isinstance(config, dict) else None
        # One that is not known is refused; it must not become a name to find runs by.
        known = {*system.modules, OTHER}
        tags |= _modules([n for n in named if n in known] if isinstance(named, list) else [])
    _add(context.instance, context.run.run_id, tags)


def of_backup(context: Any, backup_id: str, details: Mapping[str, Any]) -> None:
    """Tag a run with the backup that it turned out to be about, and the modules of a part."""
    if not backup_id or details.get("rotation"):
        return
    modules = details.get("modules") if details.get("scope") not in (None, "full") else None
    tags = {BACKUP: backup_id, **_modules(modules if isinstance(modules, list) else [])}
    _add(context.instance, context.run.run_id, tags)


def is_known(tag: str, system: str, modules: frozenset[str]) -> bool:
    """Whether a tag on a run of the system is one of NAMES."""
    if not tag.startswith(PREFIX):
        return True
    generic = tag.removesuffix(f"_{system}") + "_SYSTEM" if tag.endswith(f"_{system}") else tag
    if tag.removeprefix(MODULE_PREFIX) in modules | {OTHER}:
        generic = f"{MODULE_PREFIX}MODULE"
    return generic in NAMES


def _modules(names: list[Any]) -> dict[str, str]:
    return {f"{MODULE_PREFIX}{name}": _YES for name in names}


def _add(instance: dg.DagsterInstance, run_id: str, tags: Mapping[str, str]) -> None:
    if instance.has_run(run_id):
        instance.add_run_tags(run_id, dict(tags))
