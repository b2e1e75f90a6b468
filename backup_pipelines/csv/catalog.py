"""What a table takes, as the live catalog has it: for who fills in a file, and for an import."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from backup_pipelines.csv import form as csv_form
from backup_pipelines.manifest import ForeignKey
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import (
    LiveColumn,
    LiveTable,
    list_foreign_keys,
    list_tables,
)
from backup_pipelines.postgres.queries import query

# Enough to see what they look like, and to find one that is free.
_LOOKED_UP = 10

# CHECK (x IN ('a', 'b')) as PostgreSQL writes it back, for texts and numbers, for columns and
# domains; anything else that a CHECK says is shown as it is.
_CAST = r"(?:::[\w \"]+(?:\(\d+\))?)?"
_LITERAL = rf"(?:'(?:[^']|'')*'|\d+(?:\.\d+)?){_CAST}"
_IN_LIST = re.compile(
    rf"CHECK \(\(\(?(?P<what>\"(?:[^\"]|\"\")+\"|\w+)\)?{_CAST} = ANY "
    rf"\(\(?ARRAY\[(?P<list>{_LITERAL}(?:, {_LITERAL})*)\]\)?(?:::[\w \"]+\[\])?\)\)\)"
)
_ITEM = re.compile(rf"(?:'((?:[^']|'')*)'|(\d+(?:\.\d+)?)){_CAST}(?:, |$)")


@dataclass(frozen=True)
class Lookup:
    """A foreign key from here, and rows that it may lead to."""

    columns: tuple[str, ...]
    references: str
    referenced_columns: tuple[str, ...]
    existing: tuple[tuple[str | None, ...], ...]
    """Values of the referenced columns, as text."""


@dataclass(frozen=True)
class Check:
    """A CHECK of a table."""

    columns: tuple[str, ...]
    definition: str
    expression: str


@dataclass(frozen=True)
class UniqueKey:
    """One of the keys of a unique index, and how its index compares two values."""

    expression: str
    """The column or the expression, as PostgreSQL writes it."""
    collation: str | None
    """With its schema, as PostgreSQL writes it."""
    operator: tuple[str | None, str | None]
    """Schema and name; none for an exclusion's, which need not be an equality."""


@dataclass(frozen=True)
class Unique:
    """Columns whose values no two rows share, of the rows that `predicate` is true for."""

    columns: tuple[str, ...]
    is_primary: bool
    has_expressions: bool
    predicate: str | None
    name: str
    keys: tuple[UniqueKey, ...]
    is_exclusion: bool
    nulls_not_distinct: bool

    @property
    def plain_columns(self) -> tuple[str, ...]:
        """The columns that it is of, where it is of all rows and of columns alone; else none."""
        usual = not (self.has_expressions or self.predicate or self.is_exclusion)
        return self.columns if usual else ()


