"""Reading tables into parts, inside the snapshot, in bounded memory.

ADBC reads PostgreSQL's binary COPY into Arrow batches; every batch is checked against its codecs'
guards, named, and written. Nothing holds more than a few batches whatever the table's size.
"""

import contextlib
import os
import queue
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Part
from backup_pipelines.postgres import adbc
from backup_pipelines.postgres.connection import Patience, with_defaults
from backup_pipelines.postgres.introspect import LiveColumn, LiveTable
from backup_pipelines.postgres.part_files import part_file
from backup_pipelines.postgres.projection import Pages, export_query, to_digest
from backup_pipelines.postgres.queries import query
from backup_pipelines.source_load import Throttle
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.encrypting import EncryptingWriter
from backup_pipelines.storage.object_writer import ObjectWriter
from backup_pipelines.storage.reading import read_back
from backup_pipelines.storage.store import Store

# An encrypted or damaged part is read as a whole, so parts stay at most about this large.
_PART_BYTES = 240 * 1024 * 1024

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute

# SQLSTATE of LOCK ... NOWAIT when somebody else is before us.
_LOCK_NOT_AVAILABLE = "55P03"

BACKUP_ADBC_DRIVER = "BACKUP_ADBC_DRIVER"

FIELD_TYPE = b"postgresql:type"
FIELD_ENCODING = b"backup_pipelines:encoding"


class OutOfRange(Exception):
    """Columns hold values that their native form cannot: they must travel as text."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(", ".join(columns))
        self.columns = tuple(columns)

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is otherwise made anew of its message.
        return type(self), (self.columns,)


@dataclass(frozen=True)
class Piece:
    """What one task reads: a table, or the heap pages `[first, end)` of it."""

    table: LiveTable
    number: int = 0
    pages: Pages | None = None
    earlier: tuple[Part, ...] = ()
    """What an earlier backup has of the same rows, if they are still the same."""


Passed = Callable[[Piece, int, int], None]
"""Is told of each batch of a piece: its rows, and its bytes in Arrow's form."""


def _untold(piece: Piece, rows: int, size: int) -> None:
    del piece, rows, size


