"""`--json`: every command has it, and prints one document on stdout, whatever it says beside."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest

from backup_pipelines import environment
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup
from backup_pipelines_tests.cli.test_errors import LEAVES
from backup_pipelines_tests.fix_postgres import Database

_WITHOUT: Mapping[str, str] = {
    "completion": "its output is a script for a shell",
    "serve": "it runs until it is stopped, and has no result",
}


def _has_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_has_it_but_for_those_that_have_no_result() -> None:
    """A new command comes with it, or with a reason."""
    found = {" ".join(path): command for path, command in LEAVES.items()}
    assert {name for name, command in found.items() if not _has_json(command)} == set(_WITHOUT)
    assert all(reason for reason in _WITHOUT.values())


@pytest.mark.parametrize(
    "line",
    [
        "list crm",
        "show crm latest",
        "status",
        "status crm",
        "prune crm --dry-run",
        "audit crm",
        "audit crm --verify",
        "users list",
    ],
)
def test_stdout_is_one_document_and_nothing_else(cli: Cli, own_store: Store, line: str) -> None:
    """In ASCII, so that no terminal's setting breaks it, and never in colours."""
    put_backup(own_store, label="表 é")
    result = cli(*line.split(), "--json")
    assert result.code in (0, 1), result.err
    document, end = json.JSONDecoder().raw_decode(result.out)
    assert result.out[end:] == "\n"
    assert isinstance(document, dict | list)
    assert result.out.isascii()
    assert "\x1b" not in result.out


def test_init_tells_what_it_wrote(
    cli: Cli,
    server: EmbeddedServer,
    make_database: Callable[..., Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file, the modules with their tables, the variables, and what to look at."""
    folder = tmp_path / "defs"
    folder.mkdir()
    monkeypatch.setattr(environment, "defs_folder", lambda: folder)
    database = make_database(server)
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY)",
        "CREATE TABLE order_lines (id int PRIMARY KEY, order_id int REFERENCES orders)",
    )
    monkeypatch.setenv("SHOP_DATABASE_URL", database.reader_url)
    result = cli("init", "shop", "--database-url-env", "SHOP_DATABASE_URL", "--json")
    assert result.code == 0, result.err
    found = result.document
    assert (found["system"], found["file"]) == ("shop", str(folder / "shop" / "defs.yaml"))
    assert Path(found["file"]).is_file()
    tables = [table for names in found["modules"].values() for table in names]
    assert sorted(tables) == ["order_lines", "orders"]
    assert found["restore_url_env"] == "SHOP_OWNER_DATABASE_URL"
    assert (found["not_backed_up"], found["could_be_excluded"]) == ([], [])
    assert isinstance(found["warnings"], list)
