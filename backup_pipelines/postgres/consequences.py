"""What a restore of some tables would do to rows of other tables: found before it does anything."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from backup_pipelines.postgres.comparison import Change
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.guards import LiveForeignKey

_ON_DELETE = {
    "a": "would be left without their parent",
    "r": "would be left without their parent",
    "c": "would be deleted by ON DELETE CASCADE",
    "n": "would be set to NULL by ON DELETE SET NULL",
    "d": "would be set to their default by ON DELETE SET DEFAULT",
}


@dataclass(frozen=True)
class Consequence:
    """Rows that a restore of the selection alone would orphan, or that would have no parents."""

    kind: Literal["orphans", "missing parents"]
    table: str
    rows: int
    text: str
    add: str  # the table whose addition to the selection would help


def consequences(
    connection: Connection,
    changes: Mapping[str, Sequence[Change]],
    selected: Iterable[str],
    foreign_keys: Sequence[LiveForeignKey],
) -> list[Consequence]:
    """Every foreign key between a selected table and another that would not hold.

    `changes` has the changed tables by their root table, partitions under their root; `selected`
    names all selected tables.
    """
    inside = set(selected)
    found: list[Consequence] = []
    for key in foreign_keys:
        parents, children = _changes_of(changes, key.references), _changes_of(changes, key.table)
        # A key that we cannot lift acts at once, whatever would be put back afterwards.
        if parents and (key.table not in inside or not key.is_ours):
            rows = _orphans(connection, key, parents)
            if rows:
                found.append(_of_orphans(key, rows))
        if children and key.references not in inside and key.may_read_referenced:
            rows = _parentless(connection, key, children)
            if rows:
                found.append(_of_parentless(key, rows))
    return found


def _changes_of(changes: Mapping[str, Sequence[Change]], name: str) -> list[Change]:
    """The changes of a table and its partitions, or of one partition that has its own key."""
    return [
        change
        for some in changes.values()
        for change in some
        if name in (change.live.root, change.live.qualified)
    ]


def _of_orphans(key: LiveForeignKey, rows: int) -> Consequence:
    if not key.may_read_table:
        text = (
            f"{rows:,} rows of {key.references} go, and rows of {key.table} may reference them "
            f"({key.name}), which this role may not read: grant it SELECT on {key.table}"
        )
        return Consequence("orphans", key.table, rows, text, "")
    text = (
        f"{rows:,} rows of {key.table} {_ON_DELETE[key.on_delete]}, as rows of {key.references} "
        f"go that they reference ({key.name})"
    )
    return Consequence("orphans", key.table, rows, text, key.table if key.is_ours else "")


def _of_parentless(key: LiveForeignKey, rows: int) -> Consequence:
    text = (
        f"{rows:,} rows of {key.table} reference rows of {key.references} that do not exist "
        f"({key.name})"
    )
    return Consequence("missing parents", key.table, rows, text, key.references)


def _orphans(connection: Connection, key: LiveForeignKey, changes: Sequence[Change]) -> int:
    """Rows whose parent is deleted or changes its key, and does not come back."""
    gone = _union(
        sql.SQL(
            "SELECT {columns} FROM {diff} AS d JOIN ONLY {live} AS r ON r.ctid = d.live"
            " LEFT JOIN {stage} AS s ON s.ctid = d.staged"
            " WHERE d.op = 'd' OR (d.op = 'u' AND {changed})"
        ).format(
            columns=_columns("r", key.referenced_columns),
            diff=change.diff,
            live=change.live.identifier,
            stage=change.stage,
            changed=_changed(key, change),
        )
        for change in changes
        if change.staged
    )
    come = _union(
        sql.SQL(
            "SELECT {columns} FROM {diff} AS d JOIN {stage} AS r ON r.ctid = d.staged"
            " WHERE d.op IN ('i', 'u')"
        ).format(
            columns=_columns("r", key.referenced_columns), diff=change.diff, stage=change.stage
        )
        for change in changes
        if change.staged and key.is_ours and set(key.referenced_columns) <= set(change.columns)
    )
    if gone is None:
        return 0
    back = (
        sql.SQL(" AND NOT EXISTS (SELECT FROM ({}) AS back WHERE {})").format(
            come, key.matches("back", "c")
        )
        if come is not None
        else sql.SQL("")
    )
    if not key.may_read_table:
        statement = sql.SQL("SELECT count(*) AS rows FROM ({}) AS gone").format(gone)
        return _count(connection, statement)
    return _count(
        connection,
        sql.SQL(
            "SELECT count(*) AS rows FROM {} AS c"
            " WHERE EXISTS (SELECT FROM ({}) AS gone WHERE {}){}"
        ).format(key.table_identifier, gone, key.matches("gone", "c"), back),
    )


def _changed(key: LiveForeignKey, change: Change) -> sql.Composable:
    names = [name for name in key.referenced_columns if name in change.columns]
    if not names:
        return sql.SQL("false")
    return sql.SQL("pg_catalog.record_image_ne(ROW({}), ROW({}))").format(
        _columns("r", names), _columns("s", names)
    )


def _parentless(connection: Connection, key: LiveForeignKey, changes: Sequence[Change]) -> int:
    """Restored rows whose parent does not exist outside the selection."""
    total = 0
    for change in changes:
        if not change.staged or not set(key.columns) <= set(change.columns):
            continue
        total += _count(
            connection,
            sql.SQL(
                "SELECT count(*) AS rows FROM {} AS d JOIN {} AS s ON s.ctid = d.staged"
                " WHERE d.op IN ('i', 'u') AND {}"
                " AND NOT EXISTS (SELECT FROM {} AS p WHERE {})"
            ).format(
                change.diff,
                change.stage,
                _not_null("s", key.columns),
                key.references_identifier,
                key.matches("p", "s"),
            ),
        )
    return total


def _union(queries: Iterable[sql.Composed]) -> sql.Composed | None:
    found = list(queries)
    return sql.SQL(" UNION ALL ").join(found) if found else None


def _columns(alias: Literal["r", "s"], names: Sequence[str]) -> sql.Composed:
    listed = [sql.SQL("{}.{}").format(sql.SQL(alias), sql.Identifier(name)) for name in names]
    return sql.SQL(", ").join(listed)


def _not_null(alias: Literal["s"], names: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{}.{} IS NOT NULL").format(sql.SQL(alias), sql.Identifier(name)) for name in names
    )


def _count(connection: Connection, statement: sql.Composed) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row["rows"])
