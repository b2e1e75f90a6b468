"""The rows of all selected tables into parts, by several readers of one snapshot."""

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field

from adbc_driver_postgresql.dbapi import Error as AdbcError

from backup_pipelines import layout
from backup_pipelines.errors import Failed
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Part, Table
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.projection import add_digests, digest_query, to_digest
from backup_pipelines.postgres.reader import OutOfRange, Piece, Readers, export_piece
from backup_pipelines.postgres.snapshot import Snapshot
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.store import Store

# Several readers share a big table by pieces of about this much of it, TOAST included.
_PIECE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class Destination:
    """Where the parts of one backup go."""

    store: Store
    system: str
    backup_id: str
    recipients: Recipients | None = None
    """To whom the parts are encrypted."""
    format: Format = "parquet"

    def part_key(self, table: LiveTable, number: int, overflow: int) -> str:
        """The key of one part."""
        return layout.part_key(
            self.system,
            self.backup_id,
            table.schema,
            table.name,
            number,
            overflow,
            format=self.format,
            encrypted=self.recipients is not None,
        )


@dataclass
class _Pending:
    """A table of which some pieces are still being read."""

    table: LiveTable
    first_number: int = 0
    waiting: int = 0
    seconds: float = 0.0
    parts: list[Part] = field(default_factory=list)
    as_text: set[str] = field(default_factory=set)

    def pieces(self, block_size: int) -> list[Piece]:
        return pieces(self.table, block_size, self.first_number)


def pieces(table: LiveTable, block_size: int, first_number: int = 0) -> list[Piece]:
    """The table as one piece, or as ranges of heap pages of about 128 MB with their TOAST.

    The last range has no end: the table may have grown since its size was read.
    """
    pages = table.heap_bytes // block_size
    if table.table_bytes <= _PIECE_BYTES or pages < 2:
        return [Piece(table, first_number)]
    step = max(1, pages * _PIECE_BYTES // table.table_bytes)
    starts = list(range(0, pages, step))
    ends: list[int | None] = [*starts[1:], None]
    return [
        Piece(table, first_number + number, (start, end))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def export_tables(
    moment: Snapshot,
    modules: dict[str, str],
    readers: Readers,
    destination: Destination,
    workers: Executor,
) -> Iterator[Table]:
    """Every table of the snapshot, biggest first, described as soon as its last part is read back.

    `modules` gives the module of each root table. A table with values outside of a native form's
    range is read once more with those columns as text (still in the same snapshot).
    """
    running: dict[Future[tuple[list[Part], float]], _Pending] = {}

    def submit(pending: _Pending) -> None:
        for piece in pending.pieces(moment.server.block_size):
            future = workers.submit(_timed, readers, destination, piece)
            running[future] = pending
            pending.waiting += 1

    try:
        for table in sorted(moment.tables, key=lambda t: (-t.table_bytes, t.qualified)):
            if table.kind == "p" or not table.columns:
                yield _without_parts(moment, table, modules[table.root])
            else:
                submit(_Pending(table))
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                pending = running.pop(future)
                _collect(pending, future)
                if pending.waiting:
                    continue
                if pending.as_text:
                    destination.store.delete([part.key for part in pending.parts])
                    submit(_as_text(pending, moment.server.block_size))
                else:
                    yield _described(pending, modules[pending.table.root])
    finally:
        for future in running:
            future.cancel()
        wait(running)


def _timed(readers: Readers, destination: Destination, piece: Piece) -> tuple[list[Part], float]:
    started = time.monotonic()
    keys: list[str] = []

    def key_of(number: int, overflow: int) -> str:
        keys.append(destination.part_key(piece.table, number, overflow))
        return keys[-1]

    try:
        parts = export_piece(
            readers,
            destination.store,
            piece,
            key_of,
            destination.recipients,
            destination.format,
        )
    except OutOfRange:
        # The piece is read again under new names; what it had finished would belong to nothing.
        destination.store.delete(keys)
        raise
    except AdbcError as error:
        reason = " ".join(str(error).split())
        raise Failed(f"{piece.table.qualified} cannot be read: {reason}") from error
    return parts, time.monotonic() - started


def _collect(pending: _Pending, future: Future[tuple[list[Part], float]]) -> None:
    pending.waiting -= 1
    try:
        parts, seconds = future.result()
    except OutOfRange as error:
        pending.as_text.update(error.columns)
        return
    pending.parts += parts
    pending.seconds += seconds


def _as_text(pending: _Pending, block_size: int) -> _Pending:
    """The table once more; new numbers, since an object is never written twice."""
    done = len(pending.pieces(block_size))
    return _Pending(
        pending.table.with_text_columns(pending.as_text),
        first_number=pending.first_number + done,
        seconds=pending.seconds,
    )


def _described(pending: _Pending, module: str) -> Table:
    parts = tuple(sorted(pending.parts, key=lambda part: part.key))
    return _table(
        pending.table,
        module,
        rows=sum(part.rows for part in parts),
        digest=add_digests([part.digest for part in parts]),
        seconds=pending.seconds,
        parts=parts,
    )


def _without_parts(moment: Snapshot, table: LiveTable, module: str) -> Table:
    """A partitioned table, whose rows are its partitions', or one whose rows have no columns."""
    if table.kind == "p":
        return _table(table, module, rows=0, digest=to_digest(0), seconds=0.0)
    started = time.monotonic()
    row = moment.connection.execute(digest_query(table)).fetchone()
    assert row is not None
    return _table(
        table,
        module,
        rows=row["rows"],
        digest=to_digest(int(row["total"])),
        seconds=time.monotonic() - started,
    )


def _table(
    live: LiveTable,
    module: str,
    *,
    rows: int,
    digest: str,
    seconds: float,
    parts: tuple[Part, ...] = (),
) -> Table:
    return Table(
        schema=live.schema,
        name=live.name,
        module=module,
        kind="partitioned" if live.kind == "p" else "table",
        partition_of=live.partition_of,
        inherits=live.inherits,
        columns=tuple(column.described() for column in live.columns),
        primary_key=live.primary_key,
        rows=rows,
        digest=digest,
        size_bytes=sum(part.size_bytes for part in parts),
        source_bytes=live.table_bytes,
        seconds=round(seconds, 3),
        row_security=live.row_security,
        force_row_security=live.force_row_security,
        parts=parts,
    )
