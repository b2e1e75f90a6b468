"""What drills have found, as it lies in the store: reading it needs no driver.

One that passed leaves a record. One whose rows came out unequal is a state of its backup, until a
later drill of it passes.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from backup_pipelines import layout, state_log
from backup_pipelines.errors import BackupError
from backup_pipelines.storage.store import Store

EQUAL, UNEQUAL = "equal", "unequal"


class DrillResult(BaseModel):
    """The record of a drill that passed, as it is kept in the store."""

    model_config = ConfigDict(frozen=True)

    system: str
    backup_id: str
    at: datetime
    tables: int
    rows: int
    seconds: float
    seconds_by_module: dict[str, float]
    seconds_by_step: dict[str, float]
    skipped: tuple[str, ...]
    server_version: int
    encrypted: bool = False
    """Then the identity of that machine opened every object."""
    key: str


def drills(store: Store, system: str) -> dict[str, DrillResult]:
    """The newest drill of each backup that passed, by the backup's id, without unreadable ones.

    Raises Failed when the store cannot list them.
    """
    newest: dict[str, str] = {}
    for found in store.objects(layout.drills_prefix(system)):
        backup_id = found.key.split("/")[-2]
        newest[backup_id] = max(newest.get(backup_id, ""), found.key)
    return {
        backup_id: record
        for backup_id, key in newest.items()
        if (record := _readable(store, key)) is not None
    }


def newest_of(store: Store, system: str, backup_id: str) -> DrillResult | None:
    """The newest drill of one backup that passed, or None."""
    prefix = f"{layout.drills_prefix(system)}{backup_id}/"
    newest = max((found.key for found in store.objects(prefix)), default=None)
    return None if newest is None else DrillResult.model_validate_json(store.get(newest))


def last_drill(store: Store, system: str) -> DrillResult | None:
    """The newest drill that passed, or None."""
    keys = [found.key for found in store.objects(layout.drills_prefix(system))]
    if not keys:
        return None
    newest = max(keys, key=lambda key: key.rsplit("/", 1)[-1])
    return DrillResult.model_validate_json(store.get(newest))


def remember(store: Store, system: str, backup_id: str, problem: str | None) -> None:
    """Write that the rows of a backup came out unequal, or that they no longer do."""
    if problem is None and backup_id not in unequal(store, system):
        return
    state = EQUAL if problem is None else UNEQUAL
    state_log.append(store, system, "proofs", backup_id, state, {"message": problem or ""})


def unequal(store: Store, system: str) -> set[str]:
    """Ids of the backups whose rows came out unequal in the last drill of each."""
    found = state_log.latest(store, system, "proofs").values()
    return {one.subject for one in found if one.state == UNEQUAL}


def _readable(store: Store, key: str) -> DrillResult | None:
    try:
        return DrillResult.model_validate_json(store.get(key))
    except (BackupError, ValidationError):
        return None
