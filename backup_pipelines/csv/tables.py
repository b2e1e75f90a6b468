"""Which tables a CSV command is about, in the live database or in a backup, and their files."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from backup_pipelines.csv import form as csv_form
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.exporting.preflight import refuse_hidden_rows
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.modules import Assignment, assign, select_modules
from backup_pipelines.postgres.connection import (
    Connection,
    as_failed,
    connected,
    describe,
    refuse_unsuitable,
)
from backup_pipelines.postgres.introspect import LiveTable, list_tables
from backup_pipelines.postgres.introspect import with_columns as with_table_columns
from backup_pipelines.postgres.snapshot import Snapshot, snapshot
from backup_pipelines.restoring.selection import Selection, select
from backup_pipelines.system import System, qualify


@dataclass(frozen=True)
class CsvTable:
    """One table as people mean it; of a partitioned one the rows are those of its partitions."""

    schema: str
    name: str
    module: str
    columns: tuple[csv_form.Column, ...]
    parts: tuple[LiveTable, ...] | tuple[Table, ...]
    """The tables that hold its rows: itself, or its partitions."""

    @property
    def qualified(self) -> str:
        """`schema.name` without quotes."""
        return f"{self.schema}.{self.name}"

    @property
    def file(self) -> str:
        """The name of its file."""
        return csv_form.file_name(self.schema, self.name)

    @property
    def importable(self) -> tuple[csv_form.Column, ...]:
        """The columns of its file."""
        return csv_form.importable(self.columns)


def live_tables(
    connection: Connection, system: System, selection: Selection
) -> tuple[CsvTable, ...]:
    """The selected tables as the connection's transaction sees them; all, where nothing is named.

    Raises Refused when they are not there, cannot be read, or would hide rows.
    """
    select_modules(system, selection.modules)
    choose = _Choice(system, selection, describe(connection).role, connection)
    chosen = choose(list_tables(connection, system.schemas))
    return _live_tables(with_table_columns(connection, chosen), choose.assignment)


def other_tables(
    connection: Connection, system: System, tables: Sequence[CsvTable]
) -> tuple[CsvTable, ...]:
    """The system's tables but these, by their names alone: columns and rows are not looked at."""
    roots = {
        t.qualified: t for t in list_tables(connection, system.schemas) if t.root == t.qualified
    }
    known = {table.qualified for table in tables}
    return tuple(
        CsvTable(roots[name].schema, roots[name].name, entry.module, (), ())
        for name, entry in assign(system, list(roots)).entry_of().items()
        if name not in known
    )


def refuse_nothing(selection: Selection) -> None:
    """Raise Refused when nothing was named."""
    if selection.is_everything:
        raise Refused("say of what: name at least one module or table")


def refuse_live_second(backup: str | None, which: str) -> None:
    """Raise Refused where the second store is asked for, and no backup."""
    if which == "second" and not backup:
        raise Refused("the second store has backups only: say which one, or leave it out")


def with_columns(tables: Sequence[CsvTable]) -> list[CsvTable]:
    """The tables that a file can be of; raises Refused when there are none."""
    found = [table for table in tables if table.importable]
    if not found:
        named = ", ".join(table.qualified for table in tables) or "the selection"
        raise Refused(f"{named} has no file: there are no columns that take values")
    return found


def of_backup(entry: Manifest, selection: Selection) -> tuple[CsvTable, ...]:
    """The selected tables of a backup; raises NotFound for what it does not hold."""
    chosen = sorted(select(entry, selection), key=lambda table: table.qualified)
    names = {table.qualified for table in chosen}
    return tuple(
        CsvTable(
            table.schema_name,
            table.name,
            table.module,
            table.columns,
            tuple(p for p in chosen if p.partition_of == table.qualified and p.kind == "table")
            if table.kind == "partitioned"
            else (table,),
        )
        for table in chosen
        if table.partition_of not in names
    )


@contextmanager
def live_snapshot(
    system: System, url: str, selection: Selection, what: str
) -> Generator[tuple[Snapshot, tuple[CsvTable, ...]]]:
    """The selected tables of the live database in one snapshot, read by its one connection.

    Raises Refused when they are not there, cannot be read, or would hide rows; Failed, saying
    `what` broke off, for anything that PostgreSQL refuses later.
    """
    refuse_nothing(selection)
    select_modules(system, selection.modules)
    broken_off = as_failed(f"{what} of {system.system} broke off")
    database, doing = f"the database of {system.system}", f"csv {system.system}"
    with broken_off, connected(url, what=database, doing=doing) as connection:
        server = describe(connection)
        refuse_unsuitable(server, url, connection)
        choice = _Choice(system, selection, server.role, connection)
        with snapshot(connection, system.schemas, choice) as moment:
            yield moment, _live_tables(moment.tables, choice.assignment)


@dataclass
class _Choice:
    """Picks the selected tables of those that the database has."""

    system: System
    selection: Selection
    role: str
    connection: psycopg.Connection[dict[str, Any]]
    assignment: Assignment = field(default_factory=lambda: Assignment({}, (), ()))

    def __call__(self, tables: Sequence[LiveTable]) -> Sequence[LiveTable]:
        roots = [table.qualified for table in tables if table.partition_of is None]
        self.assignment = assign(self.system, roots)
        named = {qualify(name) for name in self.selection.tables}
        self._refuse_unknown(named, {table.qualified for table in tables})
        modules = set(self.selection.modules)
        wanted = named | {
            name
            for entry, names in self.assignment.tables.items()
            if entry.module in modules
            for name in names
        }
        if self.selection.is_everything:
            wanted = set(self.assignment.entry_of())
        chosen = [t for t in tables if t.qualified in wanted or t.root in wanted]
        missing = [entry for entry in self.assignment.missing if entry.module in modules]
        refuse_hidden_rows(self.connection, self.system, self.role, chosen, missing)
        return chosen

    def _refuse_unknown(self, named: set[str], known: set[str]) -> None:
        for left in self.assignment.excluded:
            if left.name in named:
                raise Refused(
                    f"{left.name} is excluded from {self.system.system} ({left.reason}): remove "
                    f"it from `excluded` in defs/{self.system.system}/defs.yaml first"
                )
        unknown = sorted(named - known)
        if unknown:
            raise NotFound(
                f"the database of {self.system.system} has no table {', '.join(unknown)}; its "
                f"tables are {', '.join(sorted(known))}"
            )


def _live_tables(tables: Sequence[LiveTable], assignment: Assignment) -> tuple[CsvTable, ...]:
    entry_of = assignment.entry_of()
    names = {table.qualified for table in tables}
    ordered = sorted(tables, key=lambda table: table.qualified)
    return tuple(
        CsvTable(
            table.schema,
            table.name,
            entry_of[table.root].module,
            table.columns,
            tuple(p for p in ordered if p.partition_of == table.qualified and p.kind == "r")
            if table.kind == "p"
            else (table,),
        )
        for table in ordered
        if table.partition_of not in names
    )


Rows = Callable[[CsvTable], Generator[tuple[int, bytes]]]
"""Gives the lines of a table in pieces, each with how many they are."""
