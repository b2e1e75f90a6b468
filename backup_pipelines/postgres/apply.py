"""Writing the differences, and nothing else: deletes, then updates, then inserts."""

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from backup_pipelines.errors import Failed
from backup_pipelines.postgres.comparison import Change
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.writer import copy_batches, stored_batches
from backup_pipelines.progress import Meter, Step
from backup_pipelines.storage.store import Store


def apply(
    connection: Connection,
    store: Store,
    changes: Sequence[Change],
    rewritten: set[int],
    meter: Meter,
) -> None:
    """Apply the differences of all tables, parents before children; what acts on them is silent.

    Updated rows of the tables in `rewritten` (by oid) are deleted and inserted anew: where a table
    has further unique constraints, two rows may swap values, which no single UPDATE can do.
    """
    for change in reversed(changes):
        ops = ("d", "u") if change.live.oid in rewritten else ("d",)
        if change.delete or ("u" in ops and change.update):
            _run(connection, change, _delete(change, ops))
            meter.add(change.delete, what=f"deleted from {change.table.qualified}")
    for change in changes:
        if change.update and change.live.oid not in rewritten:
            _run(connection, change, _update(change))
            meter.add(change.update, what=f"updated in {change.table.qualified}")
    for change in changes:
        ops = ("i", "u") if change.live.oid in rewritten else ("i",)
        if change.insert or ("u" in ops and change.update):
            if change.direct:
                _copy(connection, store, change, meter.add)
                continue
            _run(connection, change, _insert(change, ops))
            written = change.insert + ("u" in ops) * change.update
            meter.add(written, what=f"inserted into {change.table.qualified}")


def _copy(connection: Connection, store: Store, change: Change, step: Step) -> None:
    batches = stored_batches(store, change.table, change.columns)
    try:
        copy_batches(connection, change.live.identifier, change.columns, batches, step)
    except psycopg.Error as error:
        raise _failed(change, error) from error


def _delete(change: Change, ops: Iterable[str]) -> sql.Composed:
    return sql.SQL(
        "DELETE FROM ONLY {} AS l USING {} AS d WHERE l.ctid = d.live AND d.op IN ({})"
    ).format(change.live.identifier, change.diff, _listed(ops))


def _update(change: Change) -> sql.Composed:
    names = [sql.Identifier(name) for name in change.columns if name in change.changed_columns]
    return sql.SQL(
        "UPDATE ONLY {} AS l SET {} FROM {} AS d JOIN {} AS s ON s.ctid = d.staged"
        " WHERE l.ctid = d.live AND d.op = 'u'"
    ).format(
        change.live.identifier,
        sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(name) for name in names),
        change.diff,
        change.stage,
    )


def _insert(change: Change, ops: Iterable[str]) -> sql.Composed:
    columns = [sql.Identifier(name) for name in change.columns]
    if columns:
        into = sql.SQL("({}) OVERRIDING SYSTEM VALUE").format(sql.SQL(", ").join(columns))
    else:
        into = sql.SQL("")
    return sql.SQL(
        "INSERT INTO {} {} SELECT {} FROM {} AS d JOIN {} AS s ON s.ctid = d.staged"
        " WHERE d.op IN ({})"
    ).format(
        change.live.identifier,
        into,
        sql.SQL(", ").join(sql.SQL("s.{}").format(name) for name in columns),
        change.diff,
        change.stage,
        _listed(ops),
    )


def _listed(ops: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Literal(op) for op in ops)


def _run(connection: Connection, change: Change, statement: sql.Composed) -> None:
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise _failed(change, error) from error


def _failed(change: Change, error: psycopg.Error) -> Failed:
    return Failed(
        f"{change.table.qualified} cannot be restored, everything was rolled back: "
        f"{str(error).strip()}"
    )
