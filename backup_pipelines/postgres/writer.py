"""Rows from parts into a table by COPY, which checks everything and truncates nothing.

Rows go in the binary form of their types where all columns have one (binary_copy.py), else as CSV:
with every value quoted it keeps NULL (nothing) and '' (two quotes) apart, and PostgreSQL's own
input functions read the text forms exactly.
"""

from binascii import hexlify
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from io import BytesIO
from typing import Any, cast

import psycopg
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from psycopg import sql

from backup_pipelines import layout
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.manifest import Part, Table
from backup_pipelines.postgres.ahead import Sent, ahead
from backup_pipelines.postgres.binary_copy import HEADER, TRAILER, BinaryForm, binary_form
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.json_reading import Hashed, parsed
from backup_pipelines.progress import Step, uncounted
from backup_pipelines.storage.store import Store

# Rows that are turned into CSV at once: some MB, so memory stays flat and COPY stays busy.
_BATCH_ROWS = 10_000

_CSV = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute


def stored_batches(store: Store, table: Table, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a table from all its parts, the named columns only; raises Damaged.

    From JSON Lines every value comes as PostgreSQL's text, from Parquet as its column is stored.
    """
    for part in table.parts:
        in_lines = layout.is_json_lines(part.key)
        read = _from_json_lines if in_lines else _from_parquet
        try:
            yield from read(store, table, part, columns)
        except (pa.ArrowException, OSError) as error:
            what = "JSON Lines" if in_lines else "Parquet"
            raise Damaged(f"{store.uri(part.key)} cannot be read as {what}: {error}") from error


def _from_parquet(
    store: Store, table: Table, part: Part, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(store.open_input(part.key), page_checksum_verification=True) as file:
        # The pages have checksums, the footer that says where they are has none.
        _refuse_other_rows(store, part, file.metadata.num_rows)
        # By number: to Parquet the name "a" means "a.b" as well. A row group at a time: it is as
        # large as one batch of the reader, however large a single row is.
        for group in range(file.num_row_groups):
            # More than is wanted may come, but little, and nothing else is read of the file.
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=list(columns)):
                names = batch.schema
                yield batch.select([names.get_field_index(name) for name in columns])


def _from_json_lines(
    store: Store, table: Table, part: Part, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    rows = 0
    with closing(store.open_input(part.key)) as stored:
        source = Hashed(stored)
        for batch, _ in parsed(source, [column.name for column in table.columns], columns):
            rows += batch.num_rows
            yield batch
    _refuse_other_rows(store, part, rows)
    # Lines have no checksums of their own; age files have.
    if not layout.is_encrypted(part.key) and source.seen() != (part.size_bytes, part.sha256):
        raise Damaged(f"{store.uri(part.key)} has other bytes than were written")


def _refuse_other_rows(store: Store, part: Part, rows: int) -> None:
    if rows != part.rows:
        raise Damaged(f"{store.uri(part.key)} has {rows:,} rows instead of {part.rows:,}")


def insertable(table: Table) -> list[str]:
    """The columns that take values: generated ones are computed again."""
    return [column.name for column in table.columns if not column.generated]


def copy_table(connection: Connection, store: Store, table: Table, step: Step = uncounted) -> None:
    """Load all rows of a table in one COPY; raises Failed with PostgreSQL's reason."""
    columns = insertable(table)
    target = sql.Identifier(table.schema_name, table.name)
    try:
        if not columns:
            rows = sql.SQL(
                "INSERT INTO {} SELECT FROM pg_catalog.generate_series(1, {})"
                if not table.columns
                else "INSERT INTO {} DEFAULT VALUES"
            )
            _insert_without_columns(connection, rows, target, table)
            return
        form = binary_form(connection, table, columns, partial(stored_batches, store, table))
        batches = stored_batches(store, table, columns)
        copy_batches(connection, target, columns, batches, step, form)
    except psycopg.Error as error:
        raise Failed(f"{table.qualified} cannot be loaded: {str(error).strip()}") from error


def copy_batches(
    connection: Connection,
    target: sql.Composable,
    columns: Sequence[str],
    batches: Iterable[pa.RecordBatch],
    step: Step = uncounted,
    form: BinaryForm | None = None,
) -> None:
    """Stream batches into the target's columns by one COPY (self references load in any order).

    As CSV, from which PostgreSQL reads any type, or in a form that fits the target's own types.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
        target,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL("FORMAT binary" if form else "FORMAT csv, ENCODING 'UTF8'"),
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        if form:
            copy.write(HEADER)
        with closing(ahead(_sent(batches, form))) as pieces:
            for piece, rows in pieces:
                copy.write(piece)
                step(rows)
        if form:
            copy.write(TRAILER)


def _sent(batches: Iterable[pa.RecordBatch], form: BinaryForm | None) -> Generator[Sent]:
    for batch in batches:
        yield form.encoded(batch) if form else to_csv(batch), batch.num_rows


def to_csv(batch: pa.RecordBatch) -> bytes:
    """A batch as the CSV that PostgreSQL's COPY reads back to the same values."""
    sink = BytesIO()
    arrays = [_printable(column) for column in batch.columns]
    pacsv.write_csv(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names), sink, _CSV)
    return sink.getvalue()


def _printable(values: pa.Array) -> pa.Array:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_fixed_size_binary(values.type):
        return hex_of(values.cast(pa.binary()), prefix="")
    if pa.types.is_binary(values.type):
        return hex_of(values, prefix="\\x")
    if pa.types.is_timestamp(values.type) and values.type.tz:
        return _in_utc(values)
    return values


def _in_utc(values: pa.Array) -> pa.Array:
    """Moments as Arrow's CSV prints them, which takes ten times as long over a time zone."""
    kind = pa.large_string()
    texts = values.cast(pa.timestamp("us")).cast(kind)
    return _compute.binary_join_element_wise(texts, pa.scalar("Z", kind), pa.scalar("", kind))


def hex_of(values: pa.Array, prefix: str) -> pa.Array:
    """Hex digits of every value, computed on the whole buffer at once."""
    kind = pa.large_string()
    if not len(values):
        return pa.array([], kind)
    _, ends, data = values.buffers()
    bounds = pa.Array.from_buffers(
        pa.int32(), len(values) + 1, [None, ends], offset=values.offset
    ).cast(pa.int64())
    first, last = bounds[0].as_py(), bounds[len(values)].as_py()
    digits = pa.py_buffer(hexlify(memoryview(data)[first:last]) if data is not None else b"")
    doubled = _compute.multiply(_compute.subtract(bounds, first), 2).buffers()[1]
    text = pa.Array.from_buffers(kind, len(values), [None, doubled, digits])
    joined = _compute.binary_join_element_wise(
        pa.scalar(prefix, kind), cast(Any, text), pa.scalar("", kind)
    )
    return _compute.if_else(_compute.is_valid(values), joined, pa.scalar(None, kind))


def _insert_without_columns(
    connection: Connection, statement: sql.SQL, target: sql.Identifier, table: Table
) -> None:
    if not table.columns:
        if table.rows:
            connection.execute(statement.format(target, table.rows))
        return
    for _ in range(table.rows):
        connection.execute(statement.format(target))
