"""What must hold before a backup reads anything; everything wrong is said at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from backup_pipelines.errors import Refused
from backup_pipelines.modules import Entry
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query
from backup_pipelines.system import System


@dataclass(frozen=True)
class Problems:
    """What `refuse_unreadable` refuses, a sentence with what to do for each thing."""

    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    sequences: tuple[str, ...]
    hidden: tuple[str, ...]
    unlogged: tuple[str, ...]


def find_problems(
    connection: Connection,
    system: System,
    role: str,
    tables: Sequence[LiveTable],
    chosen: Sequence[LiveTable],
    missing: Sequence[Entry],
) -> Problems:
    """Everything for which a backup of the chosen tables would be refused."""
    named = sql.Identifier(role).as_string()
    return Problems(
        missing=tuple(_missing_problems(system, missing)),
        unreadable=tuple(_table_problems(named, tables)),
        sequences=tuple(
            f"a sequence may not be read: GRANT SELECT ON SEQUENCE {name.as_string()} TO {named};"
            for name in _unreadable_sequences(connection, system.schemas)
        ),
        hidden=tuple(_hidden_problems(connection, named, chosen)),
        unlogged=tuple(_unlogged_problems(connection, system, chosen)),
    )


def refuse_unreadable(
    connection: Connection,
    system: System,
    role: str,
    tables: Sequence[LiveTable],
    chosen: Sequence[LiveTable],
    missing: Sequence[Entry],
) -> None:
    """Raise Refused when a table is missing, unreadable, or would hide rows from `role`.

    All `tables` must be readable, since pg_dump locks what it describes, and all sequences; hidden
    rows matter in the `chosen` tables only.
    """
    found = find_problems(connection, system, role, tables, chosen, missing)
    problems = (
        *found.missing,
        *found.unreadable,
        *found.sequences,
        *found.hidden,
        *found.unlogged,
    )
    if problems:
        raise Refused(
            f"{system.system} cannot be backed up whole as role {role}; nothing was written. "
            "What to do:\n" + "\n".join(f"- {problem}" for problem in problems)
        )


def refuse_hidden_rows(
    connection: Connection,
    system: System,
    role: str,
    chosen: Sequence[LiveTable],
    missing: Sequence[Entry],
) -> None:
    """Raise Refused when one of the chosen tables alone is what `refuse_unreadable` refuses."""
    named = sql.Identifier(role).as_string()
    problems = [
        *_missing_problems(system, missing),
        *_table_problems(named, chosen),
        *_hidden_problems(connection, named, chosen),
        *_unlogged_problems(connection, system, chosen),
    ]
    if problems:
        raise Refused(
            f"the tables of {system.system} cannot be read whole as role {role}; nothing was "
            "written. What to do:\n" + "\n".join(f"- {problem}" for problem in problems)
        )


def _missing_problems(system: System, missing: Sequence[Entry]) -> list[str]:
    return [
        f"{entry.name} is in module {entry.module} but not in the database: if it is lost restore "
        f"it (backup-pipelines plan {system.system} BACKUP), if it is not wanted any more remove "
        f"it from defs/{system.system}/defs.yaml"
        for entry in missing
    ]


def _table_problems(role: str, tables: Sequence[LiveTable]) -> list[str]:
    names = Counter(table.qualified for table in tables)
    no_schema = sorted({table.schema for table in tables if not table.may_use_schema})
    return [
        *(
            f"{name} is the name of {count} tables whose schemas differ in where their dot is: "
            "rename one of them"
            for name, count in names.items()
            if count > 1
        ),
        *(
            f"schema {schema} may not be used: GRANT USAGE ON SCHEMA "
            f"{sql.Identifier(schema).as_string()} TO {role};"
            for schema in no_schema
        ),
        *(
            f"{table.qualified} may not be read: GRANT SELECT ON {table.identifier.as_string()} "
            f"TO {role};"
            for table in tables
            if not table.may_select
        ),
    ]


def _hidden_problems(connection: Connection, role: str, chosen: Sequence[LiveTable]) -> list[str]:
    hiding = _hiding_rows(connection, chosen)
    return [
        f"{table.qualified} has row-level security that hides rows from this role: "
        f"ALTER ROLE {role} BYPASSRLS;"
        for table in chosen
        if table.oid in hiding
    ]


def _unlogged_problems(
    connection: Connection, system: System, chosen: Sequence[LiveTable]
) -> list[str]:
    """What a standby cannot read at all."""
    wanted = {table.oid for table in chosen}
    return [
        f"{row['schema']}.{row['name']} is unlogged, and no standby can read it: back up from the "
        "primary, "
        + (
            "or make it logged there"
            if row["is_sequence"]
            else f"or exclude it in defs/{system.system}/defs.yaml with the reason"
        )
        for row in connection.execute(query("unlogged")).fetchall()
        if row["oid"] in wanted
        or (row["is_sequence"] and (not system.schemas or row["schema"] in system.schemas))
    ]


def _unreadable_sequences(connection: Connection, schemas: Sequence[str]) -> list[sql.Identifier]:
    return [
        sql.Identifier(row["schema"], row["name"])
        for row in connection.execute(query("sequences")).fetchall()
        if row["may_select"] is False and (not schemas or row["schema"] in schemas)
    ]


def _hiding_rows(connection: Connection, tables: Sequence[LiveTable]) -> set[int]:
    """The oids of tables that hide rows, or would once they may be read."""
    found = connection.execute(
        "SELECT oid::bigint AS oid FROM unnest(%s::oid[]) AS oid"
        " WHERE pg_catalog.row_security_active(oid)",
        [[table.oid for table in tables if table.row_security]],
    )
    return {row["oid"] for row in found.fetchall()}
