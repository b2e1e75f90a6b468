"""`init`: a file that works, from a database and two words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_pipelines import environment, systems
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines_tests.cli.conftest import Cli
from backup_pipelines_tests.fix_postgres import Database


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of systems of the test's own."""
    made = tmp_path / "defs"
    made.mkdir()
    monkeypatch.setattr(environment, "defs_folder", lambda: made)
    return made


def test_a_database_becomes_a_system_that_loads(
    cli: Cli,
    folder: Path,
    server: EmbeddedServer,
    make_database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = make_database(server)
    database.run("CREATE TABLE orders (id int PRIMARY KEY)")
    monkeypatch.setenv("SHOP_DATABASE_URL", database.reader_url)
    result = cli("init", "shop", "--database-url-env", "SHOP_DATABASE_URL")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-3:] == [
        "For backups put the URL of a role that only reads into SHOP_DATABASE_URL,",
        "for restores that of the tables' owner into SHOP_OWNER_DATABASE_URL.",
        "Read it, change what you like, then: backup-pipelines preflight shop",
    ]
    assert (folder / "shop" / "defs.yaml").is_file()
    written = systems.load_system("shop")
    assert written.database_url_env == "SHOP_DATABASE_URL"
    assert written.restore_url_env == "SHOP_OWNER_DATABASE_URL"

    again = cli("init", "shop", "--database-url-env", "SHOP_DATABASE_URL")
    assert (again.code, again.out) == (2, "")


def test_statements_stand_on_lines_of_their_own(
    cli: Cli,
    folder: Path,
    server: EmbeddedServer,
    make_database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is to be pasted can be copied line by line, below what it is for."""
    database = make_database(server)
    database.run("CREATE TABLE orders (id int PRIMARY KEY)")
    monkeypatch.setenv("SHOP_DATABASE_URL", database.owner_url)
    lines = cli("init", "shop", "--database-url-env", "SHOP_DATABASE_URL").err.splitlines()
    [at] = [number for number, line in enumerate(lines) if "may change tables" in line]
    assert lines[at].startswith("warning: role ")
    assert lines[at + 1 :] == [
        """  CREATE ROLE "backup_reader" LOGIN PASSWORD '...' BYPASSRLS;""",
        f'  GRANT CONNECT ON DATABASE "{database.name}" TO "backup_reader";',
        '  GRANT pg_read_all_data TO "backup_reader";',
    ]


def test_a_variable_that_is_not_set_is_refused(cli: Cli, folder: Path) -> None:
    result = cli("init", "shop", "--database-url-env", "SHOP_DATABASE_URL")
    assert result.code == 2
    assert "SHOP_DATABASE_URL is not set" in result.err


def test_a_url_in_place_of_a_variable_is_refused_and_not_repeated(cli: Cli, folder: Path) -> None:
    result = cli("init", "shop", "--database-url-env", "postgresql://u:secret@host/db")
    assert result.code == 2
    assert "secret" not in result.err
