"""A new user with only the pages: a database that is not ours, a first backup, two emergencies.

What is typed is taken out of getting-started.md and emergency.md. What is proved is asked of
PostgreSQL, not of this tool. `-rP` shows the seconds; docs/soak.md has those of a whole
installation.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.binaries import bin_dir
from backup_pipelines.demo.databases import Demo
from backup_pipelines.onboarding.found import READER
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.newcomer import Newcomer, Said, commands

_SCHEMA = Path(__file__).with_name("helpdesk_schema.sql").read_text(encoding="utf-8")

STARTED, EMERGENCY = "docs/getting-started.md", "docs/emergency.md"

# What was promised, for a machine that does nothing else meanwhile.
_FIRST_BACKUP_SECONDS, _RESTORE_SECONDS = 300, 120

_BACKUP_OF_THE_PAGE = "20260115T020000Z-manual-9f3c1a"

_RELATIONS = """
    SELECT nspname, relname, relkind = 'S'
      FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
     WHERE relkind IN ('r', 'm', 'S') AND nspname !~ '^(pg_|information_schema)' ORDER BY 1, 2
"""
_ROWS = """SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE "C")) FROM {} t"""
_COUNTER = "SELECT last_value || ' ' || is_called FROM {}"


@pytest.fixture
def theirs(
    request: pytest.FixtureRequest, make_database: Callable[[Server], Database]
) -> Iterator[Database]:
    """The database of an application that somebody else wrote, on the server that a test names."""
    made = make_database(request.getfixturevalue(request.param))
    made.run(_SCHEMA)
    yield made
    made.run(
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN"
        f" DROP OWNED BY {READER}; DROP ROLE {READER}; END IF; END $$",
        as_admin=True,
    )


@pytest.fixture
def newcomer(theirs: Database, tmp_path: Path) -> Iterator[Newcomer]:
    """Somebody in front of a shell, in a folder with what was just cloned."""
    reads = theirs.reader_url.replace(f"{theirs.name}_reader", READER)
    filled_in = {
        "postgresql://shop_owner:...@db.example.com:5432/shop": theirs.owner_url,
        "postgresql://backup_reader:...@db.example.com:5432/shop": reads,
        "shop": "helpdesk",
        "SHOP": "HELPDESK",
        "crm": "helpdesk",
        "public.deals": "support.comments",
    }
    made = Newcomer(tmp_path / "cloned", tmp_path / "home", filled_in)
    made.arrive()
    yield made
    Demo(made.folder).server.remove()


def contents(database: Database) -> Mapping[str, object]:
    """The rows of each table and the position of each sequence, as PostgreSQL prints them."""
    with psycopg.connect(database.admin_url) as connection:
        found: dict[str, object] = {}
        for schema, name, is_counter in connection.execute(_RELATIONS.encode()).fetchall():
            query = sql.SQL(_COUNTER if is_counter else _ROWS)
            asked = connection.execute(query.format(sql.Identifier(schema, name)))
            found[f"{schema}.{name}"] = asked.fetchone()
        return found


def definitions(database: Database) -> list[str]:
    """Everything that is no row, as pg_dump writes it."""
    command = [bin_dir() / "pg_dump", "--schema-only", database.admin_url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # Since 2025 a random word guards what psql reads.
    return [line for line in done.stdout.splitlines() if not line.startswith("\\")]


def administer(theirs: Database, said: Said) -> None:
    """Run the statements that init prints, as the administrator of their database would."""
    lines = said.err.splitlines()
    [at] = [number for number, line in enumerate(lines) if "may change tables" in line]
    statements = [line.strip() for line in lines[at + 1 :] if line.startswith("  ")]
    assert any(line.startswith("CREATE ROLE") for line in statements)
    theirs.run("; ".join(statements).replace("'...'", "'chosen by me'"), as_admin=True)


def first_backup(newcomer: Newcomer, theirs: Database) -> str:
    """Follow getting-started.md from its first line to the list of backups; the backup's id."""
    newcomer.follow("install", STARTED, "1. Install")
    newcomer.follow("say where", STARTED, "2. Say where")
    [init] = newcomer.follow("init", STARTED, "3. Write the YAML")
    administer(theirs, init)
    newcomer.follow("say where", STARTED, "4. The role to paste")
    [preflight] = newcomer.follow("preflight", STARTED, "5. Check everything")
    # Whoever reads no page any more is led by the output.
    check, [backup, listed] = commands(STARTED, "5."), commands(STARTED, "6.")
    assert init.line("Read it, change what you like, then: ") == newcomer.fill_in(check[0])
    assert preflight.line("Take it: ") == newcomer.fill_in(backup)
    assert "wrong " not in preflight.out
    newcomer.type("first backup", backup)
    found = newcomer.type("list", listed).out.splitlines()
    assert len(found) == 2 and "completed" in found[1]
    return found[1].split()[0]


def emergency(newcomer: Newcomer, step: str, heading: str) -> Said:
    """Follow emergency.md from its first command; what the command of a plan's last line says."""
    status, listed = commands(EMERGENCY, "First:")
    # Its exit code is 1 where the damage is what backups are refused for.
    backup = newcomer.placeholders[_BACKUP_OF_THE_PAGE]
    assert backup in newcomer.type(step, status, 1).out
    assert backup in newcomer.type(step, listed).out
    plans = [line for line in commands(EMERGENCY, heading) if " plan " in line]
    planned = [newcomer.type(step, line) for line in plans]
    return newcomer.type(step, planned[0].line("Do it: "))


@pytest.mark.parametrize(
    ("theirs", "whole"),
    [("server", False), pytest.param("debian_server", True, marks=pytest.mark.soak)],
    indirect=["theirs"],
)
@pytest.mark.timeout(1800)
def test_a_new_user_backs_up_and_gets_a_table_back(
    newcomer: Newcomer, theirs: Database, whole: bool
) -> None:
    """By what the pages say alone: a first backup, a table that was emptied, one that was dropped.

    The packages are installed anew in the long campaign only, where the promised times are kept.
    """
    if not whole:
        newcomer.borrow_packages()
    newcomer.placeholders[_BACKUP_OF_THE_PAGE] = first_backup(newcomer, theirs)
    rows, schema = contents(theirs), definitions(theirs)
    assert len(rows) > 30

    theirs.run("DELETE FROM support.comments")
    assert contents(theirs) != rows
    done = emergency(newcomer, "rows deleted", "1. Some rows are wrong or gone")
    assert contents(theirs) == rows
    assert done.line("Take it back: ").startswith("backup-pipelines undo helpdesk")

    theirs.run("DROP TABLE support.comments CASCADE")
    assert definitions(theirs) != schema
    emergency(newcomer, "table dropped", "3. A table is gone")
    assert definitions(theirs) == schema
    assert contents(theirs) == rows

    print(newcomer.report())
    if whole:
        *steps, emptied, dropped = newcomer.seconds.values()
        assert sum(steps) < _FIRST_BACKUP_SECONDS, newcomer.report()
        assert max(emptied, dropped) < _RESTORE_SECONDS, newcomer.report()
