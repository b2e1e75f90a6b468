"""A short look at the live database: could it be backed up whole now, and how many rows it has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.exporting.preflight import refuse_unreadable
from backup_pipelines.health.finding import READABLE, Finding
from backup_pipelines.messages.scrub import scrub
from backup_pipelines.modules import assign
from backup_pipelines.postgres.connection import (
    Connection,
    connected,
    describe,
    refuse_unsuitable,
)
from backup_pipelines.postgres.introspect import LiveTable, list_tables
from backup_pipelines.postgres.row_counts import RowCount, count_rows
from backup_pipelines.system import System

# A look must not hang on a server that has gone: somebody else waits for what it finds.
_CONNECT_SECONDS = 5
_STATEMENT_SECONDS = 15
_UNANSWERED = {"keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "2"}

_LONGEST = 2000

_Use = Callable[[Connection, Sequence[LiveTable]], None]


@dataclass(frozen=True)
class Counted:
    """What preflight says, and how many rows each table has that belongs to a backup."""

    finding: Finding
    rows: Mapping[str, RowCount] | None
    """By qualified name; None where the database cannot be read whole."""


def look_and_count(system: System, url: str) -> Counted:
    """What `look` says, and how many rows there are, in seconds whatever there is."""
    found: dict[str, RowCount] = {}
    finding = _look(system, url, lambda link, tables: found.update(count_rows(link, tables)))
    return Counted(finding, found if finding.status == "ok" else None)


def look(system: System, url: str) -> Finding:
    """What preflight says of the system's database at `url`; never raises for what is wrong there.

    Database down or credentials wrong is an error with the reason.
    """
    return _look(system, url, None)


def _look(system: System, url: str, use: _Use | None) -> Finding:
    name = system.system
    try:
        tables = _preflight(system, _impatient(url), use)
    except Refused as error:
        return _red(
            str(error),
            f"Do what it says in the database of {name}; until then each backup is refused.",
        )
    except (BackupError, psycopg.Error) as error:
        return _red(
            " ".join(str(error).split()),
            f"Look whether the server of {name} is up, and whether {system.database_url_env} has "
            "the right address, role and password.",
        )
    return Finding(
        guard=READABLE,
        status="ok",
        message=f"All {tables} tables may be read whole.",
        numbers={"tables": tables},
    )


def _preflight(system: System, url: str, use: _Use | None) -> int:
    """How many tables there are; those that a backup holds are given to `use`."""
    doing = f"health {system.system}"
    with connected(url, what=f"the database of {system.system}", doing=doing) as connection:
        limit = f"{_STATEMENT_SECONDS}s"
        connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", [limit])
        server = describe(connection)
        refuse_unsuitable(server, url, connection)
        tables = list_tables(connection, system.schemas)
        roots = [table.qualified for table in tables if table.partition_of is None]
        assignment = assign(system, roots)
        wanted = assignment.entry_of().keys()
        chosen = [table for table in tables if table.root in wanted]
        refuse_unreadable(connection, system, server.role, tables, chosen, assignment.missing)
        if use is not None:
            use(connection, chosen)
        return len(roots)


def _impatient(url: str) -> str:
    """The URL with short timeouts, whatever longer ones it names."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # `connected` says what is wrong with it, without showing it.
        return url
    wanted = str(given.get("connect_timeout", ""))
    seconds = min(int(wanted), _CONNECT_SECONDS) if wanted.isdecimal() else _CONNECT_SECONDS
    # libpq takes 0 for no limit.
    limit = {"connect_timeout": str(seconds or _CONNECT_SECONDS)}
    return make_conninfo("", **(_UNANSWERED | dict(given) | limit))


def _red(message: str, advice: str) -> Finding:
    # It is kept in the store and sent to people.
    said = scrub(message)[:_LONGEST]
    return Finding(guard=READABLE, status="error", message=said, advice=advice)
