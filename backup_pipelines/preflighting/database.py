"""What a first backup needs of the database, all of it looked at in one moment by reading only."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psycopg

from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.exporting.preflight import Problems, find_problems
from backup_pipelines.modules import Assignment, Entry, assign
from backup_pipelines.postgres.connection import (
    OLDEST_SERVER,
    Connection,
    Server,
    connected,
    describe,
    refuse_unsuitable,
)
from backup_pipelines.postgres.introspect import LiveTable, list_left_out, list_tables
from backup_pipelines.postgres.pg_dump import (
    dump_section,
    find_pg_dump,
    with_conforming_strings,
)
from backup_pipelines.preflighting.line import Line, each, not_checked, ok, warning, wrong
from backup_pipelines.system import OTHER, System
from backup_pipelines.wording import count, size

# Schedules allow for a minute; servers of S3 refuse what is dated a quarter of an hour off.
_CLOCK_SECONDS = 60.0

_STATEMENT_TIMEOUT = "60s"


@dataclass
class Seen:
    """What was found on the way, for the checks that come after."""

    server: Server | None = None
    chosen: Sequence[LiveTable] = field(default_factory=list[LiveTable])
    """The tables that a full backup holds, partitions included."""
    readable: bool = False

    @property
    def table_bytes(self) -> int:
        """What all of them take in the database."""
        return sum(table.table_bytes for table in self.chosen)


def look(system: System, url: str, seen: Seen) -> Iterator[Line]:
    """Everything about the database at the URL."""
    with connected(url, what=f"the database of {system.system}") as connection:
        limit = [_STATEMENT_TIMEOUT]
        connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", limit)
        server = seen.server = describe(connection)
        yield ok(
            "connection",
            f"database {server.database} answers role {server.role}, by no transaction pooler",
        )
        yield from _server(server, url, connection)
        yield clock(server, datetime.now(UTC))
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            yield from _content(connection, system, server, seen)
            yield from _ddl(connection, system, server, url, seen)


def _server(server: Server, url: str, connection: Connection) -> Iterator[Line]:
    # One at a time: an old server must not hide its encoding.
    for check, found, alone in (
        ("version", f"PostgreSQL {server.major}", replace(server, encoding="UTF8")),
        ("encoding", server.encoding, replace(server, version=OLDEST_SERVER * 10000)),
    ):
        try:
            refuse_unsuitable(alone, url, connection)
        except Refused as error:
            yield wrong(check, str(error))
        else:
            yield ok(check, found)
    if server.is_standby:
        yield warning(
            "standby",
            "the server is a standby: it may end a backup that holds up its replay",
            "A backup that was ended is tried again; raise max_standby_streaming_delay if it is "
            "ended often.",
        )


def clock(server: Server, now: datetime) -> Line:
    """How far this machine's clock, which says `now`, is from the database's."""
    ahead = (now - server.now).total_seconds()
    said = f"this machine's is {abs(ahead):.1f} s {'ahead of' if ahead >= 0 else 'behind'}"
    if abs(ahead) <= _CLOCK_SECONDS:
        return ok("clock", f"{said} the database's")
    return warning(
        "clock",
        f"{said} the database's: schedules and the ages of backups will be off by as much",
        "Let both machines take their time from the same servers (NTP).",
    )


def _content(connection: Connection, system: System, server: Server, seen: Seen) -> Iterator[Line]:
    # Nothing is locked here: of a table that is dropped meanwhile PostgreSQL says NULL.
    found = list_tables(connection, system.schemas)
    tables = [t for t in found if t.may_select is not None]  # pyright: ignore[reportUnnecessaryComparison]
    assignment = assign(system, [t.qualified for t in tables if t.partition_of is None])
    wanted = assignment.entry_of().keys()
    seen.chosen = [table for table in tables if table.root in wanted]
    problems = find_problems(
        connection, system, server.role, tables, seen.chosen, assignment.missing
    )
    seen.readable = not (problems.unreadable or problems.sequences)
    yield from _modules(assignment, problems)
    roots = sum(table.partition_of is None for table in tables)
    yield from each("tables", problems.unreadable, f"all {count(roots, 'table')} may be read")
    yield from each("row security", problems.hidden, "hides no rows from this role")
    yield from each("sequences", problems.sequences, "all may be read")
    left_out = list_left_out(connection, system.schemas)
    if left_out:
        yield warning(
            "left out",
            "; ".join(f"{entry.name} ({entry.reason})" for entry in left_out),
            "No logical backup holds these: keep them by other means if they matter.",
        )


def _modules(assignment: Assignment, problems: Problems) -> Iterator[Line]:
    found = [entry for entry, names in assignment.tables.items() if names]
    modules = {entry.module for entry in found} - {OTHER}
    if not found:
        yield wrong(
            "modules",
            "the database has no table that a backup would hold",
            "Look whether the URL names the right database, and whether schemas and excluded in "
            "the YAML leave anything.",
        )
        return
    named = sum(len(assignment.tables[entry]) for entry in found if entry.module != OTHER)
    said = f"{count(named, 'table')} in {count(len(modules), 'module')}"
    if assignment.excluded:
        said += f", {count(len(assignment.excluded), 'table')} excluded"
    yield from each("modules", problems.missing, said)
    others = assignment.tables.get(Entry(OTHER, "other", OTHER), ())
    if others:
        yield warning(
            "module other",
            f"no module names {', '.join(others)}",
            "They are backed up all the same; name them in a module to find them there.",
        )


def _ddl(
    connection: Connection, system: System, server: Server, url: str, seen: Seen
) -> Iterator[Line]:
    """Whether pg_dump can do its part, by letting it: it sees more than any table."""
    try:
        program = find_pg_dump(server.major)
    except BackupError as error:
        yield wrong("pg_dump", str(error))
        return
    yield ok("pg_dump", f"{program}, of version {server.major} or newer")
    if not seen.readable:
        yield not_checked("DDL", "pg_dump locks what it describes, and some may not be read")
        return
    row = connection.execute("SELECT pg_catalog.pg_export_snapshot() AS name").fetchone()
    assert row is not None
    started = time.monotonic()
    own = url if server.strings_conform else with_conforming_strings(url)
    sections = [
        dump_section(own, name, program=program, snapshot=row["name"], schemas=system.schemas)
        for name in ("pre-data", "post-data")
    ]
    read = size(sum(len(section.encode()) for section in sections))
    yield ok("DDL", f"pg_dump read {read} in {time.monotonic() - started:.1f} s")
