"""Connections to PostgreSQL: settings that make values print the same everywhere, and refusals."""

import contextlib
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
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

# What libpq takes for hosts and ports; anything else is a part of a password with an unescaped
# character, and must not be shown.
_HOST = r"(\[[^\]@/]*\]|[^\[\]:@/,]*)(:\d*)?"
_HOSTS = re.compile(rf"{_HOST}(,{_HOST})*")

_UNKNOWN_OPTION = re.compile(r'invalid URI query parameter: "(\w+)"\s*')

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
    strings_conform: bool
    collate: str
    ctype: str

    @property
    def major(self) -> int:
        """The major version, e.g. 18."""
        return self.version // 10000


@contextlib.contextmanager
def as_failed(what: str) -> Generator[None]:
    """Raise what PostgreSQL refuses inside the block as Failed: `what`, and PostgreSQL's reason."""
    try:
        yield
    except psycopg.Error as error:
        raise Failed(f"{what}: {' '.join(str(error).split())}") from error


def connect(url: str, *, what: str = "the database") -> Connection:
    """An autocommit connection with our settings; raises Failed when there is none to be had.

    Raises Refused for a malformed URL and for a transaction pooler. `what` names the database in
    errors; the URL itself may hold a password and is not shown.
    """
    conninfo = with_defaults(url, what=what)
    try:
        connection = _open(conninfo)
        try:
            _refuse_transaction_pooler(connection, conninfo, what)
            connection.execute(query("settings"))
        except BaseException:
            connection.close()
            raise
    except psycopg.Error as error:
        # libpq says it in several lines, once for each address of a host.
        raise Failed(f"cannot connect to {what}: {' '.join(str(error).split())}") from error
    return connection


def roll_back(connection: Connection) -> None:
    """End the transaction; a session that has ended has none, and must not hide why it did."""
    with contextlib.suppress(psycopg.Error):
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def connected(url: str, *, what: str = "the database") -> Generator[Connection]:
    """`connect`, closed at the end of the block."""
    connection = connect(url, what=what)
    try:
        yield connection
    finally:
        connection.close()


def with_defaults(url: str, *, what: str = "the database") -> str:
    """The URL in UTF-8, with our application name and a connect timeout where it has none."""
    try:
        _check_places(url)
        given: Mapping[str, Any] = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        unknown = _UNKNOWN_OPTION.fullmatch(str(error))
        # Not chained, not quoted: libpq's reason shows the part that it could not read, which may
        # be the password.
        raise Refused(
            f"the URL of {what} has the unknown option {unknown[1]}: remove it"
            if unknown
            else f"the URL of {what} is malformed: write postgresql://user:password@host:port/"
            "database, with every character of the password but letters and digits as %XX"
        ) from None
    defaults: dict[str, Any] = {
        "application_name": _APPLICATION,
        "connect_timeout": str(_CONNECT_SECONDS),
    }
    # Whatever the URL or PGCLIENTENCODING say: Arrow's texts and psycopg's names are UTF-8.
    return make_conninfo("", **(defaults | dict(given) | {"client_encoding": "UTF8"}))


def describe(connection: Connection) -> Server:
    """Version, encoding and role of the connected server."""
    row = connection.execute(query("server")).fetchone()
    assert row is not None
    return Server(**row)


def refuse_unsuitable(server: Server, url: str, connection: Connection) -> None:
    """Raise Refused for servers that cannot be backed up faithfully: too old, or SQL_ASCII."""
    del url, connection
    if server.major < OLDEST_SERVER:
        raise Refused(
            f"the server runs PostgreSQL {server.major}; version {OLDEST_SERVER} or newer is needed"
        )
    if server.encoding == "SQL_ASCII":
        raise Refused(
            f"database {server.database} has encoding SQL_ASCII, which promises nothing about its "
            "texts; convert it to UTF8 first"
        )


def _open(conninfo: str) -> Connection:
    return Connection.connect(
        conninfo, autocommit=True, row_factory=dict_row, prepare_threshold=None
    )


def _check_places(url: str) -> None:
    """Raise where libpq would take a part of the password for a host, a port or a database."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return
    authority, _, path = rest.partition("/")
    hosts = authority.partition("@")[2] if "@" in authority else authority
    if not _HOSTS.fullmatch(hosts.partition("?")[0]) or "@" in path.partition("?")[0]:
        raise psycopg.ProgrammingError("a part of the URL is in the wrong place")


def _refuse_transaction_pooler(connection: Connection, conninfo: str, what: str) -> None:
    """Raise Refused, and before any setting: one made there would be an application's next."""
    if connection.info.backend_pid != _backend(connection) and _is_transaction_pooler(conninfo):
        raise Refused(
            f"the URL of {what} leads to a transaction pooler, where snapshots and locks do not "
            "hold; use the direct connection or the session pooler (on Supabase port 5432, not "
            "6543)"
        )


@cache
def _is_transaction_pooler(conninfo: str) -> bool:
    """Whether a session's server process changes while another session holds a transaction."""
    with _open(conninfo) as first, _open(conninfo) as second:
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
