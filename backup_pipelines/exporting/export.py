"""The rows of all selected tables into parts, by several readers of one snapshot."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any

from backup_pipelines import layout
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.exporting import attempts, reuse
from backup_pipelines.exporting.reuse import Earlier
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Part, Table
from backup_pipelines.pace import Amount
from backup_pipelines.postgres import adbc
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.projection import Pages, digest_query, rows_and_digest, to_digest
from backup_pipelines.postgres.reader import Lender, OutOfRange, Piece, export_piece
from backup_pipelines.postgres.snapshot import Snapshot
from backup_pipelines.progress import Meter, Tally
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.store import Store

# Several readers share a big table by pieces of about this much of it, TOAST included. Smaller ones
# cost no more time (measured from 16 to 128 MB), and less is written again for one changed row.
_PIECE_BYTES = 32 * 1024 * 1024
# Nor is a large table to be ten thousands of objects.
_PIECES = 256
_LARGEST_PIECE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class Destination:
    """Where the parts of one backup go."""

    store: Store
    system: str
    backup_id: str
    recipients: Recipients | None = None
    """To whom the parts are encrypted."""
    format: Format = "parquet"
    on_cluster: bool = False
    """Whether a piece may be read more than once at a time: see attempts.py."""

    def is_own(self, part: Part) -> bool:
        """Whether the part was written for this backup."""
        return layout.backup_id_of(self.system, part.key) == self.backup_id

    def part_key(self, table: LiveTable, number: int, overflow: int, attempt: str = "") -> str:
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
            attempt=attempt,
        )


@dataclass
class _Pending:
    """A table of which some pieces are still being read."""

    table: LiveTable
    tally: Tally
    first_number: int = 0
    waiting: int = 0
    seconds: float = 0.0
    parts: list[Part] = field(default_factory=list)
    as_text: set[str] = field(default_factory=set)
    earlier: Mapping[Pages | None, tuple[Part, ...]] = field(
        default_factory=dict[Pages | None, Any]
    )
    problems: dict[str, tuple[Part, ...]] = field(default_factory=dict[str, tuple[Part, ...]])
    """What was found wrong with the earlier backup, and among which of its parts."""

    def pieces(self, block_size: int) -> list[Piece]:
        return pieces(self.table, block_size, self.first_number, self.earlier)


@dataclass(frozen=True)
class _Done:
    """What has come of one piece."""

    parts: Sequence[Part]
    seconds: float
    problem: str = ""
    """What is wrong with an earlier backup, for people."""


def pieces(
    table: LiveTable,
    block_size: int,
    first_number: int = 0,
    earlier: Mapping[Pages | None, tuple[Part, ...]] | None = None,
) -> list[Piece]:
    """The table as one piece, or as ranges of heap pages of 32 to 128 MB with their TOAST.

    Where the ranges of an `earlier` backup are known, they are the same, and what the table has
    grown by comes after them. The last range has no end: the table may have grown since its size
    was read.
    """
    known = {found[0] if found else 0: parts for found, parts in (earlier or {}).items()}
    in_one = None in (earlier or {})
    pages = table.heap_bytes // block_size
    is_small = table.table_bytes <= _PIECE_BYTES or pages < 2
    if is_small and (in_one or len(known) < 2):
        return [Piece(table, first_number, None, known.get(0, ()) if in_one else ())]
    if in_one:
        known = {}
    starts = sorted({0, *(first for first in known if first < pages)})
    piece_bytes = max(_PIECE_BYTES, min(_LARGEST_PIECE_BYTES, table.table_bytes // _PIECES))
    step = max(1, pages * piece_bytes // max(table.table_bytes, piece_bytes))
    starts += range(starts[-1] + step, pages, step)
    ends: list[int | None] = [*starts[1:], None]
    return [
        Piece(table, first_number + number, (start, end), known.get(start, ()))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def expected(tables: Sequence[LiveTable]) -> Amount:
    """What there is to read: sizes on disk, and rows if PostgreSQL has an estimate of all."""
    estimates = [table.estimated_rows for table in tables if table.heap_bytes]
    # Before the first ANALYZE it is -1, and was 0 once.
    rows = sum(estimates) if min(estimates, default=0) > 0 else 0
    return Amount(rows, sum(table.table_bytes for table in tables))


def _amount(table: LiveTable) -> Amount:
    return Amount(max(0, table.estimated_rows), table.table_bytes)


def export_tables(
    moment: Snapshot,
    modules: dict[str, str],
    readers: Lender,
    destination: Destination,
    workers: Executor,
    meter: Meter,
    earlier: Earlier | None = None,
) -> Iterator[Table]:
    """Every table of the snapshot, biggest first, described as soon as its last part is read back.

    `modules` gives the module of each root table. A table with values outside of a native form's
    range is read once more with those columns as text (still in the same snapshot). The meter is
    told of each batch. Where pieces still are as `earlier` has them, its parts are named.
    """
    running: dict[Future[_Done], tuple[_Pending, Piece]] = {}
    tallies = {t.qualified: Tally(meter, t.qualified, _amount(t)) for t in moment.tables}
    readers.tell(lambda piece, r, s: tallies[piece.table.qualified].passed(piece.number, r, s))

    def submit(pending: _Pending) -> None:
        found = pending.pieces(moment.server.block_size)
        size = pending.table.table_bytes // len(found)
        pending.tally.begin(len(found))
        for piece in found:
            running[workers.submit(_timed, readers, destination, piece, size)] = pending, piece
            pending.waiting += 1

    try:
        for table in sorted(moment.tables, key=lambda t: (-t.table_bytes, t.qualified)):
            if table.kind == "p" or not table.columns:
                yield _without_parts(moment, table, modules[table.root])
            else:
                submit(_first(table, tallies[table.qualified], earlier))
        while running:
            for future in moment.ended(running):
                pending, piece = running.pop(future)
                _collect(pending, piece, future)
                if pending.waiting:
                    continue
                if pending.as_text:
                    pending.tally.again()
                    own = [part.key for part in pending.parts if destination.is_own(part)]
                    destination.store.delete(own)
                    submit(_as_text(pending, moment.server.block_size))
                else:
                    yield _described(pending, modules[pending.table.root])
    finally:
        _break_off(running, readers)


def _break_off(running: Collection[Future[_Done]], readers: Lender) -> None:
    for future in running:
        future.cancel()
    if running:
        readers.stop()
    wait(running)


def _timed(readers: Lender, destination: Destination, piece: Piece, size: int) -> _Done:
    """The parts of one piece: an earlier backup's if they still are its rows, else new ones.

    `size` is about what the piece takes on the server's disk.
    """
    started = time.monotonic()
    problem = ""
    try:
        if piece.earlier:
            try:
                same = reuse.unchanged(readers, destination.store, piece)
            except Damaged as error:
                same, problem = [], reuse.damaged(destination.system, piece, error)
            # The server has read it, though nothing but a digest came of it.
            readers.charge(size)
            if same:
                return _Done(same, time.monotonic() - started)
        parts = _exported(readers, destination, piece)
    except adbc.Error as error:
        reason = " ".join(str(error).split())
        raise Failed(f"{piece.table.qualified} cannot be read: {reason}") from error
    return _Done(parts, time.monotonic() - started, problem)


def _exported(readers: Lender, destination: Destination, piece: Piece) -> list[Part]:
    keys: list[str] = []
    attempt = attempts.new() if destination.on_cluster else ""

    def key_of(number: int, overflow: int) -> str:
        keys.append(destination.part_key(piece.table, number, overflow, attempt))
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
    except BaseException:
        if attempt:
            attempts.take_back(destination.store, keys)
        raise
    if attempt:
        attempts.settle(destination.store, destination.system, destination.backup_id, keys)
    return parts


def _collect(pending: _Pending, piece: Piece, future: Future[_Done]) -> None:
    """Keep what a piece has come to."""
    pending.waiting -= 1
    try:
        done = future.result()
    except OutOfRange as error:
        pending.as_text.update(error.columns)
        pending.tally.ended(piece.number)
        return
    if done.problem:
        pending.problems[done.problem] = tuple(piece.earlier)
    pending.parts += done.parts
    pending.seconds += done.seconds
    pending.tally.ended(piece.number, sum(part.rows for part in done.parts))


def _first(table: LiveTable, tally: Tally, earlier: Earlier | None) -> _Pending:
    if earlier is None:
        return _Pending(table, tally)
    before = earlier.as_before(table)
    return _Pending(before, tally, earlier=earlier.ranges(table), problems=earlier.problems)


def _as_text(pending: _Pending, block_size: int) -> _Pending:
    """The table once more; new numbers, since an object is never written twice."""
    done = len(pending.pieces(block_size))
    return _Pending(
        pending.table.with_text_columns(pending.as_text),
        pending.tally,
        first_number=pending.first_number + done,
        seconds=pending.seconds,
    )


def _described(pending: _Pending, module: str) -> Table:
    # In the order of the heap, wherever they lie.
    parts = tuple(sorted(pending.parts, key=lambda part: (part.first_page or 0, part.key)))
    rows, digest = rows_and_digest(parts)
    return _table(
        pending.table,
        module,
        rows=rows,
        digest=digest,
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
