"""Importing CSV files through the restore engine: validated whole, planned, written, proved.

The rows of the files become what a backup's rows are to a restore, so that an import has the same
locks, safety backup, one transaction, proof and undo.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from backup_pipelines.csv.catalog import describe_tables
from backup_pipelines.csv.checking import Checked, check_rows
from backup_pipelines.csv.file_drift import drift_of_file
from backup_pipelines.csv.incoming import AskedImport, Incoming
from backup_pipelines.csv.intake import lay_aside
from backup_pipelines.csv.problems import Problems, problems
from backup_pipelines.csv.source import Found, find_files
from backup_pipelines.csv.tables import CsvTable, live_tables, other_tables
from backup_pipelines.csv.untouched import untouched
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.manifest import Sequence as SequencePosition
from backup_pipelines.plan import plan_verified
from backup_pipelines.postgres.connection import (
    Connection,
    Server,
    as_failed,
    connected,
    describe,
    refuse_unsuitable,
    roll_back,
)
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.sequences import beyond
from backup_pipelines.postgres.standby import refuse_standby
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.progress import Report
from backup_pipelines.restore import LiveRestore, LiveRestored, restore_verified
from backup_pipelines.restoring.planned import Plan
from backup_pipelines.restoring.scene import Rules
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.scratch import scratch_folder
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

WHAT = "import"


@dataclass(frozen=True)
class Validated:
    """Files whose every row was looked at; with problems, nothing of them can be imported."""

    asked: AskedImport
    entry: Manifest
    """The files' rows as if they were a backup's; its id is of their content."""
    store: Store
    """Of this import alone; goes with it."""
    incoming: Sequence[Incoming]
    checked: Sequence[Checked]
    problems: Problems
    warnings: tuple[str, ...]

    def request(self, plan_hash: str = "", lock_seconds: float = 30.0) -> LiveRestore:
        """What the restore engine is asked to do."""
        return LiveRestore(
            entry=self.entry,
            selection=Selection(tables=tuple(t.qualified for t in self.entry.tables)),
            mode=self.asked.mode,
            plan_hash=plan_hash,
            lock_seconds=lock_seconds,
            rules=Rules(what=WHAT, keys=self.asked.keys, drift=drift_of_file),
        )


@contextmanager
def validated(system: System, url: str, asked: AskedImport, report: Report) -> Generator[Validated]:
    """Read the files and validate every row against the live database, which is left as it is.

    `url` is of the role that would write. Raises Refused for files and tables that do not fit
    together, Failed when the database cannot be read.
    """
    broken_off = as_failed(f"the validation of files for {system.system} broke off")
    with scratch_folder() as folder, problems(folder) as found:
        store = Store((folder / "rows").as_uri())
        database, doing = f"the database of {system.system}", f"csv import {system.system}"
        with broken_off, connected(url, what=database, doing=doing) as connection:
            server = describe(connection)
            refuse_unsuitable(server, url, connection)
            refuse_standby(connection, system.system)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                result = _validated(connection, server, system, asked, store, found, report)
            finally:
                roll_back(connection)
        yield result


def plan_import(validated: Validated, url: str, report: Report) -> Plan | None:
    """What an import would write, row by row; None for files with problems, which none would."""
    if validated.problems.count:
        return None
    request = validated.request()
    return plan_verified(
        validated.store,
        validated.entry,
        url,
        selection=request.selection,
        mode=request.mode,
        report=report,
        rules=request.rules,
    )


def import_files(
    validated: Validated,
    url: str,
    *,
    plan_hash: str = "",
    lock_seconds: float = 30.0,
    safety: Callable[[frozenset[str]], Manifest] | None,
    report: Report,
) -> LiveRestored:
    """Write the rows of files without problems, all or none, after a safety backup.

    Raises Refused before anything is touched, Failed or NotEqual with everything rolled back.
    """
    if count := validated.problems.count:
        raise Refused(f"the files have {count:,} problems, so that nothing is imported")
    request = validated.request(plan_hash, lock_seconds)
    return restore_verified(request, url, validated.store, safety=safety, report=report)


def _validated(
    connection: Connection,
    server: Server,
    system: System,
    asked: AskedImport,
    store: Store,
    found: Problems,
    report: Report,
) -> Validated:
    started_at = datetime.now(UTC)
    tables = live_tables(connection, system, asked.selection)
    others = other_tables(connection, system, tables)
    is_named = not asked.selection.is_everything
    files = find_files(asked.source, tables, others, say_missing=is_named)
    chosen = [table for table in tables if table.qualified in files.by_table]
    _refuse_partitioned(chosen)
    described = describe_tables(connection, _live(chosen), lookups=False)
    facts = {one.table.qualified: one for one in described}
    incoming = lay_aside(asked, facts, files, store, found, report)
    unsuspected = replace(asked, accepted=asked.accepted | _as_exported(asked, files, incoming))
    checked = check_rows(connection, store, incoming, unsuspected, found, report)

    def numbers(table: Table, column: str) -> Iterator[Sequence[str | None]]:
        for batch in stored_batches(store, table, [column]):
            yield batch.column(0).to_pylist()

    with_rows = [one for one in incoming if one.table.rows]
    if not with_rows and not found.count:
        raise Refused(f"{asked.source} has no rows, only headers: fill them in first")
    # Numbers that are given must not be drawn again; with problems nothing is written at all.
    moved = [] if found.count else beyond(connection, [one.table for one in with_rows], numbers)
    return Validated(
        asked=asked,
        entry=_entry(server, system, with_rows, moved, started_at),
        store=store,
        incoming=incoming,
        checked=checked,
        problems=found,
        warnings=_warnings(files, incoming, checked),
    )


def _entry(
    server: Server,
    system: System,
    incoming: Sequence[Incoming],
    sequences: Sequence[SequencePosition],
    started_at: datetime,
) -> Manifest:
    tables = tuple(one.table for one in incoming)
    content = hashlib.sha256()
    for table in sorted(tables, key=lambda table: table.qualified):
        content.update(table.qualified.encode() + b"\0")
        for part in table.parts:
            content.update(part.sha256.encode())
    return Manifest(
        tool_version=version("backup_pipelines"),
        id=f"csv-{content.hexdigest()[:16]}",
        system=system.system,
        type="manual",
        scope="tables",
        modules=tuple(dict.fromkeys(table.module for table in tables)),
        created_by="",
        started_at=started_at,
        snapshot_at=server.now,
        created_at=datetime.now(UTC),
        server_version=server.version,
        database=server.database,
        tables=tables,
        foreign_keys=(),
        sequences=tuple(sequences),
        materialized_views=(),
        ddl=(),
        roles=(),
    )


def _as_exported(asked: AskedImport, files: Found, incoming: Sequence[Incoming]) -> frozenset[str]:
    """The columns of files that no spreadsheet can have changed since they were exported."""
    tables = untouched(asked.source, files)
    return frozenset(
        f"{one.table.qualified}.{column}"
        for one in incoming
        if one.table.qualified in tables
        for column in one.columns
    )


def _live(tables: Iterable[CsvTable]) -> list[LiveTable]:
    return [part for table in tables for part in table.parts if isinstance(part, LiveTable)]


def _refuse_partitioned(tables: Iterable[CsvTable]) -> None:
    for table in tables:
        names = [part.qualified for part in _live([table])]
        if names != [table.qualified]:
            raise Refused(
                f"{table.qualified} is partitioned, and an import does not know which row belongs "
                f"where: load it by COPY, which does; its partitions are {', '.join(names)}"
            )


def _warnings(
    files: Found, incoming: Sequence[Incoming], checked: Sequence[Checked]
) -> tuple[str, ...]:
    said = [*files.warnings]
    for one in incoming:
        said += [f"{one.file}: {text}" for text in one.warnings]
    for result in checked:
        said += [f"{result.incoming.file}: {text}" for text in result.warnings]
    return tuple(said)
