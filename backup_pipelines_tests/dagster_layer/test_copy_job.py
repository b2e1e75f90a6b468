"""The second store from Dagster: copies after backups, and what reads from it without the first."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from backup_pipelines import PostgresBackup, catalog
from backup_pipelines.dagster_layer import copy_jobs
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.retention import pins
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.settings_storage import SecondStoreSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.storage.variables import Variables
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.fix_s3 import S3Server

VARIABLE, PREFIX = "SHOP_SECOND_STORE_URL", "SECOND_"


@dataclass
class Pair:
    """The shop with a second store."""

    shop: Shop
    second: Store

    def copy(self) -> dg.ExecuteInProcessResult:
        """A run of the copy job."""
        return self.shop.run("shop_copy")

    def looked(self) -> SensorExecutionData:
        """What the sensor has come to."""
        with dg.build_sensor_context(
            instance=self.shop.instance, resources=dict(self.shop.defs.resources or {})
        ) as context:
            sensor = self.shop.defs.resolve_sensor_def("shop_copy_after_backup")
            return sensor.evaluate_tick(context)

    def lose_first(self) -> None:
        """Put a file in the place of the first store's folder: whatever asks it fails."""
        folder = Path(self.shop.store.url.removeprefix("file://"))
        shutil.rmtree(folder)
        folder.write_text("gone")

    def rows(self) -> int:
        """How many orders the live database has."""
        with psycopg.connect(self.shop.database.owner_url) as connection:
            [row] = connection.execute("SELECT count(*) FROM orders").fetchall()
        return row[0]


def open_second(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """An empty store on an S3 server that only variables with the prefix lead to, or a folder."""
    if kind == "folder":
        return Store((request.getfixturevalue("tmp_path") / "second").as_uri())
    server: S3Server = request.getfixturevalue(f"{kind}_server")
    for name, value in server.environment().items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    return Store(f"s3://{server.bucket()}/p", Variables(PREFIX, VARIABLE))


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    """A first store in a folder, a second one, and the definitions of a system that has both."""
    kind = getattr(request, "param", "folder")
    second = open_second(kind, request, monkeypatch)
    monkeypatch.setenv(VARIABLE, second.url)
    monkeypatch.setenv(BACKUP_STORE_URL, shop.store.url)
    rule = RetentionSpec(keep_last=1, floor=1)
    prefix = "" if kind == "folder" else PREFIX
    spec = SecondStoreSpec(url_env=VARIABLE, aws_prefix=prefix, retention=rule)
    system = SHOP.model_copy(update={"second_store": spec})
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(system)),
        dg.Definitions(resources=shop.defs.resources),
    )
    yield Pair(shop, second)


def said(result: dg.ExecuteInProcessResult) -> str:
    """Why a run has failed."""
    [event] = [event for event in result.all_events if event.is_step_failure]
    data: Any = event.step_failure_data.user_failure_data
    return str(data.description)