@dataclass(frozen=True)
class ColumnFacts:
    """One column that a file has."""

    column: LiveColumn
    default: str
    """The expression, or how the database counts; empty where there is none."""
    required: bool
    """Whether every row must say it: NULL is refused, and nothing else takes its place."""
    nullable: bool
    allowed: tuple[str, ...]
    rules: tuple[str, ...]
    """CHECKs, its domains' too, as PostgreSQL writes them."""
    comment: str
    written: str
    """Its type with its domains resolved, e.g. numeric(12,2)."""
    labels: tuple[str, ...]
    """An enum's."""
    domain_rules: Mapping[str, str]
    """The CHECKs of its domains by name."""
    default_sql: str | None
    """What a row gets that does not say it; None where that can be another each time."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.column.name


@dataclass(frozen=True)
class TableFacts:
    """One table, the columns that its file has and what binds them."""

    table: LiveTable
    columns: tuple[ColumnFacts, ...]
    lookups: tuple[Lookup, ...]
    checks: tuple[Check, ...]
    uniques: tuple[Unique, ...]

    def key_of(self, column: str) -> str:
        """What uniqueness says of a column, in words."""
        said: list[str] = []
        for unique in self.uniques:
            if column in unique.columns:
                others = ", ".join(name for name in unique.columns if name != column)
                kind = "primary key" if unique.is_primary else "unique"
                text = kind + (f" with {others}" if others else "")
                said.append(text + (" for some rows" if unique.predicate else ""))
        return "; ".join(dict.fromkeys(said))

    def lookups_of(self, column: str) -> list[tuple[str, list[str]]]:
        """Where the values of a column must be, and some that are there."""
        found: list[tuple[str, list[str]]] = []
        for lookup in self.lookups:
            if column in lookup.columns:
                place = lookup.columns.index(column)
                values = [row[place] for row in lookup.existing]
                name = f"{lookup.references}.{lookup.referenced_columns[place]}"
                found.append((name, list(dict.fromkeys(v for v in values if v is not None))))
        return found


def describe_tables(
    connection: Connection, tables: Sequence[LiveTable], *, lookups: bool
) -> list[TableFacts]:
    """The facts of the tables, read in the connection's transaction.

    With `lookups` also what foreign keys may lead to, for which rows of other tables are read.
    """
    oids = {"oids": [table.oid for table in tables]}
    more = {
        (row["table_oid"], row["name"]): row
        for row in connection.execute(query("csv_columns"), oids).fetchall()
    }
    checks = _by_table(connection.execute(query("csv_checks"), oids).fetchall())
    uniques = _by_table(connection.execute(query("csv_uniques"), oids).fetchall())
    others = list_tables(connection) if lookups else ()
    readable = {t.qualified: t for t in others if t.may_select}
    keys = list_foreign_keys(connection) if lookups else ()
    return [
        _facts(
            connection,
            table,
            more,
            tuple(
                Check(tuple(row["columns"]), row["definition"], row["expression"])
                for row in checks.get(table.oid, ())
            ),
            tuple(_unique(row) for row in uniques.get(table.oid, ())),
            [key for key in keys if key.table == table.qualified],
            readable,
        )
        for table in tables
    ]


def in_list(definition: str) -> tuple[str, ...]:
    """The values that a CHECK of the form `x IN (...)` allows; none for any other."""
    found = _IN_LIST.fullmatch(definition)
    if found is None:
        return ()
    return tuple(
        item[2] if item[1] is None else item[1].replace("''", "'")
        for item in _ITEM.finditer(found["list"])
    )


def _by_table(rows: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["table_oid"], []).append(row)
    return found


def _facts(
    connection: Connection,
    table: LiveTable,
    more: Mapping[tuple[int, str], dict[str, Any]],
    checks: tuple[Check, ...],
    uniques: tuple[Unique, ...],
    keys: Sequence[ForeignKey],
    readable: Mapping[str, LiveTable],
) -> TableFacts:
    columns = [
        _column(column, more[table.oid, column.name], checks)
        for column in csv_form.importable(table.columns)
    ]
    lookups = [
        Lookup(
            key.columns,
            key.references,
            key.referenced_columns,
            _existing(connection, table, key, readable.get(key.references)),
        )
        for key in keys
    ]
    return TableFacts(table, tuple(columns), tuple(lookups), checks, uniques)


def _unique(row: Mapping[str, Any]) -> Unique:
    operators = zip(row["operator_schemas"], row["operator_names"], strict=True)
    keys = zip(row["key_expressions"], row["key_collations"], operators, strict=True)
    return Unique(
        columns=tuple(row["columns"]),
        is_primary=row["is_primary"],
        has_expressions=row["has_expressions"],
        predicate=row["predicate"],
        name=row["name"],
        keys=tuple(UniqueKey(*key) for key in keys),
        is_exclusion=row["is_exclusion"],
        nulls_not_distinct=row["nulls_not_distinct"],
    )


def _column(column: LiveColumn, more: Mapping[str, Any], checks: Sequence[Check]) -> ColumnFacts:
    own = [check.definition for check in checks if column.name in check.columns]
    rules = [*more["domain_checks"], *own]
    alone = [check.definition for check in checks if check.columns == (column.name,)]
    lists = [values for rule in [*more["domain_checks"], *alone] if (values := in_list(rule))]
    allowed = tuple(more["labels"]) or (lists[0] if lists else ())
    for values in lists:
        allowed = tuple(value for value in allowed if value in values)
    default = default_sql = column.default or more["domain_default"] or ""
    if column.identity:
        default = "the next number" + (" (always)" if column.identity == "always" else "")
    nullable = not column.not_null and not more["domain_not_null"]
    return ColumnFacts(
        column=column,
        default=default,
        required=not nullable and not default,
        nullable=nullable,
        allowed=allowed,
        # Those that the list says already say nothing more.
        rules=tuple(rule for rule in rules if not in_list(rule)),
        comment=more["comment"],
        written=more["written"],
        labels=tuple(more["labels"]),
        domain_rules=dict(zip(more["domain_check_names"], more["domain_checks"], strict=True)),
        default_sql=None if column.identity or more["default_varies"] else default_sql,
    )


def _existing(
    connection: Connection, table: LiveTable, key: ForeignKey, parent: LiveTable | None
) -> tuple[tuple[str | None, ...], ...]:
    """Some rows that a foreign key may lead to, first those that no row here leads to yet."""
    if parent is None or parent.rows_hidden or not parent.may_use_schema:
        return ()
    values = [
        sql.SQL("pg_catalog.format('%s', p.{})").format(sql.Identifier(name))
        for name in key.referenced_columns
    ]
    known = sql.SQL(" AND ").join(
        sql.SQL("p.{} IS NOT NULL").format(sql.Identifier(name)) for name in key.referenced_columns
    )
    same = sql.SQL(" AND ").join(
        sql.SQL("c.{} = p.{}").format(sql.Identifier(ours), sql.Identifier(theirs))
        for ours, theirs in zip(key.columns, key.referenced_columns, strict=True)
    )
    # Joined on what the foreign key compares itself; cut before it is sorted, since it may be long.
    statement = sql.SQL("SELECT {} FROM {} AS p WHERE {} AND {} LIMIT {}")
    found: list[tuple[str | None, ...]] = []
    taken = sql.SQL("EXISTS (SELECT FROM {} AS c WHERE {})").format(table.identifier, same)
    for condition in (sql.SQL("NOT ") + taken, sql.SQL("true")):
        rows = connection.execute(
            statement.format(
                sql.SQL(", ").join(
                    sql.SQL("{} AS {}").format(value, sql.Identifier(f"v{number}"))
                    for number, value in enumerate(values)
                ),
                parent.identifier,
                known,
                condition,
                _LOOKED_UP,
            )
        )
        found += [tuple(row.values()) for row in rows.fetchall()]
    return tuple(dict.fromkeys(found))[:_LOOKED_UP]
