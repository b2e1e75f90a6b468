"""What must hold before a backup reads anything; everything wrong is said at once."""

from collections.abc import Sequence

from psycopg import sql

from backup_pipelines.errors import Refused
from backup_pipelines.modules import Entry
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.system import System


def refuse_unreadable(
    system: System,
    role: str,
    tables: Sequence[LiveTable],
    chosen: Sequence[LiveTable],
    missing: Sequence[Entry],
) -> None:
    """Raise Refused when a table is missing, unreadable, or would hide rows from `role`.

    All `tables` must be readable, since pg_dump locks what it describes; hidden rows matter in
    the `chosen` ones only.
    """
    problems = [
        f"{entry.name} is in module {entry.module} but not in the database: remove it from "
        f"defs/{system.system}/defs.yaml, or create it"
        for entry in missing
    ]
    named = sql.Identifier(role).as_string()
    no_schema = sorted({table.schema for table in tables if not table.may_use_schema})
    problems += [
        f"schema {schema} may not be used: GRANT USAGE ON SCHEMA "
        f"{sql.Identifier(schema).as_string()} TO {named};"
        for schema in no_schema
    ]
    problems += [
        f"{table.qualified} may not be read: GRANT SELECT ON {table.identifier.as_string()} "
        f"TO {named};"
        for table in tables
        if not table.may_select
    ]
    hidden = [table.qualified for table in chosen if table.rows_hidden]
    problems += [
        f"{name} has row-level security that hides rows from this role: "
        f"ALTER ROLE {named} BYPASSRLS;"
        for name in hidden
    ]
    if problems:
        raise Refused(
            f"{system.system} cannot be backed up whole as role {role}; nothing was written. "
            "What to do:\n" + "\n".join(f"- {problem}" for problem in problems)
        )
