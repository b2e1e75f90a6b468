"""Rows of a file as if they had been read and laid aside, and what their validation says."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from backup_pipelines.csv.catalog import TableFacts, describe_tables
from backup_pipelines.csv.checking import Checked, check_rows
from backup_pipelines.csv.incoming import (
    LINE,
    AskedImport,
    FileForm,
    ImportMode,
    Incoming,
    Reading,
)
from backup_pipelines.csv.problems import Problem, problems
from backup_pipelines.manifest import Column, Part, Table
from backup_pipelines.postgres.connection import Connection, connected
from backup_pipelines.postgres.introspect import list_tables, with_columns
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.scratch import scratch_folder
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import ignore

FORM = FileForm("UTF-8", ",", False, "UTF-8, separated by commas")

Rows = Sequence[Sequence[str | None]]


@dataclass(frozen=True)
class File:
    """A file for a table, by its rows; the first is in line 2."""

    table: str
    columns: tuple[str, ...]
    rows: Rows
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.table.removeprefix('public.')}.csv"


@dataclass(frozen=True)
class Looked:
    """What a validation found."""

    checked: Mapping[str, Checked]
    problems: tuple[Problem, ...]

    @property
    def said(self) -> list[tuple[int, str, str | None, str]]:
        """Line, column, value and kind of every problem, in the problems' order."""
        return [(p.line, p.column, p.value, p.kind) for p in self.problems]

    def counts(self, table: str) -> tuple[int, int, int, int]:
        """Rows of a table to insert, to update, unchanged and rejected."""
        one = self.checked[table]
        return one.insert, one.update, one.unchanged, one.rejected

    def reason(self, line: int, kind: str) -> str:
        """The one reason of a kind in a line."""
        (found,) = [p.reason for p in self.problems if p.line == line and p.kind == kind]
        return found

    def warnings(self, table: str) -> tuple[str, ...]:
        """The warnings of a table."""
        return self.checked[table].warnings


def look(
    url: str,
    folder: Path,
    *files: File,
    mode: ImportMode = "insert",
    keys: Mapping[str, tuple[str, ...]] | None = None,
    accepted: frozenset[str] = frozenset(),
) -> Looked:
    """Validate files as an import does, in a transaction that is rolled back."""
    with connected(url) as connection, scratch_folder() as beside, problems(beside) as found:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        facts = facts_of(connection, [file.table for file in files])
        store = Store((folder / "laid").as_uri())
        incoming = [lay(store, facts[file.table], file) for file in files]
        asked = AskedImport(
            folder, Selection(), mode, keys or {}, accepted=accepted, reading=Reading()
        )
        checked = check_rows(connection, store, incoming, asked, found, ignore)
        connection.execute("ROLLBACK")
        return Looked(
            {one.incoming.table.qualified: one for one in checked}, tuple(found.in_order())
        )


def facts_of(connection: Connection, tables: Sequence[str]) -> dict[str, TableFacts]:
    """What is known of tables."""
    lives = [table for table in list_tables(connection) if table.qualified in tables]
    described = describe_tables(connection, with_columns(connection, lives), lookups=False)
    return {facts.table.qualified: facts for facts in described}


def lay(store: Store, facts: TableFacts, file: File) -> Incoming:
    """Lay the rows of a file aside, as reading it does."""
    lines = list(range(2, len(file.rows) + 2))
    texts = [pa.array([row[n] for row in file.rows], pa.string()) for n in range(len(file.columns))]
    arrays = pa.Table.from_arrays([pa.array(lines, pa.int64()), *texts], [LINE, *file.columns])
    return laid(store, facts, file, iter([arrays]), len(lines))


def laid(
    store: Store, facts: TableFacts, file: File, batches: Iterator[pa.Table], rows: int
) -> Incoming:
    """The same of batches that have the column LINE."""
    out, key = BytesIO(), f"{facts.table.qualified}.parquet"
    schema = pa.schema([(LINE, pa.int64()), *((name, pa.string()) for name in file.columns)])
    with pq.ParquetWriter(out, schema, write_page_checksum=True) as writer:
        for batch in batches:
            writer.write_table(batch)
    data = out.getvalue()
    store.put_new(key, data)
    sha256 = hashlib.sha256(data).hexdigest()
    live = {column.name: column for column in facts.table.columns}
    table = Table(
        schema=facts.table.schema,
        name=facts.table.name,
        module="all",
        columns=tuple(_as_text(live[name].described()) for name in file.columns),
        primary_key=facts.table.primary_key,
        rows=rows,
        digest="",
        size_bytes=len(data),
        source_bytes=0,
        seconds=0,
        parts=(Part(key=key, rows=rows, size_bytes=len(data), sha256=sha256, digest=""),),
    )
    headers = {name: file.headers.get(name, name) for name in file.columns}
    return Incoming(file.name, facts, FORM, file.columns, headers, (), table)


def _as_text(column: Column) -> Column:
    return column.model_copy(update={"encoding": "text", "arrow_type": "string"})


@contextmanager
def in_transaction(url: str) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back."""
    with connected(url) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        yield connection
        connection.execute("ROLLBACK")
