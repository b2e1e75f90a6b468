"""Comparing two databases without the product's own digest: by what PostgreSQL copies out."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

# Everything that changes how a value prints.
_SETTINGS = (
    "-c timezone=UTC -c datestyle=ISO,YMD -c intervalstyle=postgres -c extra_float_digits=1 "
    "-c bytea_output=hex -c lc_monetary=C -c search_path= -c row_security=off"
)

_TABLES = """
SELECT n.nspname, c.relname, c.relkind IN ('m', 'v'), ARRAY(
           SELECT a.attname FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm', 'v') AND (c.relkind <> 'm' OR c.relispopulated)
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2
"""


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """An autocommit session in which values print the same everywhere."""
    return psycopg.connect(url, autocommit=True, options=_SETTINGS, client_encoding="UTF8")


def copied(
    connection: psycopg.Connection[tuple[Any, ...]], query: sql.Composable, how: str = "text"
) -> bytes:
    """What COPY makes of a query's rows: its "text" or its "binary" format."""
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(query, sql.Identifier(how))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        return b"".join(bytes(block) for block in copy)


def contents(url: str, leave_out: Iterable[str] = ()) -> dict[str, list[bytes]]:
    """The sorted lines of every table, view and populated materialized view of a database.

    Columns come in the order of their names: a dump and restore may reorder inherited ones.
    """
    found: dict[str, list[bytes]] = {}
    with connect(url) as connection:
        for schema, name, is_view, columns in connection.execute(_TABLES).fetchall():
            qualified = f"{schema}.{name}"
            if qualified in leave_out:
                continue
            only = sql.SQL("" if is_view else "ONLY ")
            query = sql.SQL("SELECT {} FROM {}{}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                only,
                sql.Identifier(schema, name),
            )
            found[qualified] = sorted(copied(connection, query).split(b"\n"))
    return found
