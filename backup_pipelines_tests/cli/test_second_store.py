"""`--store second`, `copy`, and the lines of `status` about both stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_pipelines import environment
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.cli.conftest import Cli, put_backup

YAML = """
type: backup_pipelines.PostgresBackup
attributes:
  system: crm
  database_url_env: CRM_NOT_SET_URL
  modules: {sales: {tables: [leads, deals]}}
  second_store: {url_env: CRM_SECOND_STORE_URL}
"""


@pytest.fixture
def second(own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The second store of crm, whose first is the test's own."""
    defs = tmp_path / "defs" / "crm"
    defs.mkdir(parents=True)
    (defs / "defs.yaml").write_text(YAML)
    monkeypatch.setattr(environment, "defs_folder", lambda: tmp_path / "defs")
    store = Store((tmp_path / "second").as_uri())
    monkeypatch.setenv("CRM_SECOND_STORE_URL", store.url)
    yield store


def test_list_and_show_read_the_second(cli: Cli, own_store: Store, second: Store) -> None:
    """What is shown is of the store that was named, and so is the record of the look."""
    here, there = put_backup(own_store, label="here"), put_backup(second, label="there")
    assert [one["label"] for one in cli("list", "crm", "--json").document] == ["here"]
    listed = cli("list", "crm", "--store", "second", "--json").document
    assert [one["label"] for one in listed] == ["there"]
    assert cli("show", "crm", there.id, "--store", "second").code == 0
    assert cli("show", "crm", there.id).code == 2
    assert cli("show", "crm", here.id, "--store", "second").code == 2
    assert [len(audit.records(store, "crm")) for store in (own_store, second)] == [1, 1]


def test_the_second_is_read_when_the_first_is_lost(
    cli: Cli, own_store: Store, second: Store, tmp_path: Path
) -> None:
    """A first store that cannot be opened is not asked."""
    put_backup(second)
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("gone")
    assert cli("list", "crm").code == 1
    found = cli("list", "crm", "--store", "second", "--json")
    assert (found.code, found.err, len(found.document)) == (0, "", 1)
    assert own_store.url


def test_an_empty_second_store(cli: Cli, second: Store) -> None:
    """It says how to fill it."""
    assert "backup-pipelines copy crm" in cli("list", "crm", "--store", "second").out
    assert second.url


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "crm"),
        ("show", "crm", "latest"),
        ("verify", "crm", "latest"),
        ("drill", "crm"),
        ("plan", "crm", "latest"),
        ("restore", "crm", "latest", "--confirm", "CONFIRM"),
        ("catalog", "rebuild", "crm"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_a_second_store(cli: Cli, own_store: Store, arguments: tuple[str, ...]) -> None:
    """The shipped crm has none: one sentence that says where to name one, and exit code 2."""
    put_backup(own_store)
    done = cli(*arguments, "--store", "second")
    assert done.code == 2
    assert "crm has no second store: name one under second_store in" in done.err
    assert cli("copy", "crm").code == 2


def test_a_variable_that_is_not_set(
    cli: Cli, own_store: Store, second: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads the second store is refused; `status` warns, and is no failure."""
    put_backup(own_store)
    monkeypatch.delenv("CRM_SECOND_STORE_URL")
    refused = cli("copy", "crm")
    assert (refused.code, "CRM_SECOND_STORE_URL is not set" in refused.err) == (2, True)
    done = cli("status", "crm")
    assert done.code == 0
    assert "warning: second_store: The second store is missing, so nothing is copied" in done.out
    assert second.url


def test_status_has_a_line_for_each_store(cli: Cli, own_store: Store, second: Store) -> None:
    """Its URL, newest good backup, count, bytes, and what it lacks."""
    old, new = put_backup(own_store, hours_old=5), put_backup(own_store, hours_old=1)
    key = f"crm/backups/{old.id}/manifest.json"
    second.put_new(key, own_store.get(key))
    lines = {line[:14].strip(): line[14:].strip() for line in cli("status", "crm").out.split("\n")}
    assert lines["first store"].startswith(f"{own_store.url}: newest {new.id}, 60 min ago; 2 ")
    assert lines["second store"].startswith(f"{second.url}: newest {old.id}, 5 h ago; 1 backup, ")
    assert lines["second store"].endswith("lacks 1, the first since 60 min ago")
    documents = cli("status", "crm", "--json").document["destinations"]
    assert [(one["name"], one["lacking"]) for one in documents] == [("first", 0), ("second", 1)]
