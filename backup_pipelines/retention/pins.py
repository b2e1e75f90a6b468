"""Pins: backups that no policy removes, until somebody unpins them."""

from backup_pipelines import catalog, state_log
from backup_pipelines.errors import Refused
from backup_pipelines.storage.store import Store


def pinned(store: Store, system: str) -> set[str]:
    """Ids of the pinned backups."""
    found = state_log.latest(store, system, "pins").values()
    return {one.subject for one in found if one.state == catalog.PINNED}


def pin(store: Store, system: str, backup_id: str, *, operator: str, reason: str) -> None:
    """Keep a backup from being pruned or deleted.

    Raises NotFound when there is no such backup, Refused when it is pinned or being removed.
    """
    entry = catalog.load(store, system, backup_id)
    known = catalog.states(store, system)
    if entry.id in known.pinned:
        raise Refused(f"{entry.id} is pinned already")
    if entry.id in known.removing:
        raise Refused(f"{entry.id} is being removed, so it can no longer be pinned")
    _append(store, system, entry.id, catalog.PINNED, operator, reason)


def unpin(store: Store, system: str, backup_id: str, *, operator: str, reason: str) -> None:
    """Let retention decide about a backup again; raises NotFound or Refused when it is not pinned.

    A damaged backup can be unpinned, so that it can be deleted.
    """
    if backup_id not in pinned(store, system):
        found = catalog.load(store, system, backup_id)
        raise Refused(f"{found.id} is not pinned")
    _append(store, system, backup_id, catalog.UNPINNED, operator, reason)


def _append(
    store: Store, system: str, backup_id: str, state: str, operator: str, reason: str
) -> None:
    content = {"operator": operator, "reason": reason}
    state_log.append(store, system, "pins", backup_id, state, content)
