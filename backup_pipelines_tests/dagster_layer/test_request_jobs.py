"""Requests of the application by Dagster: found by the sensor, carried out once by the job."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from backup_pipelines import PostgresBackup, catalog, layout
from backup_pipelines.dagster_layer import assets
from backup_pipelines.restoring import app_requests
from backup_pipelines.system import RequestsSpec
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.test_assets import ENTRIES, failure, materialized

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def asked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample system takes requests."""
    monkeypatch.setenv("BACKUP_REQUESTS_KEY", KEY)
    takes = SHOP.model_copy(
        update={"requests": RequestsSpec(operations=["backup", "restore"])},
    )
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(takes)),
        dg.Definitions(resources=shop.defs.resources),
    )


def ask(shop: Shop, request_id: str, operation: str, **changed: object) -> bytes:
    """Leave a request as the application would, signed as it is at last; returns the object."""
    now = datetime.now(UTC)
    request = {
        "id": request_id,
        "system": "shop",
        "operation": operation,
        **({"backup": "latest", "confirm": "CONFIRM"} if operation == "restore" else {}),
        "requested_by": "jo",
        "reason": "bad day",
        "created_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=1)).isoformat(),
        **changed,
    }
    request = {name: value for name, value in request.items() if value is not None}
    signature = {"signature": app_requests.sign(request, KEY)}
    data = json.dumps(signature | request).encode()
    shop.store.put_new(layout.request_key("shop", request_id), data)
    return data


def carry_out(shop: Shop, request_id: str) -> dg.ExecuteInProcessResult:
    """Run the job as the sensor has it launched."""
    tags = {"dagster/sensor_name": "shop_requests"}
    return shop.run("shop_request", {"request": request_id}, tags=tags)


def states(shop: Shop, request_id: str) -> dict[str, Any]:
    """What lies beside a request, by name."""
    prefix = layout.request_prefix("shop", request_id)
    keys = [found.key for found in shop.store.objects(prefix)]
    found = {key.removeprefix(prefix): json.loads(shop.store.get(key)) for key in keys}
    found.pop("request.json")
    return found


def tick(shop: Shop) -> SensorExecutionData:
    """What the sensor decides now."""
    sensor = shop.defs.resolve_sensor_def("shop_requests")
    resources = dict(shop.defs.resources or {})
    with dg.build_sensor_context(instance=shop.instance, resources=resources) as context:
        return sensor.evaluate_tick(context)


def content(shop: Shop) -> list[tuple[Any, ...]]:
    """All rows of the tables that these tests change."""
    query = (
        b"SELECT 'orders', o::text FROM orders o"
        b" UNION ALL SELECT 'lines', l::text FROM order_lines l ORDER BY 1, 2"
    )
    with psycopg.connect(shop.database.owner_url) as connection:
        return connection.execute(query).fetchall()


def objects(shop: Shop) -> set[str]:
    """All keys of the store."""
    keys = {found.key for found in shop.store.objects("shop/")}
    return {key for key in keys if not key.startswith(layout.audit_prefix("shop"))}


def test_the_sensor_asks_for_one_run_a_request_and_changes_nothing(shop: Shop) -> None:
    """As long as a request waits it gives the same run key, which Dagster launches once."""
    sensor = shop.defs.resolve_sensor_def("shop_requests")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 10
    assert tick(shop).run_requests == []
    ask(shop, "r-2", "backup", modules=["sales"])
    ask(shop, "r-1", "backup", requested_by="")
    before = objects(shop)
    for _ in range(2):
        found = tick(shop).run_requests or []
        assert [run.run_key for run in found] == ["r-1", "r-2"]
    assert objects(shop) == before
    config = found[1].run_config["ops"]["shop_request_op"]["config"]
    assert shop.run("shop_request", config).success
    assert not carry_out(shop, "r-1").success
    decided = tick(shop)
    assert decided.run_requests == []
    assert decided.skip_message == (
        "shop/requests/ has no request that waits: 2 were taken or refused, 0 folders hold none"
    )


def test_a_signed_request_makes_a_backup(shop: Shop) -> None:
    """It is one like any other, by whom the application names."""
    ask(shop, "r-1", "backup")
    ran = carry_out(shop, "r-1")
    assert ran.success
    assert materialized(ran) == ENTRIES | {"shop/backups"}
    found = states(shop, "r-1")
    assert set(found) == {"claimed.json", "done.json"}
    assert found["claimed.json"]["run_id"] == ran.run_id
    done = found["done.json"]
    assert (done["success"], done["run_id"]) == (True, ran.run_id)
    entry = catalog.find(shop.store, "shop", "latest")
    assert done["backup"] == entry.id
    assert done["result"] == json.loads(json.dumps(catalog.row(entry)))
    assert (entry.type, entry.created_by, entry.reason) == ("manual", "app:jo", "bad day")
    assert shop.keys("restorable") == {entry.id}
    run = shop.instance.get_run_by_id(ran.run_id)
    assert run is not None
    assert run.tags["backup_pipelines/operator"] == "app:jo"
    assert run.tags[assets.BACKUP_TAG_PREFIX + "shop"] == entry.id


def test_a_backup_of_what_was_asked_for(shop: Shop) -> None:
    ask(shop, "r-1", "backup", modules=["sales"], tables=["stock.items"])
    assert carry_out(shop, "r-1").success
    entry = catalog.load(shop.store, "shop", states(shop, "r-1")["done.json"]["backup"])
    names = {table.qualified for table in entry.tables}
    assert names == {"public.orders", "public.order_lines", "stock.items"}
    assert entry.type == "module"


