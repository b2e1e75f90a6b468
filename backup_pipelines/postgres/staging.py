"""Backup rows beside the live ones: temporary tables that vanish with the transaction."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Table
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.writer import copy_batches, stored_batches
from backup_pipelines.storage.store import Store


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
) -> None:
    """Load the columns of a backup's table into a temporary table with the live column types.

    Raises Refused with PostgreSQL's reason when a value does not fit the live type: an enum label
    that is gone, a text too long. COPY never cuts a value. The transaction can go on after it.
    """
    name = stage_name(number)
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM ONLY {} WITH NO DATA"
        ).format(sql.Identifier(f"backup_stage_{number}"), listed, live.identifier)
    )
    try:
        with connection.transaction():
            _load(connection, store, table, columns, name)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise Refused(
            f"a row of {table.qualified} does not fit the table as it is now: {str(error).strip()}"
        ) from error
    connection.execute(sql.SQL("ANALYZE {}").format(name))


def _load(
    connection: Connection,
    store: Store,
    table: Table,
    columns: Sequence[str],
    name: sql.Identifier,
) -> None:
    if columns:
        copy_batches(connection, name, columns, stored_batches(store, table, columns))
    else:
        connection.execute(
            sql.SQL("INSERT INTO {} SELECT FROM pg_catalog.generate_series(1, {})").format(
                name, table.rows
            )
        )
