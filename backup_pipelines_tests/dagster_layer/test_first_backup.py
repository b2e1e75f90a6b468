"""A first backup into a bucket that does not exist yet."""

import secrets

import pytest

from backup_pipelines.errors import NoStore
from backup_pipelines.storage import write_once
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.fix_s3 import S3Server


@pytest.fixture
def store(s3_server: S3Server) -> Store:
    """A store in a bucket that is yet to be made."""
    del s3_server
    return Store(f"s3://first-{secrets.token_hex(6)}/some/prefix")


def test_a_first_backup_makes_its_bucket(shop: Shop, store: Store, s3_server: S3Server) -> None:
    """The run makes the bucket, says so once, and warns of a server that overwrites."""
    with pytest.raises(NoStore):
        store.folders("")
    result = shop.run("shop_backup")
    assert result.success
    said = [entry.user_message for entry in shop.instance.all_logs(result.run_id)]
    bucket = store.url.split("/")[2]
    assert f"created the bucket {bucket}, private" in said
    assert (write_once.NOT_ENFORCED in said) is (s3_server.name == "rclone")
    assert len(store.folders("shop/backups/")) == 1
    # The record of the run itself went there too.
    assert len(list(store.objects("shop/audit/"))) == 1