@pytest.mark.parametrize("what", [{"modules": ["nope"]}, {"tables": ["stock.bin_a"]}])
def test_what_the_yaml_does_not_name_is_refused(shop: Shop, what: Mapping[str, Any]) -> None:
    ask(shop, "r-1", "backup", **what)
    message, _ = failure(carry_out(shop, "r-1"))
    assert states(shop, "r-1")["refused.json"]["reason"] == message
    assert shop.keys("backups") == set()


def test_a_signed_request_restores_after_a_safety_backup(shop: Shop) -> None:
    """And an undo takes it back, as any restore."""
    backup_id = shop.backup()
    good = content(shop)
    shop.database.run("DELETE FROM order_lines WHERE id <= 5")
    bad = content(shop)
    ask(shop, "r-1", "restore", tables=["order_lines"], mode="upsert")
    ran = carry_out(shop, "r-1")
    assert ran.success
    assert content(shop) == good
    done = states(shop, "r-1")["done.json"]
    assert (done["success"], done["backup"]) == (True, backup_id)
    [table] = done["result"]["tables"]
    assert (table["table"], table["insert"], done["result"]["mode"]) == (
        "public.order_lines",
        5,
        "upsert",
    )
    safety = catalog.load(shop.store, "shop", done["safety_backup"])
    assert (safety.type, safety.created_by, safety.reason) == ("safety", "app:jo", "bad day")
    assert shop.run("shop_undo", {"confirm": "CONFIRM"}).success
    assert content(shop) == bad


def test_a_replay_is_refused_and_does_nothing(shop: Shop) -> None:
    """Launched again, copied to another folder, or with its claim removed from the store."""
    shop.backup()
    data = ask(shop, "r-1", "restore")
    assert carry_out(shop, "r-1").success
    shop.database.run("DELETE FROM order_lines WHERE id <= 5")
    before, known, beside = content(shop), shop.keys("backups"), states(shop, "r-1")
    message, exit_code = failure(carry_out(shop, "r-1"))
    assert (exit_code, "never done twice" in message) == (2, True)
    assert states(shop, "r-1") == beside
    shop.store.put_new(layout.request_key("shop", "r-2"), data)
    message, _ = failure(carry_out(shop, "r-2"))
    assert "it was copied" in message
    assert states(shop, "r-2").keys() == {"refused.json"}
    shop.store.delete([layout.request_state_key("shop", "r-1", "claimed")])
    assert "never done twice" in failure(carry_out(shop, "r-1"))[0]
    assert (content(shop), shop.keys("backups")) == (before, known)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"expires_at": "2026-01-15T13:00:00Z", "created_at": "2026-01-15T12:00:00Z"}, "expired"),
        ({"confirm": None}, "needs confirm"),
        ({"confirm": "yes"}, "confirm"),
        ({"signature": None}, "not signed"),
        ({"signature": "0" * 64}, "the signature is not"),
        ({"id": "r-9"}, "it was copied"),
        ({"system": "crm"}, "not for shop"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason_beside_it(
    shop: Shop, changed: Mapping[str, Any], said: str
) -> None:
    """Nothing is changed, and it stays refused."""
    shop.backup()
    shop.database.run("DELETE FROM order_lines WHERE id <= 5")
    before, known = content(shop), objects(shop)
    if "signature" in changed:
        data = json.loads(ask(shop, "signed", "restore")) | {"id": "r-1", **changed}
        shop.store.put_new(layout.request_key("shop", "r-1"), json.dumps(data).encode())
        known = objects(shop) - {layout.request_key("shop", "r-1")}
    else:
        ask(shop, "r-1", "restore", **changed)
    message, exit_code = failure(carry_out(shop, "r-1"))
    assert said in message
    assert exit_code == 2
    found = states(shop, "r-1")
    assert (set(found), found["refused.json"]["reason"]) == ({"refused.json"}, message)
    assert "refused before" in failure(carry_out(shop, "r-1"))[0]
    assert content(shop) == before
    assert objects(shop) - known == {
        layout.request_key("shop", "r-1"),
        layout.request_state_key("shop", "r-1", "refused"),
    }


def test_a_missing_key_is_told_to_the_application(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKUP_REQUESTS_KEY")
    ask(shop, "r-1", "backup")
    assert "BACKUP_REQUESTS_KEY is not set" in failure(carry_out(shop, "r-1"))[0]
    assert "is not set" in states(shop, "r-1")["refused.json"]["reason"]


def test_a_failure_is_told_to_the_application(shop: Shop) -> None:
    """The restore was permitted and could not be done: there is no backup."""
    ask(shop, "r-1", "restore")
    message, _ = failure(carry_out(shop, "r-1"))
    done = states(shop, "r-1")["done.json"]
    assert (done["success"], done["message"], done["operation"]) == (False, message, "restore")


def test_what_breaks_off_is_told_without_its_details(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an unexpected error says could hold a password."""
    monkeypatch.setattr(catalog, "row", lambda *_: 1 / 0)
    ask(shop, "r-1", "backup")
    assert not carry_out(shop, "r-1").success
    done = states(shop, "r-1")["done.json"]
    assert done["message"] == "the run broke off (ZeroDivisionError); see its log"


def test_a_reexecution_is_refused(shop: Shop) -> None:
    """Nothing is written beside the request."""
    ask(shop, "r-1", "backup")
    assert "re-execution" in shop.reexecute("shop_request", {"request": "r-1"})
    assert states(shop, "r-1") == {}


def test_without_permission_there_is_no_job(shop: Shop) -> None:
    """The default of a system."""
    plain = dg.build_defs_for_component(PostgresBackup(SHOP))
    assert "shop_requests" not in {sensor.name for sensor in plain.sensors or ()}
    assert "shop_request" not in {job.name for job in plain.jobs or ()}
