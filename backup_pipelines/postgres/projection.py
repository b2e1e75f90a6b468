"""The one query that reads a table: exact values, and with each row the hash that makes the digest.

The inner query has OFFSET 0, so that casts run once for a value that is both exported and hashed.
Columns are hashed in the order of their names: a dump and restore may reorder inherited ones.
"""

from collections.abc import Sequence
from typing import LiteralString, cast

from psycopg import sql

from backup_pipelines.manifest import Part, Table
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.types import PORTABLE, Codec, Recipe, stored_codec

# Heap pages from the first, inclusive, to the second, exclusive or open.
Pages = tuple[int, int | None]

# Digests are sums modulo this: PostgreSQL's 64-bit row hashes, added in any order.
_MODULUS = 1 << 64


def export_query(table: LiveTable, pages: Pages | None = None) -> sql.Composed:
    """Columns c0, c1, ... in table order and, last, the row's hash, for all or some heap pages."""
    names = [sql.SQL(cast(LiteralString, f"x.c{i}")) for i in range(len(table.columns))]
    return sql.SQL("SELECT {} FROM ({}) AS x").format(
        sql.SQL(", ").join([*names, _row_hash(_columns(table), table.recipe)]),
        _projection(table.identifier, _columns(table), pages),
    )


def digest_query(
    table: LiveTable, pages: Pages | None = None, *, in_parallel: bool = False
) -> sql.Composed:
    """One row: `rows` and `total`, the exact sum of the rows' hashes (0 without rows).

    The server may use several processes for it `in_parallel`, as its own settings let it. Where
    texts are hashed as they are sent it may not: a parallel worker sends in the server's encoding.
    """
    in_parallel = in_parallel and table.recipe.text != PORTABLE.text
    return _digest_query(
        table.identifier, _columns(table), pages, table.recipe, in_parallel=in_parallel
    )


def range_digests_query(table: LiveTable, starts: Sequence[int]) -> sql.Composed:
    """A row for each range of heap pages that has rows: its `number`, `rows` and `total` of them.

    A range begins at its page of `starts`, of which the first is 0, and goes up to the next;
    numbers count from 1. The table is read once. The server may use several processes, as for a
    digest.
    """
    in_parallel = table.recipe.text != PORTABLE.text
    columns, place = _columns(table), sql.SQL("t.ctid AS place")
    return sql.SQL(
        "SELECT {} AS number, pg_catalog.count(*) AS rows, pg_catalog.sum({}) AS total"
        " FROM ({}) AS x GROUP BY 1"
    ).format(
        range_number(sql.SQL("x.place"), starts),
        _row_hash(columns, table.recipe),
        _select(table.identifier, columns, (place,), sql.SQL(""), once=not in_parallel),
    )


def range_number(ctid: sql.Composable, starts: Sequence[int]) -> sql.Composed:
    """In which range of heap pages a row lies, from 1; the ranges begin at these pages."""
    pages = sql.Literal([f"({start},0)" for start in starts])
    return sql.SQL("pg_catalog.width_bucket({}, {}::pg_catalog.tid[])").format(ctid, pages)


def stored_digest_query(table: Table) -> sql.Composed:
    """The same query of the table as a manifest has it, for servers that were never looked at."""
    columns = [(c.name, stored_codec(c.base_type, c.encoding)) for c in table.columns]
    return _digest_query(sql.Identifier(table.schema_name, table.name), columns, None, PORTABLE)


def to_digest(total: int) -> str:
    """A sum of row hashes as digests are written: modulo 2^64, 16 hex digits."""
    return f"{total % _MODULUS:016x}"


def add_digests(digests: Sequence[str]) -> str:
    """The digest of rows that are spread over several parts."""
    return to_digest(sum(int(digest, 16) for digest in digests))


def rows_and_digest(parts: Sequence[Part]) -> tuple[int, str]:
    """What a digest query has to find where the rows of these parts still are."""
    return sum(part.rows for part in parts), add_digests([part.digest for part in parts])


def _columns(table: LiveTable) -> list[tuple[str, Codec]]:
    return [(column.name, column.codec) for column in table.columns]


def _digest_query(
    table: sql.Identifier,
    columns: Sequence[tuple[str, Codec]],
    pages: Pages | None,
    recipe: Recipe,
    *,
    in_parallel: bool = False,
) -> sql.Composed:
    # Each value is used once here, and an OFFSET keeps a query to one process.
    projection = _projection(table, columns, pages, once=not in_parallel)
    return sql.SQL(
        "SELECT pg_catalog.count(*) AS rows, coalesce(pg_catalog.sum({}), 0) AS total"
        " FROM ({}) AS x"
    ).format(_row_hash(columns, recipe), projection)


def _projection(
    table: sql.Identifier,
    columns: Sequence[tuple[str, Codec]],
    pages: Pages | None,
    *,
    once: bool = True,
) -> sql.Composed:
    return _select(table, columns, (), in_pages(pages), once=once)


def _select(
    table: sql.Identifier,
    columns: Sequence[tuple[str, Codec]],
    more: Sequence[sql.Composable],
    where: sql.Composable,
    *,
    once: bool,
) -> sql.Composed:
    exported: list[sql.Composable] = [
        sql.SQL("{} AS {}").format(
            _apply(codec.export, sql.Identifier("t", name)), sql.Identifier(f"c{number}")
        )
        for number, (name, codec) in enumerate(columns)
    ]
    return sql.SQL("SELECT {} FROM ONLY {} AS t{}{}").format(
        sql.SQL(", ").join([*exported, *more]),
        table,
        where,
        sql.SQL(" OFFSET 0" if once else ""),
    )


def in_pages(pages: Pages | None) -> sql.Composable:
    """The condition that rows of the alias `t` lie in a range of heap pages; None is all pages."""
    if pages is None:
        return sql.SQL("")
    first, end = pages
    bound = sql.SQL(" WHERE t.ctid >= {}::pg_catalog.tid").format(f"({first},0)")
    if end is None:
        return bound
    return bound + sql.SQL(" AND t.ctid < {}::pg_catalog.tid").format(f"({end},0)")


def _row_hash(columns: Sequence[tuple[str, Codec]], recipe: Recipe) -> sql.Composed:
    numbered = sorted(enumerate(columns), key=lambda pair: pair[1][0])
    values = [
        _apply(
            recipe.text if codec.hashed == PORTABLE.text else codec.hashed,
            sql.SQL(cast(LiteralString, f"x.c{number}")),
        )
        for number, (_, codec) in numbered
    ]
    # A record's hash is a linear sum over its columns, and so would be its sum over the rows:
    # values that change places between rows would not show. Hashed once more, they do.
    record = sql.SQL("pg_catalog.hash_record_extended(ROW({}), 0)")
    return _apply(recipe.row, record.format(sql.SQL(", ").join(values)))


def _apply(template: str, value: sql.Composable) -> sql.Composed:
    """A codec's template, which is our own code, applied to an identifier."""
    return sql.SQL(cast(LiteralString, template)).format(value)
