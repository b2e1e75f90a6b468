"""`restore`: differences into the live database, or a whole backup into an empty one."""

import secrets
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.cli.conftest import Cli, Live, command, run_process
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
    assert done["skipped"] == []
    inserted = {table["table"]: table["insert"] for table in done["tables"]}
    assert inserted["public.servers"] == 276
    assert count(url, "public.servers") == 276
    assert count(url, "public.power_specs") == 276

    again = cli(*arguments, "--json")
    assert (again.code, again.out) == (2, "")
    assert "the target database is not empty" in again.err
    assert url not in result.err + again.err


def test_what_an_empty_database_cannot_have_is_told(
    cli: Cli, demo: Demo, live: Live, make_database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDL that is left out is in the JSON document, and a line each for people."""
    role = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(demo.admin_url(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role}".encode())
        try:
            live.run(f"GRANT SELECT ON tasks TO {role}")
            assert cli("backup", "crm").code == 0
            live.run(f"REVOKE SELECT ON tasks FROM {role}")
        finally:
            admin.execute(f"DROP ROLE {role}".encode())
    left_out = [f'acl of TABLE tasks: role "{role}" does not exist']
    arguments = ("restore", "crm", "latest", "--into", "TARGET_URL", "--confirm", "CONFIRM")
    monkeypatch.setenv("TARGET_URL", make_database(demo.server).admin_url)
    result = cli(*arguments, "--json")
    assert result.code == 0, result.err
    assert result.document["skipped"] == left_out
    monkeypatch.setenv("TARGET_URL", make_database(demo.server).admin_url)
    result = cli(*arguments)
    assert result.code == 0, result.err
    assert result.err.splitlines()[-1] == f"left out: {left_out[0]}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--confirm CONFIRM"),
        (("--confirm", "yes"), "--confirm CONFIRM"),
        (("--confirm", "CONFIRM", "--skip-safety"), "--skip-safety needs --reason"),
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


def test_a_restore_of_the_live_database(cli: Cli, live: Live) -> None:
    """What differs is written and proved; what was there before is a safety backup."""
    good = live.content()
    live.run("DELETE FROM tasks WHERE id <= 3")
    before = live.content()
    planned = cli("plan", "crm", "latest", "--module", "tasks", "--json").document
    why = ("--reason", "lost tasks", "--as", "ada", "--confirm", "CONFIRM")
    exactly = ("--module", "tasks", "--plan", planned["hash"])
    result = cli("restore", "crm", "latest", *exactly, *why, "--json")
    assert result.code == 0, result.err
    done = result.document
    assert live.content() == good != before
    assert done["tables"] == planned["tables"]
    assert (done["backup"], done["mode"], done["hash"], done["verified"]) == (
        live.backup_id, "replace", planned["hash"], True,
    )  # fmt: skip
    safety = cli("list", "crm", "--json").document[0]
    assert (safety["id"], safety["type"]) == (done["safety_backup"], "safety")
    assert (safety["created_by"], safety["module"]) == ("ada", "tasks")
    assert cli("show", "crm", safety["id"], "--json").document["reason"] == "lost tasks"


def test_people_see_what_was_done_and_how_to_take_it_back(cli: Cli, live: Live) -> None:
    live.run("DELETE FROM task_comments WHERE id = 1")
    result = cli("restore", "crm", live.backup_id, "--table", "task_comments",
                 "--confirm", "CONFIRM")  # fmt: skip
    assert result.code == 0, result.err
    assert "1 row inserted" in result.out
    assert "1 table proved equal" in result.out
    assert "-safety-" in result.out
    assert "Take it back: backup-pipelines undo crm --confirm CONFIRM" in result.out


def test_another_plan_than_the_one_named_is_refused(cli: Cli, live: Live) -> None:
    live.run("DELETE FROM task_comments WHERE id = 1")
    planned = cli("plan", "crm", "latest", "--json").document["hash"]
    live.run("DELETE FROM task_comments WHERE id = 2")
    before = live.content()
    result = cli("restore", "crm", "latest", "--plan", planned, "--confirm", "CONFIRM", "--json")
    assert (result.code, result.out) == (2, "")
    assert planned in result.err
    assert live.content() == before
    assert [row["type"] for row in cli("list", "crm", "--json").document] == ["manual"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("20260115T020000Z-manual-9f3c1a",), "dcim has no backup"),
        (("latest", "--module", "sales"), "holds no module sales"),
    ],
)
def test_what_the_backup_does_not_hold_is_refused(
    cli: Cli, backup_id: str, arguments: tuple[str, ...], said: str
) -> None:
    result = cli("restore", "dcim", *arguments, "--confirm", "CONFIRM")
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_differences_go_into_another_database_without_a_safety_backup_only(
    cli: Cli, demo: Demo, live: Live, make_database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = make_database(demo.server)
    monkeypatch.setenv("TARGET_URL", copy.admin_url)
    into = ("restore", "crm", "latest", "--into", "TARGET_URL", "--confirm", "CONFIRM")
    assert cli(*into).code == 0
    copy.run("DELETE FROM task_comments WHERE id <= 2", as_admin=True)
    live.run("DELETE FROM task_comments")
    refused = cli(*into, "--module", "tasks")
    assert (refused.code, refused.out) == (2, "")
    assert "--skip-safety --reason TEXT" in refused.err
    result = cli(*into, "--module", "tasks", "--skip-safety", "--reason", "a copy", "--json")
    assert result.code == 0, result.err
    done = {t["table"]: t["insert"] for t in result.document["tables"] if t["insert"]}
    assert done == {"public.task_comments": 2}
    assert result.document["safety_backup"] is None
    assert live.rows("SELECT count(*) FROM task_comments") == [(0,)]
    assert "no safety backup" in cli("undo", "crm", "--confirm", "CONFIRM").err


@pytest.mark.parametrize("second", ["restore", "backup"])
def test_what_is_launched_during_a_restore_waits(cli: Cli, live: Live, second: str) -> None:
    """The first cannot lock its tables yet, and the second does not even start."""
    good, comments = live.content(), live.rows("SELECT count(*) FROM task_comments")
    live.run("DELETE FROM task_comments WHERE id <= 3")
    first = command("restore", "crm", live.backup_id, "--confirm", "CONFIRM")
    started = [first, first if second == "restore" else command("backup", "crm")]
    children: list[subprocess.Popen[str]] = []
    try:
        with psycopg.connect(live.url) as application:
            application.execute("LOCK TABLE task_comments IN ACCESS SHARE MODE")
            for line, words in zip(started, ("safety backup 2", "waiting for run"), strict=True):
                child = subprocess.Popen(
                    line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
                children.append(child)
                assert child.stderr is not None
                while words not in child.stderr.readline():
                    assert child.poll() is None
        said = [child.communicate() for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert [child.returncode for child in children] == [0, 0], said
    assert live.content() == good
    assert "3 rows inserted" in said[0][0]
    assert "inserted" not in said[1][0]
    if second == "backup":
        shown = cli("show", "crm", "latest", "--json").document["tables"]
        rows = {table["table"]: table["rows"] for table in shown}
        assert [(rows["public.task_comments"],)] == comments


def count(url: str, table: str) -> Any:
    """How many rows a table has."""
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0]
