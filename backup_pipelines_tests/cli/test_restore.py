"""`restore --into`: a whole backup into an empty database, confirmed by a word."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.cli.conftest import Cli, run_process
from backup_pipelines_tests.fix_postgres import Database

Make = Callable[..., Database]


def test_an_empty_database_gets_everything_and_only_once(
    cli: Cli,
    demo: Demo,
    make_database: Make,
    backup_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = make_database(demo.server).admin_url
    monkeypatch.setenv("TARGET_URL", url)
    arguments = ("restore", "dcim", "latest", "--into", "TARGET_URL", "--confirm", "CONFIRM")
    result = run_process(*arguments, "--json")
    assert result.code == 0, result.err
    done = result.document
    assert (done["backup"], done["verified"], done["safety_backup"]) == (backup_id, True, None)
    inserted = {table["table"]: table["insert"] for table in done["tables"]}
    assert inserted["public.servers"] == 276
    assert count(url, "public.servers") == 276
    assert count(url, "public.power_specs") == 276

    again = cli(*arguments, "--json")
    assert (again.code, again.out) == (2, "")
    assert "the target database is not empty" in again.err
    assert url not in result.err + again.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "into an empty database only"),
        (("--into", "TARGET_URL"), "--confirm CONFIRM"),
        (("--into", "TARGET_URL", "--confirm", "yes"), "--confirm CONFIRM"),
        (("--into", "TARGET_URL", "--confirm", "confirm"), "--confirm CONFIRM"),
        (("--into", "UNSET_URL", "--confirm", "CONFIRM"), "UNSET_URL is not set"),
    ],
)
def test_a_request_that_is_not_whole_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("TARGET_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = cli("restore", "crm", "latest", *options)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_a_url_in_place_of_a_variable_is_refused_and_not_repeated(cli: Cli) -> None:
    secret = "postgresql://u:secret@host/db"
    result = cli("restore", "crm", "latest", "--into", secret, "--confirm", "CONFIRM")
    assert result.code == 2
    assert "the name of an environment variable" in result.err
    assert "secret" not in result.err


def count(url: str, table: str) -> Any:
    """How many rows a table has."""
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0]
