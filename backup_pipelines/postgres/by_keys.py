"""The shortcut for rows that only came or went: keys are compared, and few rows are staged.

Updated rows cannot be seen by their keys. But the digest is a sum over the rows: where the live
digest, without the rows to delete and with those to insert, is the backup's, there are none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from backup_pipelines.manifest import Table
from backup_pipelines.postgres.comparison import Change, live_rows
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.digest import as_encoded, live_digest
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.projection import to_digest
from backup_pipelines.postgres.row_keys import RowKey
from backup_pipelines.postgres.writer import copy_batches, stored_batches
from backup_pipelines.storage.store import Store

# Where more than this share of the rows differs, staging them all at once is as fast.
_FEW = 0.1

# Small tables are staged whole before the shortcut's own statements are done.
_WORTH_IT_ROWS = 2_000

_NUMBER = "backup_row_number"


def compare_by_keys(
    connection: Connection, store: Store, change: Change, parts: Table, live: tuple[int, str]
) -> bool:
    """Stage the missing rows and fill in the differences, if rows only came or went.

    `parts` is the backup's table with the parts that matter, `live` the rows and digest of all
    live rows. False leaves everything to the comparison of whole rows.
    """
    table, key = change.table, change.key
    more = abs(table.rows - live[0])
    # As many rows as before are most often rows that were updated, which keys do not show.
    if key is None or table.rows < _WORTH_IT_ROWS or not 0 < more <= _FEW * table.rows:
        return False
    try:
        with connection.transaction():
            if _find(connection, store, change, key, parts, live):
                change.found_by_keys = True
            else:
                raise psycopg.Rollback
    except psycopg.DataError:
        # The staging of whole rows says it in words.
        return False
    return change.found_by_keys


def _find(
    connection: Connection,
    store: Store,
    change: Change,
    key: RowKey,
    parts: Table,
    live: tuple[int, str],
) -> bool:
    """Stage what is missing, fill in the differences, and see whether the digests add up."""
    table = change.table
    _load_keys(connection, store, change, key, parts)
    wanted = _find_unmatched(connection, change, key)
    if len(wanted) > _FEW * table.rows:
        return False
    _find_gone(connection, change)
    gone = _temporary(change, f"backup_gone_{change.number}")
    gone_rows, gone_digest = live_digest(connection, gone)
    differing = len(wanted) + gone_rows
    if not differing or differing > _FEW * table.rows:
        return False
    _stage(connection, store, change, parts, wanted)
    stage = _temporary(change, f"backup_stage_{change.number}")
    come_rows, come_digest = live_digest(connection, stage)
    total = int(live[1], 16) - int(gone_digest, 16) + int(come_digest, 16)
    if (live[0] - gone_rows + come_rows, to_digest(total)) != (table.rows, table.digest):
        return False
    connection.execute(
        sql.SQL("INSERT INTO {} SELECT 'i', NULL, s.ctid FROM {} AS s").format(
            change.diff, change.stage
        )
    )
    return True


def _load_keys(
    connection: Connection, store: Store, change: Change, key: RowKey, parts: Table
) -> None:
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS"
            " SELECT {}, NULL::pg_catalog.int8 AS {} FROM ONLY {} WITH NO DATA"
        ).format(
            sql.Identifier(f"backup_keys_{change.number}"),
            _listed(key.columns),
            sql.Identifier(_NUMBER),
            change.live.identifier,
        )
    )
    batches = _numbered(stored_batches(store, parts, key.columns))
    copy_batches(connection, _keys(change), [*key.columns, _NUMBER], batches)
    connection.execute(sql.SQL("ANALYZE {}").format(_keys(change)))


def _numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        numbers = pa.array(np.arange(start, start + batch.num_rows, dtype=np.int64))
        start += batch.num_rows
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, numbers], names=[*batch.schema.names, _NUMBER]
        )


def _find_unmatched(connection: Connection, change: Change, key: RowKey) -> list[int]:
    """The numbers of the backup's rows whose keys are not live; no more than are too many.

    What has no match on either side is kept.
    """
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT l.ctid AS live, k.{} AS n"
            " FROM {} AS l FULL JOIN {} AS k ON {} WHERE l.ctid IS NULL OR k.{} IS NULL"
        ).format(
            sql.Identifier(f"backup_unmatched_{change.number}"),
            sql.Identifier(_NUMBER),
            live_rows(change),
            _keys(change),
            key.matches("l", "k"),
            sql.Identifier(_NUMBER),
        )
    )
    rows = connection.execute(
        sql.SQL("SELECT n FROM {} WHERE n IS NOT NULL LIMIT {}").format(
            _unmatched(change), int(_FEW * change.table.rows) + 1
        )
    )
    return sorted(row["n"] for row in rows)


def _find_gone(connection: Connection, change: Change) -> None:
    """The live rows whose keys the backup lacks, into the table of differences and a copy."""
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS"
            " SELECT 'd'::pg_catalog.text AS op, live, NULL::pg_catalog.tid AS staged"
            " FROM {} WHERE live IS NOT NULL"
        ).format(
            sql.Identifier(f"backup_diff_{change.number}"),
            _unmatched(change),
        )
    )
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} AS d"
            " JOIN ONLY {} AS l ON l.ctid = d.live"
        ).format(
            sql.Identifier(f"backup_gone_{change.number}"),
            sql.SQL(", ").join(
                sql.SQL("l.{}").format(sql.Identifier(c.name)) for c in change.live.columns
            ),
            change.diff,
            change.live.identifier,
        )
    )


def _stage(
    connection: Connection, store: Store, change: Change, parts: Table, wanted: Sequence[int]
) -> None:
    """Stage the rows of these numbers with all columns, generated ones too: the digest has them."""
    columns = [column.name for column in change.live.columns]
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM ONLY {} WITH NO DATA"
        ).format(
            sql.Identifier(f"backup_stage_{change.number}"),
            _listed(columns),
            change.live.identifier,
        )
    )
    batches = _picked(stored_batches(store, parts, columns), np.array(wanted, dtype=np.int64))
    copy_batches(connection, change.stage, columns, batches)
    connection.execute(sql.SQL("ANALYZE {}").format(change.stage))


def _picked(batches: Iterator[pa.RecordBatch], wanted: np.ndarray) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        first, end = np.searchsorted(wanted, [start, start + batch.num_rows])
        if end > first:
            yield batch.take(pa.array(wanted[first:end] - start))
        start += batch.num_rows


def _temporary(change: Change, name: str) -> LiveTable:
    return replace(as_encoded(change.live, change.table), schema="pg_temp", name=name)


def _keys(change: Change) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"backup_keys_{change.number}")


def _unmatched(change: Change) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"backup_unmatched_{change.number}")


def _listed(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
