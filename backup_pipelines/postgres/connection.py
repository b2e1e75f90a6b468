"""Connections to PostgreSQL: settings that make values print the same everywhere, and refusals."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.postgres.queries import query

# Row hashing (hash_record_extended) and reading by ctid ranges both came with this version.
OLDEST_SERVER = 14

_APPLICATION = "backup_pipelines"
_CONNECT_SECONDS = 10

# Enough turns to make a pooler that deals its servers round robin show itself.
_POOLER_PROBES = 3

Connection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True)
class Server:
    """What is known of a server and a database before anything is read."""

    version: int
    database: str
    encoding: str
    block_size: int
    is_standby: bool
    role: str
    backend_pid: int
    now: datetime
    collate: str
    ctype: str

    @property
    def major(self) -> int:
        """The major version, e.g. 18."""
        return self.version // 10000


def connect(url: str, *, what: str = "the database") -> Connection:
    """An autocommit connection with our settings; raises Failed when there is none to be had.

    `what` names the database in the error; the URL itself may hold a password and is not shown.
    """
    try:
        connection = Connection.connect(
            with_defaults(url), autocommit=True, row_factory=dict_row, prepare_threshold=None
        )
    except psycopg.Error as error:
        raise Failed(f"cannot connect to {what}: {str(error).strip()}") from error
    except ValueError as error:
        raise Refused(f"the URL of {what} is malformed: {error}") from error
    connection.execute(query("settings"))
    return connection


@contextlib.contextmanager
def connected(url: str, *, what: str = "the database") -> Generator[Connection]:
    """`connect`, closed at the end of the block."""
    connection = connect(url, what=what)
    try:
        yield connection
    finally:
        connection.close()


def with_defaults(url: str) -> str:
    """The URL with our application name and a connect timeout where it has none of its own."""
    try:
        given: Mapping[str, Any] = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise Refused(f"a database URL is malformed: {error}") from error
    defaults: dict[str, Any] = {
        "application_name": _APPLICATION,
        "connect_timeout": str(_CONNECT_SECONDS),
    }
    return make_conninfo("", **(defaults | dict(given)))


def describe(connection: Connection) -> Server:
    """Version, encoding and role of the connected server."""
    row = connection.execute(query("server")).fetchone()
    assert row is not None
    return Server(**row)


def refuse_unsuitable(server: Server, url: str, connection: Connection) -> None:
    """Raise Refused for servers that cannot be backed up faithfully: too old, SQL_ASCII, pooled."""
    if server.major < OLDEST_SERVER:
        raise Refused(
            f"the server runs PostgreSQL {server.major}; version {OLDEST_SERVER} or newer is needed"
        )
    if server.encoding == "SQL_ASCII":
        raise Refused(
            f"database {server.database} has encoding SQL_ASCII, which promises nothing about its "
            "texts; convert it to UTF8 first"
        )
    if connection.info.backend_pid != server.backend_pid and _is_transaction_pooler(url):
        raise Refused(
            "the URL leads to a transaction pooler, where snapshots and locks do not hold; use "
            "the direct connection or the session pooler (on Supabase port 5432, not 6543)"
        )


def _is_transaction_pooler(url: str) -> bool:
    """Whether a session's server process changes while another session holds a transaction."""
    with connected(url) as first, connected(url) as second:
        for _ in range(_POOLER_PROBES):
            before = _backend(first)
            with second.transaction():
                taken = _backend(second)
                if taken == before or _backend(first) != before:
                    return True
    return False


def _backend(connection: Connection) -> int:
    row = connection.execute("SELECT pg_catalog.pg_backend_pid() AS pid").fetchone()
    assert row is not None
    return int(row["pid"])
