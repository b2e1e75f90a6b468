"""Restoring: so far a whole backup into an empty database."""

from collections.abc import Callable
from dataclasses import dataclass

from backup_pipelines.load import load, refuse_unless_empty
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.connection import connected
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify


@dataclass(frozen=True)
class RestoreResult:
    """What was restored and proved equal."""

    backup_id: str
    tables: int
    rows: int
    seconds: float
    skipped: tuple[str, ...]


def restore_into_empty(
    store: Store, entry: Manifest, target_url: str, *, report: Callable[[str], None]
) -> RestoreResult:
    """Restore a backup into an empty database; every object is verified before anything is created.

    Raises Refused when the database is not empty, Damaged, Failed or NotEqual with nothing changed.
    """
    with connected(target_url, what="the target database") as connection:
        refuse_unless_empty(connection)
        verify(store, entry, report=report)
        loaded = load(connection, store, entry, report)
    return RestoreResult(entry.id, loaded.tables, loaded.rows, loaded.seconds, loaded.skipped)
