"""`csv export` and `csv template`: files, one JSON document, exit codes, and the audit trail."""

import csv
from pathlib import Path

import pytest

from backup_pipelines import layout
from backup_pipelines.demo.databases import Demo
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.cli.conftest import Cli, put_backup


def last_record(store: Store, system: str) -> audit.Record:
    """The newest record of the audit trail."""
    key = layout.audit_key(system, audit.newest(store, system).sequence)
    return audit.Record.model_validate_json(store.get(key))


def test_a_module_is_exported_from_the_live_database_and_from_a_backup(
    cli: Cli, demo: Demo, backup_id: str, tmp_path: Path
) -> None:
    """Both give the same files; the document has what lies beside them, the trail who took what."""
    live, kept = tmp_path / "live", tmp_path / "kept"
    first = cli(
        *("csv", "export", "dcim", "--module", "users", "--to", str(live)),
        *("--as", "ada", "--reason", "ticket 4711", "--json"),
    )
    assert first.code == 0, first.err
    found = first.document
    assert (found["to"], found["source"], found["backup"]) == (str(live), "live", "")
    assert {one["file"] for one in found["files"]} == {
        *("auth.users.csv", "profiles.csv", "user_roles.csv")
    }
    for one in found["files"]:
        with (live / one["file"]).open(newline="", encoding="utf-8") as opened:
            assert len(list(csv.reader(opened))) == one["rows"] + 1
    second = cli("csv", "export", "dcim", "--module", "users", "--to", str(kept), "--backup",
                 "latest")  # fmt: skip
    assert second.code == 0, second.err
    assert f"of {backup_id} as of" in second.out
    for one in found["files"]:
        assert (kept / one["file"]).read_bytes() == (live / one["file"]).read_bytes()


def test_an_export_is_in_the_audit_trail(cli: Cli, demo: Demo, own_store: Store, tmp_path: Path
) -> None:  # fmt: skip
    """Who, why, what and how many rows; a refusal too, which changes nothing."""
    arguments = ("csv", "export", "dcim", "--table", "user_roles", "--to", str(tmp_path))
    done = cli(*arguments, "--as", "ada", "--reason", "ticket 4711", "--zip", "--json")
    assert done.code == 0, done.err
    noted = last_record(own_store, "dcim")
    assert (noted.operation, noted.outcome, noted.operator) == ("csv_export", "done", "ada")
    assert (noted.reason, noted.rows) == ("ticket 4711", done.document["rows"])
    assert noted.message.startswith("1 file with ")
    again = cli(*arguments, "--zip")
    assert (again.code, again.out) == (2, "")
    assert "has dcim_user_roles.zip already: remove them, or choose another folder" in again.err
    assert last_record(own_store, "dcim").outcome == "refused"
    assert [path.name for path in tmp_path.glob("*.zip")] == ["dcim_user_roles.zip"]


def test_a_template_is_made(cli: Cli, demo: Demo, own_store: Store, tmp_path: Path) -> None:
    """Empty files with their descriptions, or a workbook; and what has no example is said."""
    plain = cli("csv", "template", "dcim", "--module", "glossary", "--to", str(tmp_path))
    assert plain.code == 0, plain.err
    assert "templates of 8 tables, 16 files" in plain.out
    assert "public.device_glossary has no example row: every value" in plain.err
    noted = last_record(own_store, "dcim")
    assert (noted.operation, noted.outcome) == ("csv_template", "done")
    book = cli("csv", "template", "dcim", "--table", "profiles", "--xlsx", "--json", "--to",
               str(tmp_path))  # fmt: skip
    assert book.code == 0, book.err
    assert book.document["files"] == ["dcim_users.xlsx"]
    assert (tmp_path / "dcim_users.xlsx").is_file()


def test_a_backup_of_nothing_that_a_file_holds_is_refused(
    cli: Cli, own_store: Store, tmp_path: Path
) -> None:
    """Its table has no columns: exit code 2, no folder, and the trail says so."""
    entry, to = put_backup(own_store), tmp_path / "out"
    result = cli("csv", "export", "crm", "--table", "leads_table", "--backup", entry.id, "--to",
                 str(to))  # fmt: skip
    assert (result.code, result.out, to.exists()) == (2, "", False)
    assert "public.leads_table has no file" in result.err
    noted = last_record(own_store, "crm")
    assert (noted.operation, noted.outcome, noted.backup) == ("csv_export", "refused", entry.id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "dcim"], "name at least one module or table"),
        (["export", "dcim", "--backup", "latest"], "name at least one module or table"),
        (["export", "dcim", "--module", "none"], "dcim has no module none"),
        (["export", "dcim", "--table", "none"], "no table public.none"),
        (["export", "dcim", "--table", "auth.sessions"], "is excluded from dcim"),
        (["export", "dcim", "--module", "users", "--backup", "20260101T000000Z-manual-abcdef"],
         "has no backup"),
        (["export", "dcim", "--module", "users", "--store", "second"], "has backups only"),
        (["export", "nobody", "--module", "users"], "nobody"),
        (["template", "dcim"], "name at least one module or table"),
        (["template", "dcim", "--module", "none"], "dcim has no module none"),
        (["template", "nobody", "--module", "users"], "nobody"),
    ],
)  # fmt: skip
def test_what_is_refused(
    cli: Cli, demo: Demo, backup_id: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Exit code 2, one sentence, and no folder."""
    result = cli("csv", *arguments, "--to", str(tmp_path / "out"))
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert not (tmp_path / "out").exists()


def test_the_folder_must_be_named(cli: Cli) -> None:
    """Files never appear somewhere by default."""
    result = cli("csv", "export", "dcim", "--module", "users")
    assert (result.code, "Missing option '--to'" in result.err) == (2, True)
