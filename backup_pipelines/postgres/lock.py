"""The guard that two backups or restores of one system never overlap: an advisory lock."""

import hashlib

from backup_pipelines.errors import Busy
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query


def lock_key(system: str) -> int:
    """The 64-bit key of a system's lock, the same on every host."""
    digest = hashlib.sha256(f"backup_pipelines:{system}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def take_lock(connection: Connection, system: str) -> None:
    """Hold the system's lock until the connection closes; raises Busy, naming who has it."""
    key = lock_key(system)
    taken = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s) AS taken", [key])
    row = taken.fetchone()
    if row is not None and row["taken"]:
        return
    holder = connection.execute(query("lock_holder"), {"key": key}).fetchone()
    who = (
        f"server process {holder['pid']} ({holder['application']}) since {holder['since']:%H:%M}"
        if holder
        else "another session"
    )
    raise Busy(
        f"another backup or restore of {system} is running: {who} holds its lock; "
        "wait for it to end and start again"
    )
