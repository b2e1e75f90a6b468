"""`plan`: what a restore would do, without Dagster and without a change."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests.cli.conftest import Cli, Live, Result
from backup_pipelines_tests.fix_postgres import Database

PROMISED = {"backup", "mode", "hash", "tables", "safety_backup", "verified", "seconds"}


def changes(result: Result) -> dict[str, tuple[int, int, int]]:
    """Rows inserted, updated and deleted, of the tables that change."""
    assert result.code == 0, result.err
    found = {t["table"]: (t["insert"], t["update"], t["delete"]) for t in result.document["tables"]}
    return {table: counts for table, counts in found.items() if any(counts)}


def test_rows_that_were_deleted_are_to_be_inserted(cli: Cli, live: Live) -> None:
    live.run("DELETE FROM task_comments WHERE id <= 3")
    before = live.content()
    result = cli("plan", "crm", "latest", "--json")
    assert changes(result) == {"public.task_comments": (3, 0, 0)}
    document = result.document
    assert set(document) >= PROMISED
    assert (document["backup"], document["mode"]) == (live.backup_id, "replace")
    assert (document["safety_backup"], document["verified"]) == (None, False)
    assert set(document["tables"][0]) >= {"table", "insert", "update", "delete", "unchanged"}
    assert live.content() == before


def test_people_see_tables_the_hash_and_what_to_type_next(cli: Cli, live: Live) -> None:
    live.run("UPDATE tasks SET title = 'lost' WHERE id <= 2")
    result = cli("plan", "crm", live.backup_id, "--module", "tasks", "--mode", "upsert")
    assert result.code == 0, result.err
    [row] = [line.split() for line in result.out.splitlines() if line.startswith("public.")]
    assert row[:4] == ["public.tasks", "0", "2", "0"]
    assert "title (2)" in result.out
    assert "warning: public.tasks: trigger tasks_touch does not act" in result.out
    planned = cli("plan", "crm", "latest", "--module", "tasks", "--mode", "upsert", "--json")
    assert result.out.splitlines()[-1] == (
        f"Do it: backup-pipelines restore crm {live.backup_id} --module tasks --mode upsert "
        f"--plan {planned.document['hash']} --confirm CONFIRM"
    )


def test_the_mode_decides_about_rows_created_since(cli: Cli, live: Live) -> None:
    live.run("INSERT INTO task_comments (task_id, body) SELECT min(id), 'new' FROM tasks")
    replaced = cli("plan", "crm", "latest", "--table", "task_comments", "--json")
    assert changes(replaced) == {"public.task_comments": (0, 0, 1)}
    kept = cli("plan", "crm", "latest", "--table", "task_comments", "--mode", "upsert", "--json")
    assert changes(kept) == {}
    assert replaced.document["hash"] != kept.document["hash"]


def test_missing_parents_are_explained_and_the_closure_is_offered(cli: Cli, live: Live) -> None:
    live.run("DELETE FROM tasks WHERE id IN (SELECT task_id FROM task_comments LIMIT 1)")
    result = cli("plan", "crm", "latest", "--table", "task_comments")
    assert result.code == 0, result.err
    assert "refused: " in result.out
    assert "reference rows of public.tasks that do not exist" in result.out
    assert result.out.splitlines()[-1] == (
        f"With those: backup-pipelines plan crm {live.backup_id} "
        "--table task_comments --table public.tasks"
    )


def test_one_record_with_what_hung_on_it(cli: Cli, live: Live) -> None:
    [(task, comments)] = live.rows(
        "SELECT task_id, count(*) FROM task_comments GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
    )
    live.run(f"DELETE FROM tasks WHERE id = {task}")
    asked = ("plan", "crm", "latest", "--table", "tasks", "--key", str(task), "--json")
    assert changes(cli(*asked)) == {"public.tasks": (1, 0, 0)}
    found = changes(cli(*asked, "--with-children"))
    assert found["public.tasks"][0] >= 1
    assert found["public.task_comments"][0] >= comments


def test_an_empty_database_would_get_everything(
    cli: Cli,
    demo: Demo,
    live: Live,
    make_database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TARGET_URL", make_database(demo.server).admin_url)
    result = cli("plan", "crm", "latest", "--into", "TARGET_URL", "--json")
    [(tasks,)] = live.rows("SELECT count(*) FROM tasks")
    assert changes(result)["public.tasks"] == (tasks, 0, 0)
    part = cli("plan", "crm", "latest", "--into", "TARGET_URL", "--module", "tasks")
    assert part.code == 2
    assert "is empty: it gets the whole backup or nothing" in part.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("20260115T020000Z-manual-9f3c1a",), "dcim has no backup"),
        (("latest", "--module", "sales"), "holds no module sales"),
        (("latest", "--table", "nothing"), "holds no table public.nothing"),
        (("latest", "--key", "1"), "in exactly one table"),
        (("latest", "--with-children"), "name its key"),
        (("latest", "--mode", "merge"), "'merge' is not one of"),
        (("latest", "--into", "UNSET_URL"), "UNSET_URL is not set"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    cli: Cli, backup_id: str, arguments: tuple[str, ...], said: str
) -> None:
    result = cli("plan", "dcim", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_the_demo_is_planned_as_its_owner(cli: Cli, demo: Demo, backup_id: str) -> None:
    """Without a variable for dcim; the role that backups read by could stage nothing."""
    result = cli("plan", "dcim", backup_id, "--module", "glossary", "--json")
    assert changes(result) == {}


def test_dagster_is_not_imported() -> None:
    """It would take longer than the plan."""
    code = (
        "import sys; from backup_pipelines import plan; from backup_pipelines.cli import plan; "
        "from backup_pipelines.cli.__main__ import cli; "
        "from backup_pipelines.restoring import restore_report; sys.exit('dagster' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
