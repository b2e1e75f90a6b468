"""`list`: which backups there are, newest first."""

import subprocess
import sys
from pathlib import Path

import pytest

from backup_pipelines import systems
from backup_pipelines.errors import NotFound
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup, run_on_terminal

# DESIGN.md section 5: a promise to users.
PROMISED = {
    "id", "system", "type", "module", "status", "created_at", "created_by",
    "tables_count", "records_count", "size_bytes", "pinned", "label",
}  # fmt: skip


def test_backups_are_listed_newest_first(cli: Cli, own_store: Store) -> None:
    old, new, middle = (put_backup(own_store, hours_old=hours) for hours in (50, 1, 3))
    result = cli("list", "crm")
    ids = [line.split()[0] for line in result.out.splitlines()[1:]]
    assert result.code == 0
    assert ids == [new.id, middle.id, old.id]


def test_the_table_says_how_old_how_large_and_whose(cli: Cli, own_store: Store) -> None:
    put_backup(own_store, hours_old=3.5, modules=["leads"], label="before", created_by="grace")
    line = cli("list", "crm").out.splitlines()[1]
    for said in ("3 h ago", "1,200", "5.0 KB", "leads", "grace", "before"):
        assert said in line


def test_json_is_one_list_with_every_promised_field(cli: Cli, own_store: Store) -> None:
    entry = put_backup(own_store)
    result = cli("list", "crm", "--json")
    (row,) = result.document
    assert set(row) >= PROMISED
    assert (row["id"], row["status"], row["records_count"]) == (entry.id, "completed", 2400)


def test_no_backups_are_an_empty_list_and_a_hint_to_people(cli: Cli, own_store: Store) -> None:
    assert cli("list", "crm", "--json").document == []
    said = cli("list", "crm").out
    assert said == f"crm has no backups in {own_store.url}; take one: backup-pipelines backup crm\n"


def test_a_forgotten_variable_is_not_taken_for_lost_backups(
    cli: Cli, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without BACKUP_STORE_URL the list says so, and where it looked instead."""
    put_backup(own_store)
    monkeypatch.delenv("BACKUP_STORE_URL")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    folder = (tmp_path / "home" / ".demo" / "store").as_uri()
    said = cli("list", "crm").out
    assert f"crm has no backups in {folder} (BACKUP_STORE_URL is not set)" in said


def test_backups_of_other_systems_are_not_listed(cli: Cli, own_store: Store) -> None:
    put_backup(own_store, system="dcim")
    assert cli("list", "crm", "--json").document == []


def test_an_unknown_system_is_refused_with_the_names_there_are(cli: Cli, own_store: Store) -> None:
    result = cli("list", "cmr")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("there is no system cmr; there are crm, dcim")
    with pytest.raises(NotFound):
        systems.require_known("cmr")


def test_text_of_others_cannot_command_the_terminal(cli: Cli, own_store: Store) -> None:
    put_backup(own_store, label="red \x1b[31m and\nmore")
    lines = cli("list", "crm").out.splitlines()
    assert len(lines) == 2
    assert "red ?[31m and more" in lines[1]


def test_a_narrow_terminal_cuts_all_but_what_people_copy(home: Path, own_store: Store) -> None:
    entry = put_backup(own_store, label="a label that is much too long for this", hours_old=4)
    result, shown = run_on_terminal("list", "crm", stream="stdout", columns=90)
    assert result.code == 0, result.err
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 90
    assert entry.id in shown
    assert "…" in shown


def test_reading_imports_neither_dagster_nor_a_driver(home: Path, own_store: Store) -> None:
    entry = put_backup(own_store)
    slow = {
        "dagster",
        "psycopg",
        "pyarrow",
        "rich",
        "numpy",
        "backup_pipelines.dagster_layer.launch",
    }
    program = (
        "import sys; from backup_pipelines.cli.__main__ import main;"
        f"codes = main(['list', 'crm']), main(['show', 'crm', '{entry.id}']);"
        f"sys.exit(str(codes if any(codes) else sorted({slow!r} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
