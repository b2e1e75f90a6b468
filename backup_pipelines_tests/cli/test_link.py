"""`link`: addresses by which others fetch the objects of a backup for a while."""

import urllib.request

import pytest

from backup_pipelines import catalog
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.cli.conftest import Cli, put_backup
from backup_pipelines_tests.fix_s3 import S3Server


@pytest.fixture
def bucket_store(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in a bucket, where the command line looks for backups."""
    rclone_server.use(monkeypatch)
    url = f"s3://{rclone_server.bucket()}/p"
    monkeypatch.setenv(BACKUP_STORE_URL, url)
    return Store(url)


def test_links_are_printed_and_kept_out_of_the_trail(cli: Cli, bucket_store: Store) -> None:
    """The manifest can be fetched with its link; the trail knows who asked, and has no link."""
    entry = put_backup(bucket_store)
    asked = ("link", "crm", "latest", "--expires", "20m", "--as", "ada", "--reason", "audit")
    result = cli(*asked, "--json")
    assert result.code == 0, result.err
    found = result.document
    assert (found["backup"], found["encrypted"]) == (entry.id, False)
    manifest = found["links"][0]
    assert manifest["what"] == "manifest"
    with urllib.request.urlopen(manifest["url"], timeout=60) as answer:
        assert answer.read() == entry.to_json()
    assert "X-Amz-Expires=1200" in manifest["url"]
    [record] = audit.records(bucket_store, "crm", last=10)
    assert (record.operation, record.outcome, record.operator) == ("link", "done", "ada")
    assert (record.backup, record.reason) == (entry.id, "audit")
    assert "http" not in record.model_dump_json()

    shown = cli("link", "crm", entry.id, "--table", "leads_table")
    assert shown.code == 0, shown.err
    heading, url = shown.out.splitlines()
    assert heading == "# public.leads_table, 5.0 KB, 1/leads_table.parquet"
    assert "X-Amz-Expires=3600" in url
    assert "1 link until " in shown.err
    assert "pass it on as you would a password" in shown.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crm", "latest", "--expires", "8d"], "at most 7d"),
        (["crm", "latest", "--table", "nothing"], "has no table public.nothing; it has"),
        (["crm", "latest"], "is a folder, and links need a server"),
        (["nobody", "latest"], "nobody"),
    ],
)
def test_what_is_refused(cli: Cli, own_store: Store, arguments: list[str], said: str) -> None:
    """A refusal says what to do, with exit code 2, and is in the trail of a known system."""
    put_backup(own_store)
    result = cli("link", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    if arguments[0] == "crm":
        [record] = audit.records(own_store, "crm", last=10)
        assert (record.operation, record.outcome) == ("link", "refused")
    assert len(catalog.backups(own_store, "crm")) == 1
