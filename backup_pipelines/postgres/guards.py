"""What in the database acts on our writes or refuses them, and what must be as it was after."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString, cast

from psycopg import sql

from backup_pipelines.errors import Failed
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query

Kind = Literal["trigger", "rule", "force", "identity", "unique", "foreign owner"]


@dataclass(frozen=True)
class Guard:
    """One thing that acts when rows of a table change."""

    kind: Kind
    table_oid: int
    name: str
    state: str


@dataclass(frozen=True)
class LiveForeignKey:
    """One foreign key of the live database, with what puts it back."""

    name: str
    table_oid: int
    table_schema: str
    table_name: str
    references_oid: int
    references_schema: str
    references_name: str
    columns: tuple[str, ...]
    referenced_columns: tuple[str, ...]
    operator_schemas: tuple[str, ...]
    operator_names: tuple[str, ...]
    definition: str
    comment: str | None
    on_delete: str
    is_partitioned: bool
    may_read_table: bool
    may_read_referenced: bool
    is_ours: bool

    @property
    def table(self) -> str:
        """The referencing table as people name it."""
        return f"{self.table_schema}.{self.table_name}"

    @property
    def references(self) -> str:
        """The referenced table as people name it."""
        return f"{self.references_schema}.{self.references_name}"

    @property
    def table_identifier(self) -> sql.Identifier:
        """The referencing table for SQL."""
        return sql.Identifier(self.table_schema, self.table_name)

    @property
    def references_identifier(self) -> sql.Identifier:
        """The referenced table for SQL."""
        return sql.Identifier(self.references_schema, self.references_name)

    def matches(self, parent: LiteralString, child: LiteralString) -> sql.Composed:
        """The condition that a row of the alias `child` references one of `parent`."""
        return sql.SQL(" AND ").join(
            sql.SQL("{}.{} OPERATOR({}.{}) {}.{}").format(
                sql.SQL(parent),
                sql.Identifier(theirs),
                sql.Identifier(schema),
                # An operator's name cannot be quoted; it comes from pg_operator.
                sql.SQL(cast(LiteralString, operator)),
                sql.SQL(child),
                sql.Identifier(ours),
            )
            for theirs, ours, schema, operator in zip(
                self.referenced_columns,
                self.columns,
                self.operator_schemas,
                self.operator_names,
                strict=True,
            )
        )


def list_guards(connection: Connection, tables: Iterable[LiveTable]) -> list[Guard]:
    """What acts on the tables, see `sql/guards.sql`."""
    oids = {"oids": [table.oid for table in tables]}
    return [Guard(**row) for row in connection.execute(query("guards"), oids).fetchall()]


def list_live_foreign_keys(connection: Connection) -> list[LiveForeignKey]:
    """Every foreign key of the database."""
    rows: list[dict[str, Any]] = connection.execute(query("live_foreign_keys")).fetchall()
    return [_foreign_key(row) for row in rows]


def constraint_state(
    connection: Connection, *, made: Sequence[int] = (), back: Sequence[int] = ()
) -> tuple[str, ...]:
    """Constraints, triggers, rules, row-level security and identities as lines of text.

    Without those of relations that were `made` meanwhile, and rules put `back`, both by oid.
    """
    left_out = {"made": list(made), "back": list(back)}
    return tuple(
        row["line"] for row in connection.execute(query("constraint_state"), left_out).fetchall()
    )


def refuse_changed_state(before: Sequence[str], after: Sequence[str]) -> None:
    """Raise Failed, naming what is not as it was."""
    if before == after:
        return
    lost = [line for line in before if line not in after]
    gained = [line for line in after if line not in before]
    raise Failed(f"the restore would have changed the database: {lost} became {gained}")


def _foreign_key(row: dict[str, Any]) -> LiveForeignKey:
    lists: dict[str, Any] = {
        name: tuple(value) for name, value in row.items() if isinstance(value, list)
    }
    return LiveForeignKey(**(row | lists))


def no_force(connection: Connection, tables: Iterable[LiveTable]) -> None:
    """Let the owner see every row of tables that force row-level security on it."""
    for table in tables:
        connection.execute(
            sql.SQL("ALTER TABLE ONLY {} NO FORCE ROW LEVEL SECURITY").format(table.identifier)
        )


def force_again(connection: Connection, tables: Iterable[LiveTable]) -> None:
    """Force row-level security again; after the proof, from which it would hide rows."""
    for table in tables:
        connection.execute(
            sql.SQL("ALTER TABLE ONLY {} FORCE ROW LEVEL SECURITY").format(table.identifier)
        )
