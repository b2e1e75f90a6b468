"""The guard that two backups or restores of one system never overlap: an advisory lock."""

import hashlib
import time

from backup_pipelines.errors import Busy
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query

# A session that was closed or killed just now keeps its lock until its server process has ended.
_PATIENCE_SECONDS = 3.0
_POLL_SECONDS = 0.05


def lock_key(system: str) -> int:
    """The 64-bit key of a system's lock, the same on every host."""
    digest = hashlib.sha256(f"backup_pipelines:{system}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def take_lock(connection: Connection, system: str, *, patience: float = _PATIENCE_SECONDS) -> None:
    """Hold the system's lock until the connection closes; raises Busy, naming who has it.

    `patience` is how many seconds a holder that may be about to end is waited for.
    """
    key, until = lock_key(system), time.monotonic() + patience
    while not _try(connection, key):
        if time.monotonic() >= until:
            raise Busy(
                f"another backup or restore of {system} is running: {_holder(connection, key)} "
                "holds its lock; wait for it to end and start again"
            )
        time.sleep(_POLL_SECONDS)


def _try(connection: Connection, key: int) -> bool:
    taken = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s) AS taken", [key])
    row = taken.fetchone()
    return row is not None and bool(row["taken"])


def _holder(connection: Connection, key: int) -> str:
    row = connection.execute(query("lock_holder"), {"key": key}).fetchone()
    if row is None:
        return "another session"
    return f"server process {row['pid']} ({row['application']}) since {row['since']:%H:%M}"
