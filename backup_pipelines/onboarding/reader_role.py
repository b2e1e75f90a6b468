"""The SQL of a role that reads all that a backup needs and changes nothing, for each kind of host.

BYPASSRLS is given by a superuser, and from PostgreSQL 16 on by a role that has it itself and
CREATEROLE. Supabase's `postgres` is such a role. The master user of RDS is none: there only its
owner sees all rows of a table with row-level security.
"""

from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from backup_pipelines.onboarding.found import READER, Found, Host
from backup_pipelines.onboarding.rendering import shown
from backup_pipelines.postgres.introspect import LiveTable

# The first version in which others than superusers can give BYPASSRLS.
_GIVES_BYPASSRLS = 16

_WHERE: Mapping[Host, str] = {
    "plain": "run as a superuser",
    "supabase": "run in Supabase's SQL editor, which is the role postgres",
    "rds": "run as the master user, made a member of the tables' owners WITH ADMIN OPTION",
}


def may_bypass(found: Found) -> bool:
    """Whether anybody on this server can be expected to give BYPASSRLS."""
    return found.host == "plain" or (
        found.host == "supabase" and found.server.major >= _GIVES_BYPASSRLS
    )


def proposed_role(found: Found) -> str:
    """A warning with the statements that make the role; its password is to be chosen."""
    role, bypass = sql.Identifier(READER).as_string(), may_bypass(found)
    rights = " BYPASSRLS" if bypass else ""
    made = (
        [f"ALTER ROLE {role} BYPASSRLS;"] * bypass
        if found.has_reader
        else [f"CREATE ROLE {role} LOGIN PASSWORD '...'{rights};"]
    )
    database = sql.Identifier(found.server.database).as_string()
    lines = [
        *made,
        f"GRANT CONNECT ON DATABASE {database} TO {role};",
        *(_per_schema(found, role) if found.host == "rds" else [_everything(role)]),
    ]
    hidden = [table for table in found.tables if table.row_security]
    if not bypass:
        lines += see_all_rows(found, role, hidden)
    return "\n".join(
        [
            f"role {shown(found.server.role)} may change tables, which a backup never needs; for "
            f"a role that only reads, {_WHERE[found.host]}{bypass_note(found, hidden)}",
            *(shown(line) for line in lines),
        ]
    )


def see_all_rows(found: Found, role: str, hidden: Iterable[LiveTable]) -> Sequence[str]:
    """The statements after which row-level security hides nothing from the role.

    Where it is forced and nobody may give BYPASSRLS there are none: `bypass_note` says so.
    """
    if may_bypass(found):
        return [f"ALTER ROLE {role} BYPASSRLS;"]
    owners = {found.owners[table.oid] for table in hidden if not table.force_row_security}
    return [f"GRANT {sql.Identifier(owner).as_string()} TO {role};" for owner in sorted(owners)]


def bypass_note(found: Found, hidden: Sequence[LiveTable]) -> str:
    """What to know before the statements of `see_all_rows` are run; empty for nothing."""
    if may_bypass(found) or not hidden:
        return ""
    who = (
        "the master user of RDS cannot give BYPASSRLS"
        if found.host == "rds"
        else f"before PostgreSQL {_GIVES_BYPASSRLS} only a superuser gives BYPASSRLS"
    )
    note = f"; {who}: a member of a table's owner sees all rows, and may write, too"
    forced = sorted(shown(table.qualified) for table in hidden if table.force_row_security)
    if forced:
        note += (
            f"; row-level security is forced on owners, too, in {', '.join(forced)}: only a role "
            "that has BYPASSRLS already can back up these"
        )
    return note


def _everything(role: str) -> str:
    # SELECT on all tables and sequences, today's and tomorrow's, and USAGE of all schemas.
    return f"GRANT pg_read_all_data TO {role};"


def _per_schema(found: Found, role: str) -> list[str]:
    """What owners of tables can give without any right of the server's."""
    lines: list[str] = []
    for schema in sorted({table.schema for table in found.tables}):
        quoted = sql.Identifier(schema).as_string()
        owners = sorted({found.owners[t.oid] for t in found.tables if t.schema == schema})
        lines += [
            f"GRANT USAGE ON SCHEMA {quoted} TO {role};",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO {role};",
            f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {quoted} TO {role};",
        ]
        for kind in ("TABLES", "SEQUENCES"):
            lines += [
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {sql.Identifier(owner).as_string()} IN SCHEMA "
                f"{quoted} GRANT SELECT ON {kind} TO {role};"
                for owner in owners
            ]
    return lines
