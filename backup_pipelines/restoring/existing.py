"""What of the names that a backup's DDL has exists in the live database now."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.ddl_subjects import Name
from backup_pipelines.postgres.queries import query

KINDS: Mapping[str, str] = {
    "v": "a view",
    "m": "a materialized view",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "f": "a foreign table",
    "c": "a type",
    "r": "a table that backups leave out",
    "p": "a table that backups leave out",
}
"""What has the name of a table and is none, by `relkind`."""

Relations = Mapping[Name, Mapping[str, Any]]


def relations_now(connection: Connection, names: Collection[Name]) -> dict[Name, dict[str, Any]]:
    """The relations of these names that exist, see `sql/relation_kinds.sql`."""
    ordered = sorted(names)
    lists = {"schemas": [n[0] for n in ordered], "names": [n[1] for n in ordered]}
    rows: list[dict[str, Any]] = connection.execute(query("relation_kinds"), lists).fetchall()
    return {(row["schema"], row["name"]): row for row in rows}


def functions_now(connection: Connection) -> list[dict[str, Any]]:
    """Every function and procedure, see `sql/live_functions.sql`."""
    rows: list[dict[str, Any]] = connection.execute(query("live_functions"), {}).fetchall()
    return rows


def objects_now(connection: Connection, names: Sequence[Name]) -> list[dict[str, Any]]:
    """Relations of these names with their keys, policies and rules, see `sql/made_objects.sql`."""
    lists = {"schemas": [name[0] for name in names], "relations": [name[1] for name in names]}
    rows: list[dict[str, Any]] = connection.execute(query("made_objects"), lists).fetchall()
    wanted = set(names)
    return [row for row in rows if (row["schema"], row["relation"]) in wanted]


def parts_now(connection: Connection, relations: Relations) -> set[tuple[str, Name, str]]:
    """The keys, policies and rules of these relations: kind, relation, name."""
    return {
        (row["kind"], (row["schema"], row["relation"]), row["name"])
        for row in objects_now(connection, list(relations))
        if row["name"]
    }


def no_key_with(
    connection: Connection, relation: Mapping[str, Any], columns: Collection[str]
) -> str:
    """Why a foreign key cannot be of, or to, these columns of a relation; nothing if it can be."""
    if relation["kind"] not in ("r", "p"):
        return f"is {KINDS.get(relation['kind'], 'something else')} now"
    rows = connection.execute(
        "SELECT attname AS name FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attnum > 0"
        " AND NOT attisdropped",
        [relation["oid"]],
    )
    gone = sorted(set(columns) - {row["name"] for row in rows})
    return f"has no column {', '.join(gone)} any more" if gone else ""
