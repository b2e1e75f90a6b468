"""Roles from the application's own table, looked up by the user's id."""

import os

from psycopg import sql

from backup_pipelines import environment
from backup_pipelines.access.roles import Role
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.postgres.connection import as_failed, connected
from backup_pipelines.settings_access import RolesFromSpec
from backup_pipelines.system import System

_TIMEOUT = "SET statement_timeout = '5s'"


def role_in_table(system: System, spec: RolesFromSpec, subject: str) -> Role:
    """The highest role that the application gives a user; raises Refused when it cannot be asked.

    Who cannot be looked up has none: a restore must not hang on a guess.
    """
    try:
        found = _found(system, spec, subject)
    except BackupError as error:
        raise Refused(
            f"roles of {system.system} cannot be read from {spec.table} ({error}); who is named "
            "under admins in its YAML needs no such look"
        ) from error
    ranked = (
        (Role.ADMIN, spec.admins),
        (Role.OPERATOR, spec.operators),
        (Role.VIEWER, spec.viewers),
    )
    return next((role for role, named in ranked if found & set(named)), Role.NOBODY)


def _found(system: System, spec: RolesFromSpec, subject: str) -> set[str]:
    if not subject:
        return set()
    if spec.database_url_env:
        url = os.environ.get(spec.database_url_env)
        if not url:
            raise Refused(f"{spec.database_url_env} is not set for this process")
        return _asked(url, spec, subject)
    with environment.source_url(system) as url:
        return _asked(url, spec, subject)


def _asked(url: str, spec: RolesFromSpec, subject: str) -> set[str]:
    schema, _, table = spec.table.partition(".")
    statement = sql.SQL("SELECT {role}::text AS role FROM {table} WHERE {user}::text = %s").format(
        role=sql.Identifier(spec.role_column),
        table=sql.Identifier(schema, table),
        user=sql.Identifier(spec.user_column),
    )
    with (
        connected(url, what="the database with the roles", doing="access") as connection,
        as_failed(f"{spec.table} cannot be read"),
    ):
        # Rows that are hidden from this role must be an error, never a missing role.
        connection.execute("SET row_security = off")
        # A restore may hold the table for long; who signs in meanwhile is told so.
        connection.execute(_TIMEOUT)
        rows = connection.execute(statement, [subject]).fetchall()
    return {str(row["role"]) for row in rows}