class Lender(Protocol):
    """What lends connections that have imported the snapshot, on this machine or another."""

    def lent(self) -> contextlib.AbstractContextManager[adbc.Session]:
        """A connection inside the snapshot, for one task at a time."""
        ...

    def watched(self, piece: Piece, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of a piece, no faster than the throttle lets them pass."""
        ...

    def charge(self, size: int) -> None:
        """Note that the server has read so many bytes that did not come here."""
        ...

    def tell(self, passed: Passed) -> None:
        """Tell `passed` of each batch from now on, where batches can be seen."""
        ...

    def stop(self) -> None:
        """End the reading that waits for the throttle, where it can be reached."""
        ...


@dataclass
class Readers:
    """Connections that have imported the snapshot, lent to one task at a time."""

    url: str
    snapshot: str
    doing: str = ""
    """What the server's sessions are called by: `backup crm`."""
    throttle: Throttle = field(default_factory=Throttle)
    _passed: Passed = _untold
    _idle: "queue.SimpleQueue[adbc.Session]" = field(default_factory=queue.SimpleQueue)

    @contextlib.contextmanager
    def lent(self) -> Generator[adbc.Session]:
        """A connection inside the snapshot; one that fails is closed, not lent again."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._open()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def watched(self, piece: Piece, batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """The batches of a piece, no faster than the throttle lets them pass."""
        for batch in batches:
            self.throttle.passed(batch.nbytes)
            self._passed(piece, batch.num_rows, batch.nbytes)
            yield batch

    def charge(self, size: int) -> None:
        """Note that the server has read so many bytes that did not come here."""
        self.throttle.passed(size)

    def tell(self, passed: Passed) -> None:
        """Tell `passed` of each batch from now on."""
        self._passed = passed

    def stop(self) -> None:
        """End the reading: who waits for the throttle, or comes by, fails at once."""
        self.throttle.stop()

    def close(self) -> None:
        """Close every connection that is not lent."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _open(self) -> adbc.Session:
        connection = _connected(with_defaults(self.url, doing=self.doing))
        try:
            # ADBC has sent BEGIN already: these two must be the transaction's first statements.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(f"SET TRANSACTION SNAPSHOT '{self.snapshot}'")
            connection.execute(query("settings"))
        except BaseException:
            connection.close()
            raise
        return connection


def _connected(conninfo: str) -> adbc.Session:
    patience, driver = Patience(), os.environ.get(BACKUP_ADBC_DRIVER)
    if driver and not Path(driver).is_file():
        raise Refused(
            f"{BACKUP_ADBC_DRIVER} names {driver}, which is no file: set it to the driver's "
            "library, or remove it"
        )
    while True:
        try:
            return adbc.Session(conninfo, driver)
        except adbc.Error:
            if not patience.lasts():
                raise


def file_schema(table: LiveTable) -> pa.Schema:
    """The Arrow schema of a table's rows; each field says its PostgreSQL type and encoding."""
    return pa.schema(
        [
            pa.field(
                column.name,
                column.codec.arrow,
                metadata={FIELD_TYPE: column.type, FIELD_ENCODING: column.codec.encoding},
            )
            for column in table.columns
        ]
    )


def export_piece(
    readers: Lender,
    store: Store,
    piece: Piece,
    key_of: Callable[[int, int], str],
    recipients: Recipients | None = None,
    format: Format = "parquet",
) -> list[Part]:
    """Read one piece into as many parts as its size needs, each read back from the store.

    `key_of(number, overflow)` names the parts. Raises OutOfRange when a value needs the text
    form, Damaged when an object reads back different, Failed when the reading breaks off, and
    adbc.Error when PostgreSQL refuses the query.
    """
    with readers.lent() as connection:
        lock_now(connection, piece.table)
        statement = export_query(piece.table, piece.pages).as_string()
        with connection.batches(statement) as found:
            batches = readers.watched(piece, found)
            return _write_parts(store, piece, batches, key_of, recipients, format)


def _write_parts(
    store: Store,
    piece: Piece,
    batches: Any,
    key_of: Callable[[int, int], str],
    recipients: Recipients | None,
    format: Format,
) -> list[Part]:
    schema = file_schema(piece.table)
    source = _batches(batches, piece.table)
    parts: list[Part] = []
    head = next(source, None)
    while head is not None or not parts:
        key = key_of(piece.number, len(parts))
        with store.writer(key, recipients) as sink:
            rows, total, head = _write_one(sink, format, schema, piece.table, head, source)
        read_back(store, key, sink.size_bytes, sink.sha256)
        first, end = piece.pages or (None, None)
        parts.append(
            Part(
                key=key,
                rows=rows,
                size_bytes=sink.size_bytes,
                sha256=sink.sha256,
                digest=to_digest(total),
                first_page=first,
                end_page=end,
            )
        )
    return parts


def _write_one(
    sink: ObjectWriter | EncryptingWriter,
    format: Format,
    schema: pa.Schema,
    table: LiveTable,
    head: pa.RecordBatch | None,
    source: Iterator[pa.RecordBatch],
) -> tuple[int, int, pa.RecordBatch | None]:
    """Write one part; returns its rows, the sum of its hashes and the next part's first batch."""
    rows = total = 0
    with part_file(format, sink, schema, head) as write:
        while head is not None and sink.size_bytes < _PART_BYTES:
            converted, hashes = convert(head, schema, table)
            write(converted)
            rows += head.num_rows
            total += hashes
            head = next(source, None)
    return rows, total, head


def convert(
    batch: pa.RecordBatch, schema: pa.Schema, table: LiveTable
) -> tuple[pa.RecordBatch, int]:
    """A batch as it is stored and the sum of its row hashes; raises OutOfRange."""
    outside = [
        column.name
        for number, column in enumerate(table.columns)
        if not _holds(column, batch.column(number))
    ]
    if outside:
        raise OutOfRange(outside)
    # Not by to_numpy, which imports pandas.
    hashes = np.from_dlpack(batch.column(batch.num_columns - 1))
    columns = [_cast(batch.column(number), column) for number, column in enumerate(table.columns)]
    total = int(np.sum(hashes.view(np.uint64), dtype=np.uint64)) if len(hashes) else 0
    return pa.RecordBatch.from_arrays(columns, schema=schema), total


def _holds(column: LiveColumn, values: pa.Array) -> bool:
    """Whether the native form is exact for every one of these values."""
    if column.codec.encoding == "decimal":
        # NaN and the infinities are the only numerics that do not start with a digit or a sign
        # and a digit.
        return not _compute.any(_compute.match_substring_regex(values, r"^-?[NI]")).as_py()
    if column.codec.guard is None or values.null_count == len(values):
        return True
    numbers = values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    bounds = cast(dict[str, int], _compute.min_max(numbers).as_py())
    low, high = column.codec.guard
    return low <= bounds["min"] and bounds["max"] <= high


def _cast(values: pa.Array, column: LiveColumn) -> pa.Array:
    return values if values.type == column.codec.arrow else values.cast(column.codec.arrow)


def _batches(batches: Any, table: LiveTable) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            if batch.num_rows:
                yield batch
    except (adbc.Error, pa.ArrowException, OSError) as error:
        raise Failed(f"reading {table.qualified} broke off: {error}") from error


def lock_now(connection: adbc.Session, table: LiveTable) -> None:
    """Lock as pg_dump -j does: behind a waiting ALTER we would wait for ourselves."""
    name = table.identifier.as_string()
    try:
        connection.execute(f"LOCK TABLE ONLY {name} IN ACCESS SHARE MODE NOWAIT")
    except adbc.Error as error:
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        raise Failed(
            f"{table.qualified} cannot be locked for reading, an ALTER or TRUNCATE waits for it; "
            f"start again when that is over ({str(error).splitlines()[0]})"
        ) from error
