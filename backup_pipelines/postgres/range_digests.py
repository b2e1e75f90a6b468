"""A table's digest by ranges of its heap pages, from one reading; and after a write, from less.

Digests are sums, so that of the table is the sum of its ranges'. A range in which no row is ours
and as many are left as there were holds the same rows: PostgreSQL never changes a row version, and
nobody else writes to a table that is locked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import DictRow

from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.digest import live_digest
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.projection import (
    Pages,
    add_digests,
    range_digests_query,
    range_number,
    to_digest,
)

# PostgreSQL's own default. On a server with others the ranges are larger or smaller, no more.
_PAGE_BYTES = 8192

# 8 MB are hashed again for the sake of one row, in some hundredths of a second.
_FEW_PAGES = 1024

# Of very large tables the ranges are larger, so that their list stays small.
_MOST_RANGES = 1000

# With more of the ranges written to, one reading by several processes is as fast.
_FEW = 0.25


@dataclass(frozen=True)
class RangeDigests:
    """Rows and digests of a table's ranges of pages, each up to the next one's start."""

    starts: tuple[int, ...]
    found: tuple[tuple[int, str], ...]

    @property
    def whole(self) -> tuple[int, str]:
        """Rows and digest of the table."""
        return _added(self.found)

    def is_cut_at(self, pages: Collection[int]) -> bool:
        """Whether a range begins at each of these pages."""
        return set(pages) <= set(self.starts)

    def of(self, pages: Pages) -> tuple[int, str]:
        """Rows and digest of pages at whose ends the ranges are cut."""
        first, end = pages
        return _added(
            [
                one
                for start, one in zip(self.starts, self.found, strict=True)
                if first <= start and (end is None or start < end)
            ]
        )


def range_digests(
    connection: Connection, table: LiveTable, cuts: Collection[int] = ()
) -> RangeDigests:
    """The digests of a table as it is now, cut at these pages and often enough besides."""
    starts = _starts(table, cuts)
    if len(starts) == 1:
        return RangeDigests(starts, (live_digest(connection, table),))
    found = [(0, to_digest(0))] * len(starts)
    for row in rows_by_range(connection, range_digests_query(table, starts)):
        found[row["number"] - 1] = row["rows"], to_digest(int(row["total"]))
    return RangeDigests(starts, tuple(found))


def digest_after_writing(
    connection: Connection, table: LiveTable, before: RangeDigests
) -> tuple[int, str]:
    """Rows and digest of a table to which only this transaction can have written since `before`.

    Ranges that it may have written to are hashed again.
    """
    starts = before.starts
    if len(starts) == 1:
        return live_digest(connection, table)
    rows_of = {
        row["number"]: (row["rows"], row["written"])
        for row in rows_by_range(connection, _written_query(table, starts))
    }
    touched = [
        number
        for number, (rows, _) in enumerate(before.found, start=1)
        if rows_of.get(number, (0, False)) != (rows, False)
    ]
    if len(touched) > _FEW * len(starts):
        return live_digest(connection, table)
    found = list(before.found)
    for number in touched:
        end = starts[number] if number < len(starts) else None
        found[number - 1] = live_digest(connection, table, (starts[number - 1], end))
    return _added(found)


def _written_query(table: LiveTable, starts: tuple[int, ...]) -> sql.Composed:
    """Rows by range, and whether one of them may be this transaction's.

    Its subtransactions have later numbers than itself, of which no age is above 0. A row that
    was frozen long ago may seem to be one of them, and no row of them does not.
    """
    return sql.SQL(
        "SELECT {} AS number, pg_catalog.count(*) AS rows,"
        " pg_catalog.bool_or(pg_catalog.age(t.xmin) <= 0) AS written FROM ONLY {} AS t GROUP BY 1"
    ).format(range_number(sql.SQL("t.ctid"), starts), table.identifier)


def rows_by_range(connection: Connection, statement: sql.Composed) -> list[DictRow]:
    """The rows of a query that groups by range.

    PostgreSQL takes each row for a group of its own, and would sort them all, on disk.
    """
    row = connection.execute("SELECT pg_catalog.current_setting('enable_sort') AS was").fetchone()
    assert row is not None
    setting = "SELECT pg_catalog.set_config('enable_sort', %s, true)"
    connection.execute(setting, ["off"])
    found = connection.execute(statement).fetchall()
    connection.execute(setting, [row["was"]])
    return found


def _starts(table: LiveTable, cuts: Collection[int]) -> tuple[int, ...]:
    pages = table.heap_bytes // _PAGE_BYTES
    step = max(_FEW_PAGES, -(-pages // _MOST_RANGES))
    # What begins after the last page, in a table that has shrunk, is a range without rows.
    return tuple(sorted({0, *range(0, pages, step), *cuts}))


def _added(found: Sequence[tuple[int, str]]) -> tuple[int, str]:
    return sum(rows for rows, _ in found), add_digests([digest for _, digest in found])
