"""Connections to PostgreSQL: settings that make values print the same everywhere, and refusals."""

import contextlib
import re
import time
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
# PostgreSQL cuts longer ones off.
_LONGEST_APPLICATION = 63

_CONNECT_SECONDS = 10

# A leader says nothing while others read, and what lies between forgets a silent connection after
# some minutes; a peer that is gone is noticed in three.
_KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "60",
    "keepalives_interval": "15",
    "keepalives_count": "8",
}

_PATIENCE_SECONDS = 3.0
_POLL_SECONDS = 0.1

# Enough turns to make a pooler that deals its servers round robin show itself.
_POOLER_PROBES = 3

# What libpq takes for hosts and ports; anything else is a part of a password with an unescaped
# character, and must not be shown.
_HOST = r"(\[[^\]@/]*\]|[^\[\]:@/,]*)(:\d*)?"
_HOSTS = re.compile(rf"{_HOST}(,{_HOST})*")

# What was found of each URL that leads to a pooler, for the life of the process.
_POOLERS: dict[str, bool] = {}

_UNKNOWN_OPTION = re.compile(r'invalid URI query parameter: "(\w+)"\s*')

Connection = psycopg.Connection[dict[str, Any]]


class Patience:
    """A few seconds in which a connection beside one that stands is tried for again.

    A session that was closed just now keeps its place until its server process has ended, and a
    full server may have a free one soon.
    """

    def __init__(self) -> None:
        self._until = time.monotonic() + _PATIENCE_SECONDS

    def lasts(self) -> bool:
        """Whether to try once more; waits a moment before it says so."""
        time.sleep(_POLL_SECONDS)
        return time.monotonic() < self._until


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


def connect(url: str, *, what: str = "the database", doing: str = "") -> Connection:
    """An autocommit connection with our settings; raises Failed when there is none to be had.

    Raises Refused for a malformed URL and for a transaction pooler. `what` names the database in
    errors; the URL itself may hold a password and is not shown. `doing` is of `with_defaults`.
    """
    conninfo = with_defaults(url, what=what, doing=doing)
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
        reason = " ".join(str(error).split())
        raise Failed(
            f"cannot connect to {what}: {reason}; see that the server is up and its URL is right"
        ) from error
    return connection


def roll_back(connection: Connection) -> None:
    """End the transaction; a session that has ended has none, and must not hide why it did."""
    with contextlib.suppress(psycopg.Error):
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def connected(url: str, *, what: str = "the database", doing: str = "") -> Generator[Connection]:
    """`connect`, closed at the end of the block."""
    connection = connect(url, what=what, doing=doing)
    try:
        yield connection
    finally:
        connection.close()


def with_defaults(url: str, *, what: str = "the database", doing: str = "") -> str:
    """The URL in UTF-8 and under our name; with timeouts where it has none of its own.

    `doing` says what the session is for, verb and system: `backup crm`. Who looks at the server's
    sessions sees `backup_pipelines backup crm`, whatever name the URL has: it is the application's.
    """
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
    defaults: dict[str, Any] = {"connect_timeout": str(_CONNECT_SECONDS), **_KEEPALIVES}
    ours = {
        "application_name": f"{_APPLICATION} {doing}".strip()[:_LONGEST_APPLICATION],
        # Whatever PGCLIENTENCODING says: Arrow's texts and psycopg's names are UTF-8.
        "client_encoding": "UTF8",
    }
    return make_conninfo("", **(defaults | dict(given) | ours))


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
    if connection.info.backend_pid != _backend(connection) and _is_transaction_pooler(
        connection, conninfo
    ):
        raise Refused(
            f"the URL of {what} leads to a transaction pooler, where snapshots and locks do not "
            "hold; use the direct connection or the session pooler (on Supabase port 5432, not "
            "6543)"
        )


def _is_transaction_pooler(first: Connection, conninfo: str) -> bool:
    """Whether a session's server process changes while another session holds a transaction."""
    place = make_conninfo(conninfo, application_name="")
    if place not in _POOLERS:
        with _open(conninfo) as second:
            _POOLERS[place] = any(_changes(first, second) for _ in range(_POOLER_PROBES))
    return _POOLERS[place]


def _changes(first: Connection, second: Connection) -> bool:
    before = _backend(first)
    with second.transaction():
        return _backend(second) == before or _backend(first) != before


def _backend(connection: Connection) -> int:
    row = connection.execute("SELECT pg_catalog.pg_backend_pid() AS pid").fetchone()
    assert row is not None
    return int(row["pid"])
