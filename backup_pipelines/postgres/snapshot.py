"""The one snapshot of a backup: a leader that exports it and holds its tables while others read.

The order matters: transaction, locks, export. Without the locks, a TRUNCATE or a rewriting ALTER
between snapshot and reading would be read as no rows.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import psycopg
from psycopg import sql

from backup_pipelines.errors import Failed
from backup_pipelines.postgres.connection import Connection, Server, describe, roll_back
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.postgres.standby import Replayed, replayed

# Tables that come and go between listing and locking make the backup start over; a database
# whose tables change more often than this is being migrated.
_ATTEMPTS = 5

# What locking meets where DDL came in between the listing and it. A table that was made anew may
# lack its grants: the next listing says so in words.
_CHANGED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.WrongObjectType,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.DeadlockDetected,
)

_Made = TypeVar("_Made")

# How long the leader's session says nothing at most while others work.
_HEARTBEAT_SECONDS = 30.0

# Of a standby that replays as it should nobody has to be told.
_NOTABLY_BEHIND = timedelta(minutes=1)

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True)
class Snapshot:
    """An exported snapshot and the tables that are locked in it."""

    name: str
    server: Server
    tables: tuple[LiveTable, ...]
    connection: Connection
    behind: Replayed | None = None
    """What a standby has of its primary, if that is so old that somebody has to be told."""

    def ended(self, running: Iterable[Future[_Made]]) -> set[Future[_Made]]:
        """Those of the tasks that have ended, as soon as one has, or none after half a minute.

        Raises Failed when the leader's session is gone: it is used each time, since firewalls and
        poolers on the way forget one without traffic, and a lost backup need not read on.
        """
        found = wait(running, _HEARTBEAT_SECONDS, FIRST_COMPLETED).done
        self.assert_held()
        return found

    def result(self, task: Future[_Made]) -> _Made:
        """What a task has made, once it has; raises Failed as `ended` does."""
        while not self.ended([task]):
            continue
        return task.result()

    def assert_held(self) -> None:
        """Raise Failed when the leader's session is gone, and with it the promise of one moment."""
        try:
            self.connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise Failed(
                f"the session that held the snapshot ended during the backup: {error}"
            ) from error


@contextlib.contextmanager
def snapshot(
    connection: Connection,
    schemas: Sequence[str],
    choose: Callable[[Sequence[LiveTable]], Sequence[LiveTable]],
) -> Generator[Snapshot]:
    """A snapshot in which the tables that `choose` picks from the database's are locked.

    `choose` is called with all tables and may raise Refused; it runs again when tables changed.
    """
    try:
        yield _open(connection, schemas, choose)
    finally:
        roll_back(connection)


def _open(
    connection: Connection,
    schemas: Sequence[str],
    choose: Callable[[Sequence[LiveTable]], Sequence[LiveTable]],
) -> Snapshot:
    for _ in range(_ATTEMPTS):
        before = choose(list_tables(connection, schemas))
        # Looked at first: what is replayed meanwhile may or may not be seen.
        has = replayed(connection)
        connection.execute(_BEGIN)
        try:
            _lock(connection, before)
        except _CHANGED:
            connection.execute("ROLLBACK")
            continue
        # The statement's start comes before its snapshot: what was committed by then is in it.
        row = connection.execute(
            "SELECT pg_catalog.pg_export_snapshot() AS name,"
            " pg_catalog.statement_timestamp() AS taken_at"
        ).fetchone()
        assert row is not None
        chosen = choose(list_tables(connection, schemas))
        if {(t.oid, t.qualified) for t in chosen} == {(t.oid, t.qualified) for t in before}:
            taken_at = min(row["taken_at"], has.until or row["taken_at"])
            return Snapshot(
                row["name"],
                replace(describe(connection), now=taken_at),
                tuple(with_columns(connection, chosen)),
                connection,
                behind=has if row["taken_at"] - taken_at > _NOTABLY_BEHIND else None,
            )
        connection.execute("ROLLBACK")
    raise Failed(
        f"the set of tables changed {_ATTEMPTS} times while the snapshot was being taken; "
        "is a migration running? start again after it"
    )


def _lock(connection: Connection, tables: Sequence[LiveTable]) -> None:
    if tables:
        names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(t.identifier) for t in tables)
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
