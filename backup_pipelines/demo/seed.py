"""Makes the demo databases: roles, schema, rows, and what is added once the rows are in."""

import importlib
import importlib.resources
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from typing import Any, cast

import psycopg
from psycopg import sql

from backup_pipelines.demo.rows import TableRows

SYSTEMS = ("crm", "dcim")

Connection = psycopg.Connection[tuple[Any, ...]]

# Any number, so that two processes that make the same demo at once do it one after the other.
_LOCK = 0x62705F64656D6F


def create_database(
    admin_url_of: Callable[[str], str],
    system: str,
    *,
    scale: float = 1.0,
    seed: int = 20240229,
    database: str | None = None,
) -> None:
    """Make a system's demo database, named like the system unless told otherwise.

    It does nothing if the database is there. `admin_url_of` gives a superuser's URL for a database.
    The rows go into one with another name, which gets its own when it is complete: whoever kills
    this leaves nothing that looks like a demo database.
    """
    if system not in SYSTEMS:
        raise ValueError(f"no demo system {system!r}; there are {', '.join(SYSTEMS)}")
    final = database or system
    unfinished = f"{final}_unfinished"
    owner, backup = f"{system}_owner", f"{system}_backup"
    with psycopg.connect(admin_url_of("postgres"), autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", (final,)).rowcount:
            return
        _create_role(admin, owner, "LOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS")
        # It has to see every row, whatever the policies say, and may change none.
        _create_role(admin, backup, "LOGIN NOSUPERUSER NOCREATEROLE BYPASSRLS")
        _run(admin, "DROP DATABASE IF EXISTS {} WITH (FORCE)", unfinished)
        _run(
            admin,
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'",
            unfinished,
            owner,
        )
        _fill(admin_url_of(unfinished), system, scale, seed)
        _run(admin, "GRANT CONNECT ON DATABASE {} TO {}", unfinished, backup)
        _run(admin, "ALTER DATABASE {} RENAME TO {}", unfinished, final)


def _fill(url: str, system: str, scale: float, seed: int) -> None:
    package = importlib.import_module(f"backup_pipelines.demo.{system}.rows")
    tables = cast("Callable[[int, float], Iterator[TableRows]]", package.tables)
    scripts = importlib.resources.files(f"backup_pipelines.demo.{system}")
    owner = f"{system}_owner"
    with psycopg.connect(url, autocommit=True) as connection:
        # Losing the last second of a demo that is not finished yet is no loss.
        connection.execute("SET synchronous_commit = off")
        _run(connection, "ALTER SCHEMA public OWNER TO {}", owner)
        _run_script(connection, scripts / "before_superuser.sql", optional=True)
        with _acting_as(connection, owner):
            # In one transaction, for rows of a table as new as itself need not go through the log.
            with connection.transaction():
                _run_script(connection, scripts / "schema.sql")
                for table in tables(seed, scale):
                    _load(connection, table)
            _run_script(connection, scripts / "after.sql")
        _let_read(connection, owner, f"{system}_backup")
        connection.execute("ANALYZE")


def _load(connection: Connection, table: TableRows) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    # The table's name is quoted already: that is what TableRows promises.
    name = sql.SQL(cast("Any", table.table))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in table.rows:
            copy.write_row(row)


def _let_read(connection: Connection, owner: str, reader: str) -> None:
    found = connection.execute(
        "SELECT nspname FROM pg_namespace"
        " WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' ORDER BY nspname"
    )
    for (schema,) in found.fetchall():
        _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, reader)
        _run(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}", schema, reader)
        _run(connection, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}", schema, reader)
    # What the owner makes after today, in whatever schema.
    grant = "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT "
    for privilege in ("SELECT ON TABLES", "SELECT ON SEQUENCES", "USAGE ON SCHEMAS"):
        _run(connection, f"{grant}{privilege} TO {{}}", owner, reader)


@contextmanager
def _acting_as(connection: Connection, role: str) -> Generator[None]:
    _run(connection, "SET ROLE {}", role)
    yield
    connection.execute("RESET ROLE")


def _create_role(connection: Connection, role: str, options: str) -> None:
    if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount:
        _run(connection, f"CREATE ROLE {{}} {options}", role)


def _run(connection: Connection, statement: str, *names: str) -> None:
    """Run one of this module's statements with its names quoted."""
    connection.execute(sql.SQL(cast("Any", statement)).format(*map(sql.Identifier, names)))


def _run_script(connection: Connection, script: Traversable, *, optional: bool = False) -> None:
    if optional and not script.is_file():
        return
    connection.execute(script.read_bytes())
