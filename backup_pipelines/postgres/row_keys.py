"""The unique keys by which rows are matched, with the operators of their indexes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import LiteralString, cast

from psycopg import sql

from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query


@dataclass(frozen=True)
class RowKey:
    """The key columns of one table and how two values of each are compared."""

    columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]

    def matches(self, left: LiteralString, right: LiteralString) -> sql.Composed:
        """The condition that rows of the aliases `left` and `right` have the same key."""
        return self.equals(
            left,
            [sql.SQL("{}.{}").format(sql.SQL(right), sql.Identifier(c)) for c in self.columns],
        )

    def equals(self, alias: LiteralString, values: Iterable[sql.Composable]) -> sql.Composed:
        """The condition that a row of `alias` has these key values."""
        return sql.SQL(" AND ").join(
            sql.SQL("{}.{} OPERATOR({}.{}) {}").format(
                sql.SQL(alias),
                sql.Identifier(column),
                sql.Identifier(schema),
                # An operator's name cannot be quoted; it comes from pg_operator.
                sql.SQL(cast(LiteralString, operator)),
                value,
            )
            for column, (schema, operator), value in zip(
                self.columns, self.operators, values, strict=True
            )
        )


def list_row_keys(
    connection: Connection,
    tables: Iterable[LiveTable],
    chosen: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[int, RowKey]:
    """The primary keys of these tables by the tables' oid, but for those without equality.

    `chosen` has unique columns to take instead, by qualified table; a table of which they are not
    exactly those of a unique index has no key then.
    """
    by_oid = {table.oid: table.qualified for table in tables}
    found: dict[int, RowKey] = {}
    for row in connection.execute(query("row_keys"), {"oids": list(by_oid)}):
        columns = tuple(row["columns"])
        wanted = (chosen or {}).get(by_oid[row["table_oid"]])
        if row["is_primary"] if wanted is None else set(columns) == set(wanted):
            operators = zip(row["operator_schemas"], row["operator_names"], strict=True)
            found[row["table_oid"]] = RowKey(columns, tuple(operators))
    return found