def test_copies_follow_backups(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new backup is copied, once; the second store keeps by its own rule, and pins follow."""
    shop, second = pair.shop, pair.second
    assert pair.looked().skip_message == "shop has no backup yet"
    first = shop.backup()
    [request] = pair.looked().run_requests or []
    assert request.run_key == "first"
    assert pair.copy().success
    assert [entry.id for entry in catalog.backups(second, "shop")] == [first]
    assert "no new backup of shop since the last copy" in str(pair.looked().skip_message)
    assert pair.copy().success
    pins.pin(shop.store, "shop", first, operator="ann", reason="")
    later = shop.backup()
    assert len(pair.looked().run_requests or []) == 1
    assert pair.copy().success
    assert catalog.states(second, "shop").pinned == {first}
    last = shop.backup()
    assert pair.copy().success
    assert [entry.id for entry in catalog.backups(second, "shop")] == [last, first]
    copied = [one for one in audit.records(shop.store, "shop") if one.operation == "copy"]
    assert copied[0].details["copied"] == [last]
    assert copied[0].details["removed"] == [later]
    monkeypatch.delenv(VARIABLE)
    assert "SHOP_SECOND_STORE_URL is not set" in str(pair.looked().skip_message)
    assert "SHOP_SECOND_STORE_URL is not set" in said(pair.copy())
    job = shop.defs.resolve_job_def("shop_copy")
    assert [node.definition.pool for node in job.nodes] == ["shop/copy"]  # type: ignore[union-attr]


def test_a_copy_that_rots_is_put_right(pair: Pair) -> None:
    """The run that finds a copy damaged puts it right from the first store, and says so."""
    shop, second = pair.shop, pair.second
    entry = catalog.load(shop.store, "shop", shop.backup())
    assert pair.copy().success
    part = Path(second.url.removeprefix("file://")) / entry.tables[0].parts[0].key
    whole = part.read_bytes()
    part.write_bytes(b"rot" + whole[3:])
    assert pair.copy().success
    assert part.read_bytes() == whole
    [newest, _] = [one for one in audit.records(shop.store, "shop") if one.operation == "copy"]
    assert newest.details["damaged_copies"] == entry.id
    assert newest.details["copied"] == [entry.id]


def test_a_dead_second_store(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups and prunes go on as ever, copies fail with a sentence, and are tried ever later."""
    shop = pair.shop
    monkeypatch.setenv(VARIABLE, "s3://bucket/p")
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    backup_id = shop.backup()
    failed = pair.copy()
    assert "cannot be reached" in said(failed)
    assert shop.run("shop_prune").success
    assert catalog.states(shop.store, "shop").damaged == {}
    assert [entry.id for entry in catalog.backups(shop.store, "shop")] == [backup_id]
    assert "failed 1 times in a row" in str(pair.looked().skip_message)
    system = SHOP.model_copy(update={"second_store": SecondStoreSpec(url_env=VARIABLE)})
    for minutes, due in ((14, False), (16, True)):
        then = datetime.now(UTC) + timedelta(minutes=minutes)
        decided = copy_jobs._decide(shop.instance, system, then)
        assert isinstance(decided, dg.RunRequest) is due
    assert shop.run("shop_health").success
    found = {
        check.check_name: check for check in shop.run("shop_health").get_asset_check_evaluations()
    }
    assert "cannot be looked at" in str(found["second_store"].description)
    assert found["freshness"].passed


@pytest.mark.parametrize("pair", ["moto", "rclone"], indirect=True)
def test_all_from_the_second(pair: Pair) -> None:
    """Without the first: verify, drill, plan, restore and undo; the catalog stays as it is."""
    shop, second = pair.shop, pair.second
    backup_id = shop.backup()
    assert pair.copy().success
    other = shop.backup()
    catalog_before = (shop.keys("backups"), shop.keys("restorable"))
    pair.lose_first()
    shop.database.run("DELETE FROM order_lines", "DELETE FROM orders WHERE id > 10")
    chosen = {"backup": backup_id, "store": "second"}
    confirmed = {**chosen, "confirm": "CONFIRM"}
    for job in ("shop_verify", "shop_drill", "shop_plan"):
        assert shop.run(job, chosen).success, job
    assert not shop.run("shop_restore", {**confirmed, "store": "first"}).success
    assert pair.rows() == 10
    assert other not in [entry.id for entry in catalog.backups(second, "shop")]
    assert shop.run("shop_restore", confirmed, partition=backup_id).success
    assert pair.rows() == 100
    assert (shop.keys("backups"), shop.keys("restorable")) == catalog_before
    [safety] = [entry for entry in catalog.backups(second, "shop") if entry.type == "safety"]
    assert "before restore" in safety.label
    done = {one.operation for one in audit.records(second, "shop") if one.outcome == "done"}
    assert done == {"restore", "verify", "drill", "plan"}
    assert shop.run("shop_undo", {"store": "second", "confirm": "CONFIRM"}).success
    assert pair.rows() == 10
    Path(shop.store.url.removeprefix("file://")).unlink()
    refused = said(shop.run("shop_undo", {"confirm": "CONFIRM"}))
    assert "used the second store" in refused
    assert "undo shop --store second" in refused


def test_a_catalog_from_the_second(pair: Pair) -> None:
    """A new instance gets what the second has; what only the first has is not taken out of one."""
    shop = pair.shop
    copied = shop.backup()
    assert pair.copy().success
    only_first = shop.backup()
    assert shop.run("shop_catalog_rebuild", {"store": "second"}).success
    assert shop.keys("restorable") == {copied, only_first}
    pair.lose_first()
    with dg.DagsterInstance.ephemeral() as instance:
        shop.instance = instance
        assert shop.run("shop_catalog_rebuild", {"store": "second"}).success
        assert shop.keys("restorable") == shop.keys("backups") == {copied}
        assert shop.row(copied)["status"] == "completed"


def test_without_a_second_store(shop: Shop) -> None:
    """There is no copy job, and what names the second store is refused and recorded."""
    backup_id = shop.backup()
    with pytest.raises(Exception, match="shop_copy"):
        shop.defs.resolve_job_def("shop_copy")
    result = shop.run("shop_verify", {"backup": backup_id, "store": "second"})
    assert "shop has no second store" in said(result)
    assert audit.records(shop.store, "shop")[0].outcome == "refused"
