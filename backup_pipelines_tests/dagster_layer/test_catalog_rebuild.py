"""The catalog brought back from the store, on an instance that knows nothing or wrong things."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from backup_pipelines import layout
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_prune_daemon import tick
from backup_pipelines_tests.dagster_layer.test_restore_jobs import result_of, rows

CATALOG = dg.AssetKey(["shop", "backups"])
ORDERS = dg.AssetKey(["shop", "public", "orders"])
CONFIRM = {"confirm": "CONFIRM"}


def lost_objects(shop: Shop, backup_id: str) -> None:
    """Remove a part of a backup, and have that found."""
    keys = [found.key for found in shop.store.objects(layout.backup_prefix("shop", backup_id))]
    shop.store.delete([next(key for key in keys if "orders" in key)])
    assert not shop.run("shop_verify", {"backup": backup_id}).success


def shown(shop: Shop, backup_id: str) -> Mapping[str, Any]:
    """What the catalog says of a backup: its materialization, then what was observed of it."""
    asked = dg.AssetRecordsFilter(asset_key=CATALOG, asset_partitions=[backup_id])
    found = dict(shop.row(backup_id))
    for record in reversed(shop.instance.fetch_observations(asked, limit=50).records):
        assert record.asset_observation is not None
        found |= {name: v.value for name, v in record.asset_observation.metadata.items()}
    # The glance is of all backups, as of the time that it was taken.
    for name in ("operator", "reason", "at_a_glance"):
        found.pop(name, None)
    return {name: value for name, value in found.items() if value != ""}


def order(shop: Shop) -> list[str | None]:
    """The backups that the catalog was told of, oldest word first."""
    found = shop.instance.fetch_materializations(CATALOG, limit=50).records
    return [record.partition_key for record in reversed(found)]


def events(shop: Shop) -> tuple[int, int]:
    """How many materializations and observations the catalog has."""
    made = shop.instance.fetch_materializations(CATALOG, limit=99).records
    return len(made), len(shop.instance.fetch_observations(CATALOG, limit=99).records)


def test_an_empty_instance_learns_everything_from_the_store(shop: Shop) -> None:
    """Partitions, status, pins and metadata; once; and what it offers can be restored."""
    plain, pinned, damaged, forged, gone, newest = ids = [shop.backup() for _ in range(6)]
    sealed = {name: dict(shown(shop, name)) for name in ids}
    assert shop.run("shop_pin", {"backup": pinned, "reason": "audit"}).success
    lost_objects(shop, damaged)
    shop.store.delete([layout.manifest_key("shop", forged)])
    shop.store.put_new(layout.manifest_key("shop", forged), b"{}")
    assert shop.run("shop_delete", {"backup": gone, **CONFIRM}).success
    assert shop.run("shop_verify", {"backup": newest}).success
    kept = {plain, pinned, damaged, forged, newest}
    with dg.DagsterInstance.ephemeral() as empty:
        new = replace(shop, instance=empty)
        document = result_of(new.run("shop_catalog_rebuild"))
        assert document["added"] == document["offered"] == sorted(kept)
        assert (document["updated"], document["dropped"], document["unsealed"]) == ([], [], [])
        assert document["damaged"] == sorted([damaged, forged])
        assert (document["pinned"], document["newest"]) == ([pinned], newest)
        assert new.keys("backups") == new.keys("restorable") == kept
        assert empty.get_materialized_partitions(CATALOG) == kept
        assert order(new) == [forged, plain, pinned, damaged, newest]
        assert shown(new, plain) == sealed[plain]
        assert shown(new, pinned)["pinned"] is True
        assert "is missing" in shown(new, damaged)["error"]
        assert shown(new, damaged)["digests"] == sealed[damaged]["digests"]
        assert (shown(new, forged)["status"], "error" in shown(new, forged)) == ("damaged", True)
        assert shown(new, newest)["verified_at"] > sealed[newest]["verified_at"]
        assert not empty.fetch_materializations(ORDERS, 1).records
        # Nothing goes because of it.
        assert tick(new).run_requests == []
        before = events(new)
        again = result_of(new.run("shop_catalog_rebuild"))
        assert (again["added"], again["updated"], events(new)) == ([], [], before)
        # The instance that has seen it all needs only the last word.
        known = result_of(shop.run("shop_catalog_rebuild"))
        assert known["added"] == []
        assert known["updated"] == sorted([damaged, forged])
        for name in kept - {forged}:
            assert shown(shop, name) == shown(new, name), name
        shop.database.run("DELETE FROM order_lines")
        assert new.run("shop_restore", CONFIRM, partition=plain).success
        assert rows(shop, "SELECT count(*) FROM order_lines") == [(50,)]


def test_a_damaged_instance_is_put_right(shop: Shop) -> None:
    """Keys that were deleted or made up, and an old backup that is found late."""
    old, newest = shop.backup(), shop.backup()
    made_up = "20260115T020000Z-manual-9f3c1a"
    failed = "20260116T020000Z-manual-9f3c1b"
    with dg.DagsterInstance.ephemeral() as damaged:
        other = replace(shop, instance=damaged)
        damaged.add_dynamic_partitions("shop_backups", [newest, made_up, failed])
        damaged.add_dynamic_partitions("shop_restorable", [made_up])
        damaged.report_runless_asset_event(
            dg.AssetMaterialization(CATALOG, partition=newest, metadata={"status": "completed"})
        )
        document = result_of(other.run("shop_catalog_rebuild"))
        assert (document["added"], document["offered"]) == ([old], sorted([old, newest]))
        assert (document["dropped"], document["unsealed"]) == ([made_up], [made_up, failed])
        assert other.keys("restorable") == {old, newest}
        assert other.keys("backups") == {old, newest, made_up, failed}
        assert order(other) == [newest, old, newest]
        assert shown(other, newest) == {**shown(shop, newest), "pinned": False}
        before = events(other)
        assert result_of(other.run("shop_catalog_rebuild"))["updated"] == []
        assert events(other) == before
    head = audit.newest(shop.store, "shop")
    data = shop.store.get(layout.audit_key("shop", head.sequence))
    record = audit.Record.model_validate_json(data)
    assert (record.operation, record.outcome) == ("catalog_rebuild", "done")
    assert record.details["dropped"] == 0


def test_a_new_backup_is_pruned_for_although_a_rebuild_follows_it(shop: Shop) -> None:
    """The prune's sensor looks past what a rebuild has shown."""
    backup_id = shop.backup()
    shop.instance.delete_dynamic_partition("shop_backups", backup_id)
    shop.instance.report_runless_asset_event(
        dg.AssetMaterialization(CATALOG, partition="20260115T020000Z-manual-9f3c1a")
    )
    assert result_of(shop.run("shop_catalog_rebuild"))["newest"] == backup_id
    assert order(shop)[-1] == backup_id
    decided = tick(shop)
    [request] = decided.run_requests or []
    assert request.run_key == "20260115T020000Z-manual-9f3c1a"
    assert tick(shop, decided.cursor).run_requests == []
