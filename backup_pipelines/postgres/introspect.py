"""What a database holds, read from pg_catalog: tables, columns, keys, sequences, views."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from backup_pipelines import manifest
from backup_pipelines.errors import Refused
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.types import PORTABLE, Codec, Recipe, codec_for, recipe_for

_IDENTITY = {"": "", "a": "always", "d": "by default"}
_GENERATED = {"": "", "s": "stored", "v": "virtual"}


@dataclass(frozen=True)
class LiveColumn:
    """One column as pg_catalog has it now, and the codec that it travels by."""

    name: str
    type: str
    base_type: str
    codec: Codec
    not_null: bool
    default: str | None
    identity: str
    generated: str
    as_text: "LiveColumn | None" = None

    def described(self) -> manifest.Column:
        """The column as the manifest records it."""
        return manifest.Column(
            name=self.name,
            type=self.type,
            base_type=self.base_type,
            encoding=self.codec.encoding,
            arrow_type=str(self.codec.arrow),
            not_null=self.not_null,
            default=self.default,
            identity=self.identity,  # type: ignore[arg-type]  # pyright: ignore
            generated=self.generated,  # type: ignore[arg-type]  # pyright: ignore
        )


@dataclass(frozen=True)
class LiveTable:
    """One table of the database now."""

    oid: int
    schema: str
    name: str
    kind: str
    partition_of: str | None
    inherits: tuple[str, ...]
    row_security: bool
    force_row_security: bool
    may_use_schema: bool
    may_select: bool
    rows_hidden: bool
    heap_bytes: int
    table_bytes: int
    estimated_rows: int = -1
    """PostgreSQL's own estimate; negative before the first VACUUM or ANALYZE."""
    columns: tuple[LiveColumn, ...] = ()
    primary_key: tuple[str, ...] = ()
    recipe: Recipe = PORTABLE
    """How this server computes the hashes of its rows."""

    @property
    def qualified(self) -> str:
        """`schema.name` without quotes, the name that people and the YAML use."""
        return f"{self.schema}.{self.name}"

    @property
    def root(self) -> str:
        """The table that people mean: the partitioned table for a partition, else itself."""
        return self.partition_of or self.qualified

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name for SQL."""
        return sql.Identifier(self.schema, self.name)

    def with_text_columns(self, names: Iterable[str]) -> "LiveTable":
        """A copy whose named columns travel as text."""
        wanted = set(names)
        columns = tuple(
            c.as_text if c.name in wanted and c.as_text is not None else c for c in self.columns
        )
        return replace(self, columns=columns)


def list_tables(connection: Connection, schemas: Sequence[str] = ()) -> list[LiveTable]:
    """Every table, ordinary or partitioned, in `schemas` or anywhere; no columns yet."""
    rows: list[dict[str, Any]] = connection.execute(query("tables")).fetchall()
    # Of a table that is dropped meanwhile PostgreSQL says NULL where it is asked for a privilege.
    existing = [row for row in rows if row["may_select"] is not None]
    return [_table(row) for row in existing if not schemas or row["schema"] in schemas]


def with_columns(connection: Connection, tables: Sequence[LiveTable]) -> list[LiveTable]:
    """The tables with their columns and primary keys."""
    oids = {"oids": [table.oid for table in tables]}
    columns: dict[int, list[LiveColumn]] = {}
    for row in connection.execute(query("columns"), oids):
        columns.setdefault(row["table_oid"], []).append(_column(row))
    keys = {
        row["table_oid"]: tuple(row["columns"])
        for row in connection.execute(query("primary_keys"), oids)
    }
    info = connection.info
    recipe = recipe_for(info.server_version, info.parameter_status("server_encoding"))
    return [
        replace(
            table,
            columns=tuple(columns.get(table.oid, ())),
            primary_key=keys.get(table.oid, ()),
            recipe=recipe,
        )
        for table in tables
    ]


def list_left_out(connection: Connection, schemas: Sequence[str] = ()) -> list[manifest.Excluded]:
    """Foreign tables, extensions' own tables and large objects, which a backup does not hold."""
    found = [
        manifest.Excluded(name=f"{row['schema']}.{row['name']}", reason=row["reason"])
        for row in connection.execute(query("left_out"))
        if not schemas or row["schema"] in schemas
    ]
    large = connection.execute(query("large_objects")).fetchone()
    if large is not None and large["objects"]:
        reason = f"the database has {large['objects']:,} large objects, which are not backed up"
        found.append(manifest.Excluded(name="large objects", reason=reason))
    return found


def list_foreign_keys(connection: Connection) -> list[manifest.ForeignKey]:
    """Every foreign key of the database."""
    rows = connection.execute(query("foreign_keys")).fetchall()
    return [manifest.ForeignKey(**row) for row in rows]


def list_sequences(connection: Connection, schemas: Sequence[str] = ()) -> list[manifest.Sequence]:
    """Every sequence with its position now; raises Refused when one may not be read."""
    rows = [
        row
        for row in connection.execute(query("sequences")).fetchall()
        if not schemas or row["schema"] in schemas
    ]
    unreadable = [f"{row['schema']}.{row['name']}" for row in rows if not row["may_select"]]
    if unreadable:
        raise Refused(
            f"the role may not read the sequences {', '.join(unreadable)}; grant it: "
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO ..."
        )
    if not rows:
        return []
    positions = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} AS n, last_value, is_called FROM {}").format(
            number, sql.Identifier(row["schema"], row["name"])
        )
        for number, row in enumerate(rows)
    )
    found: Mapping[int, dict[str, Any]] = {
        row["n"]: row for row in connection.execute(positions).fetchall()
    }
    return [
        manifest.Sequence(
            schema=row["schema"],
            name=row["name"],
            last_value=found[number]["last_value"],
            is_called=found[number]["is_called"],
            owned_by=row["owned_by"],
        )
        for number, row in enumerate(rows)
    ]


def list_materialized_views(
    connection: Connection, schemas: Sequence[str] = ()
) -> list[manifest.View]:
    """Every populated materialized view, each after those it reads from."""
    rows = connection.execute(query("materialized_views")).fetchall()
    return [manifest.View(**row) for row in rows if not schemas or row["schema"] in schemas]


def list_roles(connection: Connection) -> set[str]:
    """The roles that own something in the database, have rights on it or are in its policies."""
    return {row["name"] for row in connection.execute(query("roles")).fetchall()}


def list_extensions(connection: Connection) -> tuple[str, ...]:
    """The names of the installed extensions but plpgsql."""
    return tuple(row["name"] for row in connection.execute(query("extensions")).fetchall())


def _table(row: dict[str, Any]) -> LiveTable:
    parents: dict[str, Any] = {"inherits": tuple(row["inherits"])}
    return LiveTable(**(row | parents))


def _column(row: Mapping[str, Any]) -> LiveColumn:
    def with_codec(as_text: bool) -> LiveColumn:
        codec = codec_for(
            base_schema=row["base_schema"],
            base_name=row["base_name"],
            base_kind=row["base_kind"],
            type_mod=row["type_mod"],
            is_domain=row["is_domain"],
            has_text_cast_function=row["has_text_cast_function"],
            as_text=as_text,
        )
        return LiveColumn(
            name=row["name"],
            type=row["type"],
            base_type=f"{row['base_schema']}.{row['base_name']}",
            codec=codec,
            not_null=row["not_null"],
            default=row["default"],
            identity=_IDENTITY[row["identity"]],
            generated=_GENERATED[row["generated"]],
        )

    native, text = with_codec(False), with_codec(True)
    return native if text.codec == native.codec else replace(native, as_text=text)
