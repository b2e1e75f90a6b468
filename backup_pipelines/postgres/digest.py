"""The digest of a table as it is now, by the recipe of the backup it is compared to."""

from collections.abc import Sequence
from dataclasses import dataclass

from backup_pipelines.manifest import Table
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.postgres.projection import Pages, digest_query, to_digest


@dataclass(frozen=True)
class Difference:
    """One table whose content is not the backup's, in words."""

    table: str
    problem: str


def compare(connection: Connection, tables: Sequence[Table]) -> list[Difference]:
    """Every table whose rows or digest differ from the manifest's; an empty list is the proof."""
    wanted = {table.qualified: table for table in tables}
    live = {table.qualified: table for table in list_tables(connection)}
    found = {
        table.qualified: table
        for table in with_columns(connection, [live[name] for name in wanted if name in live])
    }
    problems = (_difference(connection, table, found.get(name)) for name, table in wanted.items())
    return [Difference(name, text) for name, text in zip(wanted, problems, strict=True) if text]


def live_digest(
    connection: Connection, table: LiveTable, pages: Pages | None = None
) -> tuple[int, str]:
    """Rows and digest of a table as it is now, or of a range of its pages."""
    if table.kind == "p":
        return 0, to_digest(0)
    row = connection.execute(digest_query(table, pages, in_parallel=pages is None)).fetchone()
    assert row is not None
    return row["rows"], to_digest(int(row["total"]))


def as_encoded(live: LiveTable, table: Table) -> LiveTable:
    """The live table with those columns as text that the backup holds as text."""
    text = {column.name for column in table.columns if column.encoding == "text"}
    return live.with_text_columns(text)


def _difference(connection: Connection, table: Table, live: LiveTable | None) -> str:
    shape = other_shape(table, live)
    if shape or live is None:
        return shape
    return other_rows(table, *live_digest(connection, as_encoded(live, table)))


def other_shape(table: Table, live: LiveTable | None) -> str:
    """What of a table's columns is not as the manifest has it, in words; empty if nothing."""
    if live is None:
        return "is missing"
    theirs = {column.name: column.base_type for column in table.columns}
    ours = {column.name: column.base_type for column in live.columns}
    if theirs != ours:
        return f"has columns {_listed(ours)} instead of {_listed(theirs)}"
    return ""


def other_rows(table: Table, rows: int, digest: str) -> str:
    """What of a table's rows is not as the manifest has it, in words; empty if nothing."""
    if rows != table.rows:
        return f"has {rows:,} rows instead of {table.rows:,}"
    if digest != table.digest:
        return f"has other content in its {rows:,} rows (digest {digest}, not {table.digest})"
    return ""


def _listed(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in sorted(columns.items()))
