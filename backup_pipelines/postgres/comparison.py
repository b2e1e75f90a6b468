"""What differs between a table and its staged backup rows, row by row, inside PostgreSQL.

Rows are matched by primary key; where there is none, as a multiset of whole rows. "Differs" is by
image: two numerics of other scale or two floats of other sign of zero are different.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from psycopg import sql

from backup_pipelines.manifest import Table
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.projection import Pages, in_pages
from backup_pipelines.postgres.range_digests import RangeDigests
from backup_pipelines.postgres.row_keys import RowKey
from backup_pipelines.postgres.staging import stage_name

Mode = Literal["replace", "upsert", "insert"]
"""Make equal; write what is missing or differs and keep the rest; add every row, keep the rest."""


@dataclass
class Change:
    """What a restore would do to one table; row numbers refer to `backup_diff_<number>`."""

    table: Table
    live: LiveTable
    number: int
    columns: tuple[str, ...]
    key: RowKey | None = None
    pages: tuple[Pages, ...] | None = None
    """The live pages that the staged rows are to be compared with; None means all of them."""
    before: RangeDigests | None = None
    """What the live table was before the write; None where no digest applies."""
    staged: bool = False
    direct: bool = False
    """The live table is empty: all rows are copied straight into it, none is staged."""
    created: bool = False
    """The live table was created a moment ago: there is nothing to match rows with."""
    found_by_keys: bool = False
    """The table of differences exists already, and only the rows to insert are staged."""
    insert: int = 0
    update: int = 0
    delete: int = 0
    unchanged: int = 0
    changed_columns: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether the table is already as the restore would leave it."""
        return not (self.insert or self.update or self.delete)

    @property
    def stage(self) -> sql.Identifier:
        """The staged rows."""
        return stage_name(self.number)

    @property
    def diff(self) -> sql.Identifier:
        """The differences: op (i, u, d), ctid of the live row, ctid of the staged one."""
        return sql.Identifier("pg_temp", f"backup_diff_{self.number}")


def compare(connection: Connection, change: Change, mode: Mode, rows: int) -> None:
    """Fill in the change's counts and fingerprint from the staged rows.

    Creates the table of differences. Rows that only live has are gone in mode `replace` alone.
    """
    if not change.found_by_keys:
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}").format(
                sql.Identifier(f"backup_diff_{change.number}"), _differences(change, mode)
            )
        )
    elif mode == "upsert":
        connection.execute(sql.SQL("DELETE FROM {} WHERE op = 'd'").format(change.diff))
    counts = {
        row["op"]: row["rows"]
        for row in connection.execute(
            sql.SQL("SELECT op, count(*) AS rows FROM {} GROUP BY op").format(change.diff)
        )
    }
    change.insert = counts.get("i", 0)
    change.update = counts.get("u", 0)
    change.delete = counts.get("d", 0)
    change.unchanged = rows - change.update - change.delete
    change.fingerprint = _fingerprint(connection, change)
    if change.update:
        change.changed_columns = _changed_columns(connection, change)


def remaining(connection: Connection, change: Change, mode: Mode) -> int:
    """How many rows still differ: the proof, where a digest does not apply."""
    change.pages = None
    differences = _differences(change, "replace" if mode == "replace" else "upsert")
    row = connection.execute(
        sql.SQL("SELECT count(*) AS rows FROM ({}) AS d").format(differences)
    ).fetchone()
    assert row is not None
    return int(row["rows"])


def nulls_in_place_of_values(connection: Connection, change: Change) -> list[str]:
    """Columns that are NOT NULL now, were not in the backup, and have NULLs among its rows."""
    nullable = {column.name for column in change.table.columns if not column.not_null}
    names = [
        column.name
        for column in change.live.columns
        if column.not_null and column.name in nullable and column.name in change.columns
    ]
    if not names or not change.insert + change.update:
        return []
    flags = [
        sql.SQL("bool_or(s.{0} IS NULL) AS {0}").format(sql.Identifier(name)) for name in names
    ]
    row = connection.execute(
        sql.SQL("SELECT {} FROM {} AS d JOIN {} AS s ON s.ctid = d.staged").format(
            sql.SQL(", ").join(flags), change.diff, change.stage
        )
    ).fetchone()
    assert row is not None
    return [name for name in names if row[name]]


def _differences(change: Change, mode: Mode) -> sql.Composed:
    if mode == "insert" or change.created:
        return sql.SQL(
            "SELECT 'i' AS op, NULL::pg_catalog.tid AS live, s.ctid AS staged FROM {} AS s"
        ).format(change.stage)
    found = _by_key(change, change.key) if change.key else _by_row(change)
    if mode == "upsert":
        return sql.SQL("SELECT * FROM ({}) AS x WHERE op <> 'd'").format(found)
    return found


