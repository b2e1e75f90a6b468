"""Foreign keys that a restore puts back: which rows would stand against them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql

from backup_pipelines.manifest import ForeignKey, Manifest
from backup_pipelines.postgres.comparison import Change, Mode
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.consequences import Consequence
from backup_pipelines.postgres.guards import LiveForeignKey
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring.creation import Creation
from backup_pipelines.restoring.existing import relations_now


def pending(connection: Connection, creation: Creation) -> list[LiveForeignKey]:
    """The keys as if they were live already; both of their tables are."""
    names = {name for backed in creation.backed for name in (backed.table, backed.references)}
    there = relations_now(connection, names)
    relations = {name: row for name, row in there.items() if row["kind"] in ("r", "p")}
    return [
        _as_live(connection, backed.key, relations[backed.table], relations[backed.references])
        for backed in creation.backed
        if backed.table in relations and backed.references in relations
    ]


def needs_rows(
    keys: Iterable[LiveForeignKey],
    creation: Creation | None,
    table: str,
    inside: frozenset[str],
    mode: Mode,
) -> bool:
    """Whether live rows may reference a created table's, so that its rows must be looked at."""
    return creation is not None and any(
        key.references == table and _may_be_orphaned(key, creation, inside, mode) for key in keys
    )


def pending_consequences(
    connection: Connection,
    keys: Iterable[LiveForeignKey],
    creation: Creation,
    changes: Sequence[Change],
    inside: frozenset[str],
    mode: Mode,
    entry: Manifest,
) -> list[Consequence]:
    """What stands against the keys that were lost: rows without parents, tables that are not."""
    held = {table.qualified for table in entry.tables}
    found = [_homeless(key, held) for key in creation.homeless]
    for key in keys:
        if not _may_be_orphaned(key, creation, inside, mode):
            continue
        rows = _without_parents(connection, key, changes)
        if rows:
            text = (
                f"{rows:,} rows of {key.table} reference rows of {key.references} that the backup "
                f"does not have, so the foreign key that went with the table cannot be put back "
                f"({key.name}): restore {key.table} with it, or change those rows first"
            )
            add = key.table if key.table in held and key.table not in inside else ""
            found.append(Consequence("orphans", key.table, rows, text, add))
    return found


def _may_be_orphaned(
    key: LiveForeignKey, creation: Creation, inside: frozenset[str], mode: Mode
) -> bool:
    """Whether the rows of a key's live table need not be the backup's after the restore."""
    if key.references not in creation.made or key.table in creation.made:
        return False
    if key.references in creation.problems:
        return False
    return key.table not in inside or mode != "replace"


def _homeless(key: ForeignKey, held: set[str]) -> Consequence:
    text = (
        f"{key.table} references {key.references} ({key.name}), which does not exist any more: "
        "restore both together"
    )
    add = key.references if key.references in held else ""
    return Consequence("missing parents", key.table, 0, text, add)


def _without_parents(connection: Connection, key: LiveForeignKey, changes: Sequence[Change]) -> int:
    """Rows that stay in a live table and reference none of the rows for the created one."""
    columns = [sql.Identifier(name) for name in key.columns]
    conditions = [sql.SQL("c.{} IS NOT NULL").format(column) for column in columns]
    for change in changes:
        is_parent = key.references in (change.live.root, change.table.qualified)
        if is_parent or key.references == change.table.partition_of:
            if change.staged:
                conditions.append(
                    sql.SQL("NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(
                        change.stage, key.matches("p", "c")
                    )
                )
        elif key.table in (change.live.root, change.table.qualified) and change.staged:
            conditions.append(
                sql.SQL(
                    "NOT EXISTS (SELECT FROM {} AS d WHERE d.live = c.ctid"
                    " AND c.tableoid = {}::pg_catalog.oid)"
                ).format(change.diff, change.live.oid)
            )
    row = connection.execute(
        sql.SQL("SELECT count(*) AS rows FROM {} AS c WHERE {}").format(
            key.table_identifier, sql.SQL(" AND ").join(conditions)
        )
    ).fetchone()
    assert row is not None
    return int(row["rows"])


def _as_live(
    connection: Connection,
    key: ForeignKey,
    table: Mapping[str, Any],
    references: Mapping[str, Any],
) -> LiveForeignKey:
    operators = {
        row["name"]: (row["schema"], row["operator"])
        for row in connection.execute(query("key_operators"), {"oid": references["oid"]})
    }
    chosen = [operators[name] for name in key.referenced_columns]
    return LiveForeignKey(
        name=key.name,
        table_oid=table["oid"],
        table_schema=table["schema"],
        table_name=table["name"],
        references_oid=references["oid"],
        references_schema=references["schema"],
        references_name=references["name"],
        columns=key.columns,
        referenced_columns=key.referenced_columns,
        operator_schemas=tuple(schema for schema, _ in chosen),
        operator_names=tuple(name for _, name in chosen),
        definition=key.definition,
        comment=None,
        on_delete=key.on_delete,
        is_partitioned=False,
        may_read_table=table["may_read"],
        may_read_referenced=references["may_read"],
        is_ours=True,
    )
