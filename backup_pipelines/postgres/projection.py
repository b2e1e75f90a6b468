"""The one query that reads a table: exact values, and with each row the hash that makes the digest.

The inner query has OFFSET 0, so that casts run once for a value that is both exported and hashed.
Columns are hashed in the order of their names: a dump and restore may reorder inherited ones.
"""

from collections.abc import Sequence
from typing import LiteralString, cast

from psycopg import sql

from backup_pipelines.manifest import Table
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.types import Codec, stored_codec

# Digests are sums modulo this: PostgreSQL's 64-bit row hashes, added in any order.
_MODULUS = 1 << 64


def export_query(table: LiveTable, pages: tuple[int, int | None] | None = None) -> sql.Composed:
    """Columns c0, c1, ... in table order and, last, the row's hash, for all or some heap pages."""
    names = [sql.SQL(cast(LiteralString, f"x.c{i}")) for i in range(len(table.columns))]
    return sql.SQL("SELECT {} FROM ({}) AS x").format(
        sql.SQL(", ").join([*names, _row_hash(_columns(table))]),
        _projection(table.identifier, _columns(table), pages),
    )


def digest_query(table: LiveTable, pages: tuple[int, int | None] | None = None) -> sql.Composed:
    """One row: `rows` and `total`, the exact sum of the rows' hashes (0 without rows)."""
    return _digest_query(table.identifier, _columns(table), pages)


def stored_digest_query(table: Table) -> sql.Composed:
    """The same query of the table as a manifest has it, for servers that were never looked at."""
    columns = [(c.name, stored_codec(c.base_type, c.encoding)) for c in table.columns]
    return _digest_query(sql.Identifier(table.schema_name, table.name), columns, None)


def to_digest(total: int) -> str:
    """A sum of row hashes as digests are written: modulo 2^64, 16 hex digits."""
    return f"{total % _MODULUS:016x}"


def add_digests(digests: Sequence[str]) -> str:
    """The digest of rows that are spread over several parts."""
    return to_digest(sum(int(digest, 16) for digest in digests))


def _columns(table: LiveTable) -> list[tuple[str, Codec]]:
    return [(column.name, column.codec) for column in table.columns]


def _digest_query(
    table: sql.Identifier,
    columns: Sequence[tuple[str, Codec]],
    pages: tuple[int, int | None] | None,
) -> sql.Composed:
    return sql.SQL(
        "SELECT pg_catalog.count(*) AS rows, coalesce(pg_catalog.sum({}), 0) AS total"
        " FROM ({}) AS x"
    ).format(_row_hash(columns), _projection(table, columns, pages))


def _projection(
    table: sql.Identifier,
    columns: Sequence[tuple[str, Codec]],
    pages: tuple[int, int | None] | None,
) -> sql.Composed:
    exported = [
        sql.SQL("{} AS {}").format(
            _apply(codec.export, sql.Identifier("t", name)), sql.Identifier(f"c{number}")
        )
        for number, (name, codec) in enumerate(columns)
    ]
    return sql.SQL("SELECT {} FROM ONLY {} AS t{} OFFSET 0").format(
        sql.SQL(", ").join(exported), table, _page_range(pages)
    )


def _page_range(pages: tuple[int, int | None] | None) -> sql.Composable:
    if pages is None:
        return sql.SQL("")
    first, end = pages
    bound = sql.SQL(" WHERE t.ctid >= {}::pg_catalog.tid").format(f"({first},0)")
    if end is None:
        return bound
    return bound + sql.SQL(" AND t.ctid < {}::pg_catalog.tid").format(f"({end},0)")


def _row_hash(columns: Sequence[tuple[str, Codec]]) -> sql.Composed:
    numbered = sorted(enumerate(columns), key=lambda pair: pair[1][0])
    values = [
        _apply(codec.hashed, sql.SQL(cast(LiteralString, f"x.c{number}")))
        for number, (_, codec) in numbered
    ]
    # A record's hash is a linear sum over its columns, and so would be its sum over the rows:
    # values that change places between rows would not show. Hashed once more, they do.
    return sql.SQL(
        "pg_catalog.hash_record_extended("
        "ROW(pg_catalog.int8send(pg_catalog.hash_record_extended(ROW({}), 0))), 0)"
    ).format(sql.SQL(", ").join(values))


def _apply(template: str, value: sql.Composable) -> sql.Composed:
    """A codec's template, which is our own code, applied to an identifier."""
    return sql.SQL(cast(LiteralString, template)).format(value)
