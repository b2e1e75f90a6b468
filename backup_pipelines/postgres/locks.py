"""Locking the tables of a restore without ever making the application a deadlock's victim."""

import random
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import psycopg
from psycopg import sql

from backup_pipelines.errors import Failed
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query

# An application's session looks for deadlocks when it has waited for deadlock_timeout; each of our
# attempts ends, and gives back what it got, in less.
_SHARE_OF_DEADLOCK_TIMEOUT = 0.8

_PAUSE_SECONDS = (0.05, 0.25)


class WaitingForUs(Exception):
    """A session that has read our tables waits to write them: who upgrades a lock now, hangs."""


def lock_tables(
    connection: Connection,
    tables: Sequence[sql.Identifier],
    oids: Sequence[int],
    seconds: float,
    *,
    against: Literal["everybody", "writers"] = "everybody",
    whole: Collection[int] = (),
    then: Mapping[int, sql.Composed] | None = None,
) -> None:
    """Lock the tables against everybody or against writers, inside the caller's transaction.

    `oids` gives the order, the same for every restore; those in `whole` are locked with all that
    inherits from them. The statements in `then` lock further relations in the same attempt. Raises
    Failed after `seconds`, naming the sessions in the way, and WaitingForUs where only the end of
    the caller's transaction helps.
    """
    if not tables and not then:
        return
    ordered = sorted(zip(oids, tables, strict=True), key=lambda pair: pair[0])
    statement = sql.SQL("LOCK TABLE {} IN {} MODE").format(
        sql.SQL(", ").join(
            sql.SQL("{}" if oid in whole else "ONLY {}").format(name) for oid, name in ordered
        ),
        sql.SQL("ACCESS EXCLUSIVE" if against == "everybody" else "SHARE ROW EXCLUSIVE"),
    )
    row = connection.execute(
        "SELECT setting::int AS ms FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'"
    ).fetchone()
    assert row is not None
    attempt = min(row["ms"] / 1000 * _SHARE_OF_DEADLOCK_TIMEOUT, seconds)
    more = then or {}
    wanted = [*oids, *more]
    deadline = time.monotonic() + seconds
    while True:
        if connection.execute(query("waiting_for_us"), {"oids": wanted}).fetchone():
            raise WaitingForUs
        try:
            _try_once(connection, [*([statement] if tables else []), *more.values()], attempt)
            return
        except psycopg.errors.QueryCanceled as error:
            if time.monotonic() >= deadline:
                raise Failed(
                    f"the tables could not be locked within {seconds:g} s; in the way: "
                    f"{_in_the_way(connection, wanted)}"
                ) from error
            # Uneven pauses, so that two who want the same do not stay in step.
            time.sleep(random.uniform(*_PAUSE_SECONDS))


def _try_once(connection: Connection, statements: Sequence[sql.Composed], seconds: float) -> None:
    """All locks within so many seconds together, or none of them."""
    until = time.monotonic() + seconds
    with connection.transaction():
        for statement in statements:
            left = max(1, int((until - time.monotonic()) * 1000))
            _limit(connection, left)
            connection.execute(statement)
        _limit(connection, 0)


def _limit(connection: Connection, milliseconds: int) -> None:
    connection.execute(
        "SELECT pg_catalog.set_config('statement_timeout', %s, true)", [str(milliseconds)]
    )


def _in_the_way(connection: Connection, oids: Sequence[int]) -> str:
    rows = connection.execute(query("lockers"), {"oids": list(oids)}).fetchall()
    return "; ".join(row["text"] for row in rows) or "sessions that have ended since"