def _by_key(change: Change, key: RowKey) -> sql.Composed:
    return sql.SQL(
        "SELECT CASE WHEN l.ctid IS NULL THEN 'i' WHEN s.ctid IS NULL THEN 'd' ELSE 'u' END AS op,"
        " l.ctid AS live, s.ctid AS staged"
        " FROM {} AS l FULL JOIN {} AS s ON {}"
        " WHERE l.ctid IS NULL OR s.ctid IS NULL OR {}"
    ).format(live_rows(change), change.stage, key.matches("l", "s"), _differ(change.columns))


def live_rows(change: Change) -> sql.Composed:
    """The rows of the live table's pages; no column can be called ctid, so the alias is free."""
    names = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in change.columns]
    rows = sql.SQL("SELECT {} FROM ONLY {} AS t").format(
        sql.SQL(", ").join([sql.SQL("t.ctid AS ctid"), *names]), change.live.identifier
    )
    # One query for each range, so that PostgreSQL reads no other page.
    ranges = (None,) if change.pages is None else change.pages
    wanted = [rows + in_pages(pages) for pages in ranges] or [rows + sql.SQL(" WHERE false")]
    return sql.SQL("({})").format(sql.SQL(" UNION ALL ").join(wanted))


def _by_row(change: Change) -> sql.Composed:
    """Whole rows as a multiset: the n-th of equal rows matches the n-th of the other side."""
    return sql.SQL(
        "SELECT CASE WHEN l.ctid IS NULL THEN 'i' ELSE 'd' END AS op,"
        " l.ctid AS live, s.ctid AS staged"
        " FROM ({}) AS l FULL JOIN ({}) AS s ON l.image = s.image AND l.n = s.n"
        " WHERE l.ctid IS NULL OR s.ctid IS NULL"
    ).format(_numbered(live_rows(change), change.columns), _numbered(change.stage, change.columns))


def _numbered(rows: sql.Composable, columns: Sequence[str]) -> sql.Composed:
    # Every type has a text form, and with our settings it is exact; not every type has another.
    image = sql.SQL('({}::pg_catalog.text COLLATE pg_catalog."C")').format(_row("t", columns))
    return sql.SQL(
        "SELECT t.ctid AS ctid, {0} AS image,"
        " pg_catalog.row_number() OVER (PARTITION BY {0}) AS n FROM {1} AS t"
    ).format(image, rows)


def _differ(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("pg_catalog.record_image_ne({}, {})").format(
        _row("l", columns), _row("s", columns)
    )


def _row(alias: Literal["l", "s", "t"], columns: Sequence[str]) -> sql.Composed:
    values = [sql.SQL("{}.{}").format(sql.SQL(alias), sql.Identifier(c)) for c in columns]
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(values))


def _fingerprint(connection: Connection, change: Change) -> str:
    """A hash of every difference, old and new row, independent of order."""
    row = connection.execute(
        sql.SQL(
            "SELECT coalesce(pg_catalog.sum(pg_catalog.hashtextextended("
            "pg_catalog.concat_ws('|', d.op, {}::text, {}::text), 0)), 0) AS total"
            " FROM {} AS d LEFT JOIN ONLY {} AS l ON l.ctid = d.live"
            " LEFT JOIN {} AS s ON s.ctid = d.staged"
        ).format(
            _row("l", change.columns),
            _row("s", change.columns),
            change.diff,
            change.live.identifier,
            change.stage,
        )
    ).fetchone()
    assert row is not None
    return f"{int(row['total']) % (1 << 64):016x}"


def _changed_columns(connection: Connection, change: Change) -> dict[str, int]:
    """How often each column changes among the updated rows."""
    counts = [
        sql.SQL(
            "count(*) FILTER (WHERE pg_catalog.record_image_ne(ROW(l.{0}), ROW(s.{0}))) AS {0}"
        ).format(sql.Identifier(name))
        for name in change.columns
    ]
    row = connection.execute(
        sql.SQL(
            "SELECT {} FROM {} AS d JOIN ONLY {} AS l ON l.ctid = d.live"
            " JOIN {} AS s ON s.ctid = d.staged WHERE d.op = 'u'"
        ).format(sql.SQL(", ").join(counts), change.diff, change.live.identifier, change.stage)
    ).fetchone()
    assert row is not None
    return {name: count for name, count in row.items() if count}
