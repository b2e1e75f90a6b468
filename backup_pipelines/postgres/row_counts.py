"""How many rows tables have: counted where that is quick, else as PostgreSQL estimates."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query

# What a server reads in well under a second, also from a slow disk.
_TABLE_BYTES = 32 * 2**20
_ALL_BYTES = 256 * 2**20

# One statement for many tables, since each costs a way to the server and back.
_AT_ONCE = 100

# Somebody waits for more than these counts, and behind them nobody's ALTER may queue.
_SECONDS = 3.0
_STATEMENT_TIMEOUT = "2s"
_LOCK_TIMEOUT = "200ms"


@dataclass(frozen=True)
class RowCount:
    """How many rows there are; None where nobody knows."""

    rows: int | None
    is_exact: bool


def total(counts: Iterable[RowCount]) -> RowCount:
    """The sum of several; it is no more certain than the least certain of them."""
    rows, is_exact = 0, True
    for count in counts:
        if count.rows is None:
            return RowCount(None, is_exact=False)
        rows, is_exact = rows + count.rows, is_exact and count.is_exact
    return RowCount(rows, is_exact)


def count_rows(connection: Connection, tables: Sequence[LiveTable]) -> Mapping[str, RowCount]:
    """The rows of each root table, its partitions' among them, by its qualified name.

    Small tables are counted, the smallest first, until that has taken seconds; of the others, and
    of those that somebody has locked, the estimate is given. Reads only, and waits for nobody.
    """
    for name, value in (("statement_timeout", _STATEMENT_TIMEOUT), ("lock_timeout", _LOCK_TIMEOUT)):
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
    # A partitioned table has no rows of its own.
    leaves = sorted((t for t in tables if t.kind != "p"), key=lambda t: (t.heap_bytes, t.oid))
    deadline, counted = time.monotonic() + _SECONDS, dict[int, int]()
    quick = _quick(leaves)
    for start in range(0, len(quick), _AT_ONCE):
        counted |= _counted(connection, quick[start : start + _AT_ONCE], deadline)
    found = {oid: RowCount(rows, is_exact=True) for oid, rows in counted.items()}
    found |= _estimated(connection, [table for table in leaves if table.oid not in counted])
    by_root: dict[str, list[RowCount]] = {table.root: [] for table in tables}
    for table in leaves:
        # One that was dropped meanwhile has no estimate either.
        by_root[table.root].append(found.get(table.oid, RowCount(None, is_exact=False)))
    return {root: total(counts) for root, counts in by_root.items()}


def _estimated(connection: Connection, tables: Sequence[LiveTable]) -> Mapping[int, RowCount]:
    """The rows of each table by its oid, as PostgreSQL takes them to be."""
    if not tables:
        return {}
    heap_bytes = {table.oid: table.heap_bytes for table in tables}
    found: dict[int, RowCount] = {}
    for row in connection.execute(query("row_estimates"), {"oids": [*heap_bytes]}):
        # Without figures of its own the planner has -1, and the collector 0.
        rows: int | None = row["live_rows"] or None
        if row["rows"] >= 0 and row["pages"]:
            # In proportion to the size that it has by now, as the planner does.
            pages = heap_bytes[row["oid"]] / row["block_size"]
            rows = round(row["rows"] / row["pages"] * pages)
        found[row["oid"]] = RowCount(rows, is_exact=False)
    return found


def _quick(smallest_first: Sequence[LiveTable]) -> list[LiveTable]:
    """The tables that may be counted."""
    chosen: list[LiveTable] = []
    read = 0
    for table in smallest_first:
        read += table.heap_bytes
        if table.heap_bytes > _TABLE_BYTES or read > _ALL_BYTES:
            break
        chosen.append(table)
    return chosen


def _counted(
    connection: Connection, tables: Sequence[LiveTable], deadline: float
) -> Mapping[int, int]:
    """The rows of each table by its oid; what cannot be counted now is left out."""
    if time.monotonic() > deadline:
        return {}
    counts = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::bigint AS oid, pg_catalog.count(*) AS rows FROM ONLY {}").format(
            table.oid, table.identifier
        )
        for table in tables
    )
    try:
        return {row["oid"]: row["rows"] for row in connection.execute(counts)}
    except psycopg.Error:
        if connection.closed:
            raise
        if len(tables) == 1:
            return {}
    # One of them is locked, dropped or slow: find it by halves.
    middle = len(tables) // 2
    halves = (tables[:middle], tables[middle:])
    first, second = (_counted(connection, half, deadline) for half in halves)
    return {**first, **second}
