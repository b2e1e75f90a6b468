"""Taking a restore back: its safety backup, restored like any other."""

from backup_pipelines import catalog
from backup_pipelines.errors import NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store


def last_safety_backup(store: Store, system: str) -> Manifest:
    """The newest safety backup: what the last restore changed, as it was before.

    Undoing takes a safety backup too, so an undo can be undone. Raises NotFound without one.
    """
    found = [entry for entry in catalog.backups(store, system) if entry.type == "safety"]
    if not found:
        raise NotFound(f"{system} has no safety backup, so there is no restore to undo")
    return found[0]
