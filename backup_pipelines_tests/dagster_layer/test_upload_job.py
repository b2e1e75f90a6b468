"""The upload of an archive by Dagster."""

from pathlib import Path

from backup_pipelines import catalog, layout
from backup_pipelines.copies import archive
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_verify_jobs import records
from backup_pipelines_tests.fix_backup import ignore


def test_an_archive_becomes_a_backup_of_the_catalog(shop: Shop, tmp_path: Path) -> None:
    """A backup that was lost is put back: partitions, status and audit trail say so; not twice."""
    backup_id, file = shop.backup(), tmp_path / "backup.tar"
    archive.download(shop.store, catalog.load(shop.store, "shop", backup_id), file, report=ignore)
    shop.store.delete_folder(layout.backup_prefix("shop", backup_id))
    shop.instance.delete_dynamic_partition("shop_restorable", backup_id)
    shop.instance.delete_dynamic_partition("shop_backups", backup_id)
    config = {"file": str(file), "reason": "the disk was lost"}

    assert shop.run("shop_upload", config).success
    assert shop.keys("backups") == shop.keys("restorable") == {backup_id}
    assert shop.row(backup_id)["status"] == "completed"
    assert catalog.find(shop.store, "shop", "latest").id == backup_id
    assert records(shop)[-1] == ("upload", "done", backup_id)

    message, code = failure(shop.run("shop_upload", config))
    assert (code, "is already there" in message) == (2, True)
    assert records(shop)[-1][:2] == ("upload", "refused")
    drilled = shop.run("shop_verify", {"backup": backup_id})
    assert drilled.success
