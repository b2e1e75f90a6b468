"""The SQL that `init` proposes for a role that only reads, run as each host's own administrator."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml

from backup_pipelines.errors import Refused
from backup_pipelines.onboarding.found import READER
from backup_pipelines.onboarding.init_system import init_system
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import back_up
from backup_pipelines_tests.fix_postgres import Database, Server

_RIGHTS = {
    "plain": "SUPERUSER",
    "supabase": "CREATEROLE BYPASSRLS",
    "rds": "CREATEROLE",
}
_MARKS = {"supabase": "supabase_admin", "rds": "rds_superuser"}


@dataclass(frozen=True)
class Host:
    """A database as on one kind of host, and the URLs of its administrator and of the new role."""

    kind: str
    database: Database
    admin_url: str
    reader_url: str


@pytest.fixture(params=["plain", "supabase", "rds"])
def host(
    request: pytest.FixtureRequest,
    any_server: Server,
    make_database: Callable[[Server], Database],
) -> Iterator[Host]:
    """A server with the roles of the host, whose administrator is as mighty as there."""
    kind: str = request.param
    made = make_database(any_server)
    made.run(
        "CREATE TABLE orders (id serial PRIMARY KEY); INSERT INTO orders VALUES (1)",
        "CREATE TABLE notes (id int PRIMARY KEY); INSERT INTO notes VALUES (1)",
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        'CREATE SCHEMA "Sales"; CREATE TABLE "Sales".deals (id int PRIMARY KEY)',
    )
    admin, owner = f"{made.name}_admin", f"{made.name}_owner"
    roles = [READER, admin, *filter(None, [_MARKS.get(kind)])]
    made.run(f"CREATE ROLE {admin} LOGIN {_RIGHTS[kind]}", as_admin=True)
    made.run(f"GRANT {owner} TO {admin} WITH ADMIN OPTION", as_admin=True)
    made.run(f"GRANT pg_read_all_data TO {admin} WITH ADMIN OPTION", as_admin=True)
    if kind in _MARKS:
        made.run(f"CREATE ROLE {_MARKS[kind]}", as_admin=True)
    try:
        yield Host(kind, made, any_server.url(made.name, admin), any_server.url(made.name, READER))
    finally:
        with psycopg.connect(made.admin_url, autocommit=True) as connection:
            for role in roles:
                known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role])
                if known.fetchone() is not None:
                    connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


def proposed(host: Host, folder: Path) -> list[str]:
    """The statements that init proposes to who may write the tables."""
    report = init_system("shop", "SHOP_URL", host.database.owner_url, folder)
    [said] = [warning for warning in report.warnings if "may change tables" in warning]
    first, *statements = said.splitlines()
    text = report.path.read_text("utf-8")
    # On one line each, to be pasted.
    assert all(f"#     {statement}\n" in text for statement in statements)
    assert {"supabase": "SQL editor", "rds": "master user"}.get(host.kind, "superuser") in first
    return statements


def paste(host: Host, *statements: str) -> None:
    """Run statements as the host's administrator."""
    with psycopg.connect(host.admin_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_pasting_makes_a_role_that_backs_up_everything(
    host: Host, store: Store, tmp_path: Path
) -> None:
    """A host's administrator can run it as it is; today's and tomorrow's tables are read."""
    statements = proposed(host, tmp_path)
    paste(host, *statements)
    host.database.run("CREATE TABLE later (id serial PRIMARY KEY); INSERT INTO later VALUES (1)")
    path = tmp_path / "shop" / "defs.yaml"
    system = System.model_validate(yaml.safe_load(path.read_text("utf-8"))["attributes"])
    assert back_up(host.reader_url, store, system).records_count == 3
    # Where only a member of the owner sees all rows, it may write as well; init says so.
    is_member = any(line.startswith(f'GRANT "{host.database.name}_owner"') for line in statements)
    assert is_member != any("BYPASSRLS" in line for line in statements)
    with psycopg.connect(host.reader_url, autocommit=True) as connection:
        if not is_member:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM orders")


def test_a_role_that_exists_is_not_made_again(host: Host, store: Store, tmp_path: Path) -> None:
    """Where there is a role of that name already, it is given what it lacks."""
    paste(host, f"CREATE ROLE {READER} LOGIN")
    with pytest.raises(Refused):
        back_up(host.reader_url, store)
    statements = proposed(host, tmp_path)
    assert not any("CREATE ROLE" in line for line in statements)
    paste(host, *statements)
    assert back_up(host.reader_url, store).records_count == 2


def test_forced_row_security_is_said_where_nobody_can_bypass_it(host: Host, tmp_path: Path) -> None:
    """On a host that gives BYPASSRLS to nobody, no statement pretends to help; it is told why."""
    host.database.run("ALTER TABLE notes FORCE ROW LEVEL SECURITY")
    report = init_system("shop", "SHOP_URL", host.database.owner_url, tmp_path)
    [said] = [warning for warning in report.warnings if "may change tables" in warning]
    first, *statements = said.splitlines()
    bypassed = any("BYPASSRLS" in line for line in statements)
    assert bypassed != ("forced on owners, too, in public.notes" in first)
    assert not any("FORCE" in line for line in statements)
    assert host.kind != "rds" or not bypassed
