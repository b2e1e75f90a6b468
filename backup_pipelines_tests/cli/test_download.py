"""`download` and `upload`: a backup as one file, and back into a store."""

import json
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.cli.conftest import Cli, put_backup


def last_record(store: Store, system: str) -> audit.Record:
    """The newest record of the audit trail."""
    key = layout.audit_key(system, audit.newest(store, system).sequence)
    return audit.Record.model_validate_json(store.get(key))


def test_a_backup_goes_to_another_store_as_one_file(
    cli: Cli, backup_id: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both verbs give one JSON document; a second download or upload of the same is refused."""
    to = tmp_path / "backup.tar"
    down = cli("download", "dcim", backup_id, "--to", str(to), "--json")
    assert down.code == 0, down.err
    found = down.document
    assert (found["backup"], found["file"]) == (backup_id, str(to))
    assert (found["bytes"], found["resumed_bytes"]) == (to.stat().st_size, 0)
    again = cli("download", "dcim", backup_id, "--to", str(to))
    assert (again.code, again.out) == (2, "")
    assert "exists: remove it, or choose another file" in again.err

    monkeypatch.setenv(BACKUP_STORE_URL, store.url)
    up = cli("upload", "dcim", str(to), "--json", "--as", "ada", "--reason", "moved")
    assert up.code == 0, up.err
    row = up.document
    assert (row["id"], row["status"], row["objects"]) == (backup_id, "completed", found["objects"])
    assert row["run_id"]
    assert [entry.id for entry in catalog.backups(store, "dcim")] == [backup_id]
    noted = last_record(store, "dcim")
    assert (noted.operation, noted.outcome, noted.operator) == ("upload", "done", "ada")
    assert (noted.backup, noted.reason) == (backup_id, "moved")

    twice = cli("upload", "dcim", str(to))
    assert (twice.code, twice.out) == (2, "")
    assert f"backup {backup_id} is already there" in twice.err
    down = cli("download", "dcim", "latest", "--to", str(tmp_path / "again.tar"), "--as", "bob")
    assert f"{backup_id}: " in down.out
    assert (tmp_path / "again.tar").read_bytes() == to.read_bytes()
    noted = last_record(store, "dcim")
    assert (noted.operation, noted.outcome, noted.operator) == ("download", "done", "bob")


def test_the_rows_of_a_backup_as_one_json_document(
    cli: Cli, backup_id: str, tmp_path: Path
) -> None:
    """It is told like an archive, is not replaced, and cannot be put back."""
    to = tmp_path / "all.json"
    down = cli("download", "dcim", backup_id, "--format", "json", "--to", str(to), "--json")
    assert down.code == 0, down.err
    found, document = down.document, json.loads(to.read_bytes())
    assert (found["backup"], found["file"]) == (backup_id, str(to))
    assert (found["bytes"], found["tables"]) == (to.stat().st_size, len(document["tables"]))
    assert found["rows"] == sum(len(table["rows"]) for table in document["tables"].values())
    assert document["backup"] == backup_id
    again = cli("download", "dcim", backup_id, "--format", "json", "--to", str(to))
    assert (again.code, again.out) == (2, "")
    assert "has all.json already" in again.err
    told = cli("download", "dcim", backup_id, "--format", "json", "--to", f"{to}.2", "--as", "bob")
    assert f"tables with {found['rows']:,} rows as JSON, " in told.out
    up = cli("upload", "dcim", str(to))
    assert (up.code, up.out) == (2, "")
    assert "all.json is a JSON document of rows" in up.err


def test_a_damaged_backup_is_not_downloaded(cli: Cli, own_store: Store, tmp_path: Path) -> None:
    """This one names a part that is no object: exit code 1, no file, and the trail says so."""
    entry = put_backup(own_store)
    result = cli("download", "crm", entry.id, "--to", str(tmp_path / "backup.tar"))
    assert (result.code, result.out) == (1, "")
    assert "which is no object of crm's backups" in result.err
    assert list(tmp_path.glob("backup.tar*")) == []
    noted = last_record(own_store, "crm")
    assert (noted.operation, noted.outcome, noted.backup) == ("download", "failed", entry.id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["download", "crm", "latest", "--to", "x.tar"], "no full backup yet"),
        (["download", "crm", "latest"], "Missing option '--to'"),
        (["download", "nobody", "latest", "--to", "x.tar"], "nobody"),
        (["upload", "crm", "/nowhere.tar"], "is no file"),
        (["upload", "nobody", "/nowhere.tar"], "nobody"),
        (["upload", "crm"], "Missing argument 'FILE'"),
    ],
)
def test_what_is_refused(cli: Cli, own_store: Store, arguments: list[str], said: str) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert catalog.ids(own_store, "crm") == []
