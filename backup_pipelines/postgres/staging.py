"""Backup rows beside the live ones: temporary tables that vanish with the transaction."""

from collections.abc import Sequence
from functools import partial
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Table
from backup_pipelines.postgres.binary_copy import binary_form
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveColumn, LiveTable
from backup_pipelines.postgres.writer import copy_batches, stored_batches
from backup_pipelines.progress import Step, uncounted
from backup_pipelines.storage.store import Store
from backup_pipelines.wording import count

# The last two are what the binary form meets where a type's name is another kind of type now.
_MISFITS = (
    *(psycopg.DataError, psycopg.IntegrityError),
    *(psycopg.errors.DatatypeMismatch, psycopg.errors.ProtocolViolation),
)

# Given a value that does not fit, their input rounds a number or a time, and trims blanks.
_ROUNDED_OR_TRIMMED = {
    *("pg_catalog.numeric", "pg_catalog.interval", "pg_catalog.varchar", "pg_catalog.bpchar"),
    *("pg_catalog.timestamp", "pg_catalog.timestamptz", "pg_catalog.time", "pg_catalog.timetz"),
}


def stage_name(number: int) -> sql.Identifier:
    """The temporary table with a backup's rows of the table of that number."""
    return sql.Identifier("pg_temp", f"backup_stage_{number}")


def stage(
    connection: Connection,
    store: Store,
    table: Table,
    live: LiveTable,
    columns: Sequence[str],
    number: int,
    step: Step = uncounted,
) -> None:
    """Load the columns of a backup's table into a temporary table with the live column types.

    Raises Refused with the reason when a value does not fit the live type: an enum label that is
    gone, a text too long, a number that would be rounded. The transaction can go on after it.
    """
    name = stage_name(number)
    narrowed = _narrowed(table, live, columns)
    listed = [
        sql.SQL(
            cast(LiteralString, f"NULL::{narrowed[c].base_type} AS {{}}" if c in narrowed else "{}")
        ).format(sql.Identifier(c))
        for c in columns
    ]
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM ONLY {} WITH NO DATA"
        ).format(
            sql.Identifier(f"backup_stage_{number}"), sql.SQL(", ").join(listed), live.identifier
        )
    )
    try:
        with connection.transaction():
            _load(connection, store, table, live, columns, name, step)
            for column in narrowed.values():
                _narrow(connection, table, column, name)
    except _MISFITS as error:
        raise Refused(
            f"a row of {table.qualified} does not fit the table as it is now: {str(error).strip()}"
        ) from error
    connection.execute(sql.SQL("ANALYZE {}").format(name))


def _narrowed(table: Table, live: LiveTable, columns: Sequence[str]) -> dict[str, LiveColumn]:
    """Columns whose type has another modifier now, by which PostgreSQL would round or trim."""
    then = {column.name: column for column in table.columns}
    return {
        column.name: column
        for column in live.columns
        if column.name in columns
        and column.base_type.removesuffix("[]") in _ROUNDED_OR_TRIMMED
        and column.base_type == then[column.name].base_type
        and column.type != then[column.name].type
    }


def _narrow(
    connection: Connection, table: Table, column: LiveColumn, stage: sql.Identifier
) -> None:
    """Give a staged column its live type; raises Refused if a value would be another then."""
    name = sql.Identifier(column.name)
    # What format_type() has printed.
    kind = sql.SQL(cast(LiteralString, column.type))
    changed = connection.execute(
        sql.SQL(
            "SELECT {0}::text AS was, {0}::{1}::text AS would_be, count(*) OVER () AS rows"
            " FROM {2} WHERE {3} IS DISTINCT FROM {4} LIMIT 1"
        ).format(name, kind, stage, *_compared(column, name, kind))
    ).fetchone()
    if changed is not None:
        raise Refused(
            f"a row of {table.qualified} does not fit the table as it is now: {column.name} is "
            f"{column.type}, and {changed['was']!r} would become {changed['would_be']!r} there "
            f"({count(changed['rows'], 'such row')})"
        )
    connection.execute(
        sql.SQL("ALTER TABLE {0} ALTER {1} TYPE {2} USING {1}::{2}").format(stage, name, kind)
    )


def _compared(
    column: LiveColumn, name: sql.Identifier, kind: sql.SQL
) -> tuple[sql.Composed, sql.Composed]:
    """A value as it is and as it would be: texts with their blanks, numbers less their zeros."""
    is_text = column.base_type.startswith("pg_catalog.varchar")
    is_array = column.base_type.endswith("[]")
    as_text = sql.SQL("::pg_catalog.text[]" if is_array else "::pg_catalog.text")
    plain = as_text if is_text else sql.SQL("")
    return sql.SQL("{}{}").format(name, plain), sql.SQL("{}::{}{}").format(name, kind, plain)


def _load(
    connection: Connection,
    store: Store,
    table: Table,
    live: LiveTable,
    columns: Sequence[str],
    name: sql.Identifier,
    step: Step,
) -> None:
    if columns:
        batches = stored_batches(store, table, columns)
        form = None
        if _has_types_of(table, live, columns):
            form = binary_form(connection, table, columns, partial(stored_batches, store, table))
        copy_batches(connection, name, columns, batches, step, form)
    else:
        connection.execute(
            sql.SQL("INSERT INTO {} SELECT FROM pg_catalog.generate_series(1, {})").format(
                name, table.rows
            )
        )


def _has_types_of(table: Table, live: LiveTable, columns: Sequence[str]) -> bool:
    """Whether columns still have the types of the backup; CSV is read as whatever they are now."""
    now = {column.name: column.base_type for column in live.columns}
    return all(now[c.name] == c.base_type for c in table.columns if c.name in columns)
