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
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.standby import ADVICE, grant, replayed
from backup_pipelines.preflighting.line import Line, each, not_checked, ok, warning, wrong
from backup_pipelines.system import OTHER, System
from backup_pipelines.wording import count, moment, size

# Schedules allow for a minute; servers of S3 refuse what is dated a quarter of an hour off.
_CLOCK_SECONDS = 60.0

_STATEMENT_TIMEOUT = "60s"

# What PostgreSQL shows of a standby that waits for readers as long as they like.
_FOR_EVER = "-1"

_BEHIND_SECONDS = 60.0


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
    doing = f"preflight {system.system}"
    with connected(url, what=f"the database of {system.system}", doing=doing) as connection:
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
        yield from _standby(server, connection)


def _standby(server: Server, connection: Connection) -> Iterator[Line]:
    """What is different where the source is a standby."""
    row = connection.execute(query("standby_settings")).fetchone()
    assert row is not None
    delays, feedback = (row["streaming_delay"], row["archive_delay"]), row["has_feedback"]
    if {*delays} == {_FOR_EVER}:
        meanwhile = (
            "on: its primary keeps dead rows while a backup reads"
            if feedback
            else "off: its rows may grow old while a backup reads, and its primary does not notice"
        )
        yield ok(
            "standby",
            "the server is a standby, whose replay waits for a backup for ever; "
            f"hot_standby_feedback is {meanwhile}",
        )
    else:
        yield warning(
            "standby",
            f"the server is a standby: its replay waits {_waits(delays[0])} for a backup "
            f"(max_standby_streaming_delay), {_waits(delays[1])} where its log comes from the "
            "archive (max_standby_archive_delay), and then ends it; hot_standby_feedback is "
            f"{'on' if feedback else 'off'}",
            f"{ADVICE[0].upper()}{ADVICE[1:]}.",
        )
    yield _replay(server, connection)


def _replay(server: Server, connection: Connection) -> Line:
    has = replayed(connection)
    if has.is_hidden:
        return warning(
            "replay",
            f"role {server.role} may not see how far the standby is behind its primary: backups "
            "will be dated by the last commit that was replayed, however long ago that was",
            f"On the primary: {grant(server.role)}",
        )
    if has.until is None or (server.now - has.until).total_seconds() <= _BEHIND_SECONDS:
        return ok("replay", "the standby has all that its primary had a minute ago")
    return warning(
        "replay",
        f"the standby surely has what was committed by {moment(has.until)}, and nothing else is "
        "known",
        "Look whether it still follows its primary: a backup holds what the standby has.",
    )


def _waits(delay: str) -> str:
    return "for ever" if delay == _FOR_EVER else f"{delay} at most"


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
    tables = list_tables(connection, system.schemas)
    assignment = assign(system, [t.qualified for t in tables if t.partition_of is None])
    wanted = assignment.entry_of().keys()
    seen.chosen = [table for table in tables if table.root in wanted]
    problems = find_problems(
        connection, system, server.role, tables, seen.chosen, assignment.missing
    )
    seen.readable = not (problems.unreadable or problems.sequences or problems.unlogged)
    yield from _modules(assignment, problems)
    roots = sum(table.partition_of is None for table in tables)
    unreadable = (*problems.unreadable, *problems.unlogged)
    yield from each("tables", unreadable, f"all {count(roots, 'table')} may be read")
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
        dump_section(
            own,
            name,
            program=program,
            snapshot=row["name"],
            schemas=system.schemas,
            doing=f"preflight {system.system}",
        )
        for name in ("pre-data", "post-data")
    ]
    read = size(sum(len(section.encode()) for section in sections))
    yield ok("DDL", f"pg_dump read {read} in {time.monotonic() - started:.1f} s")
