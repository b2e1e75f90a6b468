"""`history` and `diff`: what became of records, and the command that brings a version back."""

import shlex
from pathlib import Path

import duckdb
import pytest

from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, Live
from backup_pipelines_tests.cli.test_query import recipes


def test_a_record_is_followed_and_brought_back(cli: Cli, live: Live, tmp_path: Path) -> None:
    """Each version with its backup, what changed, and a command that restores exactly it."""
    [(task, title, comment)] = live.rows(
        "SELECT t.id, t.title, c.id FROM tasks t JOIN task_comments c ON c.task_id = t.id"
        " ORDER BY t.id LIMIT 1"
    )
    live.run(f"UPDATE tasks SET title = 'other' WHERE id = {task}")
    second = cli("backup", "crm", "--json").document["id"]
    _check_update(cli, live.backup_id, second, str(task), title)
    for backup, sql in recipes("crm"):
        asked = cli("query", "crm", backup.replace("2026-01-01..2026-01-31", "all"), sql, "--json")
        assert asked.code == 0 and asked.document["rows"], asked.err
    live.run(f"DELETE FROM task_comments WHERE task_id = {task}")
    live.run(f"DELETE FROM tasks WHERE id = {task}")
    _check_file(cli, second, str(task), tmp_path / "difference.parquet")
    third = cli("backup", "crm", "--json").document["id"]

    found = cli("history", "crm", "tasks", str(task), "--json").document
    events = [(v["backup"], v["event"]) for v in found["versions"]]
    assert events == [(live.backup_id, "first"), (second, "changed"), (third, "gone")]
    change = {"column": "title", "old": title, "new": "other"}
    assert change in found["versions"][1]["changes"]
    assert found["versions"][2]["restore"] is None
    shown = cli("history", "crm", "public.tasks", str(task))
    assert shown.code == 0 and title in shown.out and "gone" in shown.out

    command = found["versions"][0]["restore"]
    assert command in shown.out
    assert cli(*shlex.split(command)[1:]).code == 0
    assert live.rows(f"SELECT title FROM tasks WHERE id = {task}") == [(title,)]
    assert live.rows(f"SELECT 1 FROM task_comments WHERE id = {comment}") == []
    assert cli("diff", "crm", live.backup_id, "--table", "tasks", "--json").document["rows"] == []


def _check_update(cli: Cli, first: str, second: str, task: str, title: str) -> None:
    """One row of one table differs, and no other table was read."""
    difference = cli("diff", "crm", first, second, "--json").document
    [changed] = [table for table in difference["tables"] if not table["by_digest"]]
    assert (changed["table"], changed["update"]) == ("public.tasks", 1)
    assert changed["changed_columns"]["title"] == 1
    [row] = difference["rows"]
    assert (row["op"], row["key"]) == ("update", {"id": task})
    assert (row["before"]["title"], row["after"]["title"]) == (title, "other")
    shown = cli("diff", "crm", first, second)
    assert shown.code == 0 and f"title: {title} -> other" in shown.out
    assert "without reading a row" in shown.out and "1 updated" in shown.out


def _check_file(cli: Cli, backup: str, task: str, file: Path) -> None:
    """What was deleted since is in the file, which only its maker can read, and is kept."""
    lost = cli("diff", "crm", backup, "--to", str(file), "--rows", "1", "--json").document
    deleted = {t["table"]: t["delete"] for t in lost["tables"] if t["delete"]}
    assert deleted["public.tasks"] == 1 and deleted["public.task_comments"] >= 1
    rows = duckdb.execute(
        "SELECT \"table\", op, before['id'], after FROM read_parquet(?)", [str(file)]
    ).fetchall()
    assert len(rows) == sum(deleted.values())
    assert ("public.tasks", "delete", task, None) in rows
    assert file.stat().st_mode & 0o777 == 0o600
    again = cli("diff", "crm", backup, "--to", str(file))
    assert (again.code, again.out) == (2, "") and "exists" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["history", "crm", "tasks", "1"], "no completed backup to look into"),
        (["history", "crm", "tasks"], "Missing argument 'KEY"),
        (["history", "nobody", "tasks", "1"], "nobody"),
        (["diff", "crm", "latest"], "crm has no full backup yet"),
        (["diff", "crm", "live"], "name the backup first"),
        (["diff", "crm", "latest", "--to", "/nowhere/x.parquet"], "there is no folder /nowhere"),
        (["diff", "nobody", "latest"], "nobody"),
    ],
)
def test_what_is_refused(cli: Cli, own_store: Store, arguments: list[str], said: str) -> None:
    """One sentence on stderr, exit code 2."""
    del own_store
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
