"""`backup`: a run in Dagster, a row in the catalog, one document on stdout."""

import signal
import subprocess

import pytest

from backup_pipelines import catalog
from backup_pipelines.demo.databases import Demo
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, Result, command
from backup_pipelines_tests.cli.test_list import PROMISED
from backup_pipelines_tests.sessions import watching


def test_a_full_backup_prints_its_catalog_row_and_nothing_else(taken: Result) -> None:
    assert taken.code == 0, taken.err
    row = taken.document
    assert set(row) >= PROMISED
    assert (row["type"], row["scope"], row["status"]) == ("manual", "full", "completed")
    assert (row["created_by"], row["label"]) == ("ada", "first")
    assert row["records_count"] > 276
    assert row["run_id"]


def test_progress_goes_to_stderr(taken: Result, backup_id: str) -> None:
    assert f"backup {backup_id} of dcim" in taken.err


def test_the_backup_is_in_the_catalog(cli: Cli, backup_id: str) -> None:
    assert backup_id in [row["id"] for row in cli("list", "dcim", "--json").document]
    assert cli("show", "dcim", backup_id, "--json").document["reason"] == "by a test"


def test_modules_alone_make_a_module_backup_by_the_user_of_this_machine(
    cli: Cli, demo: Demo, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    result = cli("backup", "dcim", "--module", "glossary", "--module", "activity")
    assert result.code == 0, result.err
    shown = cli("list", "dcim").out.splitlines()[1]
    assert result.out.split(":")[0] in shown
    assert "glossary, activity" in shown
    assert "grace" in shown


def test_rows_as_json_lines(
    cli: Cli, demo: Demo, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for goes to the run; other words are refused by the command line."""
    result = cli("backup", "dcim", "--module", "glossary", "--format", "jsonl", "--json")
    assert result.code == 0, result.err
    entry = catalog.load(own_store, "dcim", result.document["id"])
    keys = [part.key for table in entry.tables for part in table.parts]
    assert keys and all(key.endswith(".jsonl.zst") for key in keys)
    assert cli("verify", "dcim", entry.id).code == 0
    refused = cli("backup", "dcim", "--format", "csv")
    assert (refused.code, refused.out) == (2, "")
    assert "'csv' is not one of 'parquet', 'jsonl'" in refused.err


def test_less_load_on_the_source(cli: Cli, demo: Demo, own_store: Store) -> None:
    """Both limits go to the run and hold there; what makes no sense is refused at once."""
    asked = ("backup", "dcim", "--module", "glossary", "--max-connections", "2")
    with watching(demo.server.url("postgres"), "dcim%") as seen:
        result = cli(*asked, "--throttle", "0.01", "--json")
    assert result.code == 0, result.err
    assert set(seen.names) == {"backup_pipelines backup dcim"}
    assert seen.most == 2
    # Its rows are more than 10 KB, and of 10 KB a second there can be no more in a second.
    assert result.document["seconds"] > 1
    refused = cli("backup", "dcim", "--max-connections", "1")
    assert (refused.code, refused.out) == (2, "")
    assert "max_connections: 1 is too few: 2 is the least possible" in refused.err
    refused = cli("backup", "dcim", "--throttle", "-1")
    assert (refused.code, refused.out) == (2, "")
    assert "throttle: -1 MB/s is less than nothing" in refused.err


def test_an_unknown_module_is_refused_before_anything_starts(cli: Cli, own_store: Store) -> None:
    result = cli("backup", "crm", "--module", "sales")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("crm has no module sales; its modules are")


def test_a_backup_that_fails_says_why_and_names_its_run(
    cli: Cli, demo: Demo, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCIM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = cli("backup", "dcim", "--json")
    assert result.code in (1, 2)
    assert result.out == ""
    assert "database of dcim" in result.err
    assert "of dcim_backup)" in result.err
    assert "Traceback" not in result.err


def test_an_interrupted_backup_is_no_backup(cli: Cli, demo: Demo, own_store: Store) -> None:
    with subprocess.Popen(
        command("backup", "crm"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("backup 2"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "interrupted; what was unfinished does not count" in err
    assert cli("list", "crm", "--json").document == []
