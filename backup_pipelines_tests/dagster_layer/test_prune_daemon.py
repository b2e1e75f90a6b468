"""A prune after each backup: what its sensor asks for, and what the real daemon makes of it."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from backup_pipelines import catalog, layout, state_log
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.restoring import app_requests
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.fix_daemon import Daemon, StartDaemon
from backup_pipelines_tests.fix_postgres import Database, Server

_KEY = "0123456789abcdef0123456789abcdef"
_NEVER = {"schedule": {"every": "never"}}

# As many as wait at once; each that runs is a process.
_AT_ONCE = 3


def _tiny(keep_last: int) -> Mapping[str, object]:
    """A system of one small table that does nothing by itself but prune."""
    return {
        "system": "tiny",
        "database_url_env": "TINY_DATABASE_URL",
        "modules": {"all": {"tables": ["notes"]}},
        "requests": {"operations": ["backup"]},
        "retention": {"keep_last": keep_last},
        "schedule": {"every": "never"},
        "drill": _NEVER,
        "reconcile": _NEVER,
        "verify": _NEVER,
    }


def _ask(store: Store, number: int) -> None:
    """Ask for a backup as an application does, so that the daemon's own sensor launches it."""
    now = datetime.now(UTC)
    request = {
        "id": f"r-{number:03}",
        "system": "tiny",
        "operation": "backup",
        "requested_by": "jo",
        "created_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=1)).isoformat(),
    }
    signed = {**request, "signature": app_requests.sign(request, _KEY)}
    store.put_new(layout.request_key("tiny", request["id"]), json.dumps(signed).encode())


def _taken(store: Store) -> list[Mapping[str, Any]]:
    """The catalog rows of all backups that the requests have made, oldest first."""
    found = [item.key for item in store.objects(layout.requests_prefix("tiny"))]
    done = [json.loads(store.get(key)) for key in found if key.endswith("/done.json")]
    assert all(one["success"] for one in done), done
    return sorted((one["result"] for one in done), key=lambda row: row["snapshot_at"])


def _wait_for_prune(daemon: Daemon, newest: str) -> None:
    """Until the prune that the newest backup has asked for is over, and all others."""

    def over() -> bool:
        runs = daemon.runs("tiny_prune")
        asked = any(run.tags.get("dagster/run_key") == newest for run in runs)
        return asked and all(run.is_finished for run in runs)

    daemon.wait(over)
    assert all(run.is_success for run in daemon.runs("tiny_prune"))


def tick(shop: Shop, cursor: str | None = None) -> SensorExecutionData:
    """What the prune's sensor decides now."""
    sensor = shop.defs.resolve_sensor_def("shop_prune_after_backup")
    with dg.build_sensor_context(instance=shop.instance, cursor=cursor) as context:
        return sensor.evaluate_tick(context)


def test_the_sensor_asks_for_a_prune_after_each_backup(shop: Shop) -> None:
    """Once, by the backup's id; one that a sync found counts as well, several make one prune."""
    sensor = shop.defs.resolve_sensor_def("shop_prune_after_backup")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "shop_prune"
    first = tick(shop)
    assert (first.run_requests, first.skip_message) == ([], "shop/backups has no new backup")
    backup_id = shop.backup()
    decided = tick(shop, first.cursor)
    [request] = decided.run_requests or []
    assert request.run_key == backup_id
    assert tick(shop, decided.cursor).run_requests == []
    assert shop.run("shop_prune").success
    assert tick(shop, decided.cursor).run_requests == []
    shop.backup()
    shop.instance.report_runless_asset_event(
        dg.AssetMaterialization(
            dg.AssetKey(["shop", "backups"]), partition="20260115T020000Z-manual-9f3c1a"
        )
    )
    [request] = tick(shop, decided.cursor).run_requests or []
    assert request.run_key == "20260115T020000Z-manual-9f3c1a"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("backups", "kept"), [(3, 2), pytest.param(35, 30, marks=pytest.mark.soak)]
)
def test_of_many_backups_the_newest_stay(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    start_daemon: StartDaemon,
    backups: int,
    kept: int,
) -> None:
    """In the bucket, in the catalog and in the drop-down of restores, with nothing left over."""
    database = make_database(server)
    database.run("CREATE TABLE notes (id int PRIMARY KEY); INSERT INTO notes VALUES (1), (2)")
    variables = {"TINY_DATABASE_URL": database.reader_url, "BACKUP_REQUESTS_KEY": _KEY}
    for number in range(min(_AT_ONCE, backups)):
        _ask(store, number)
    daemon = start_daemon([_tiny(kept)], variables)
    for done in range(1, backups + 1):
        daemon.wait(lambda done=done: len(_taken(store)) >= done)
        if done + _AT_ONCE <= backups:
            _ask(store, done + _AT_ONCE - 1)
    made = [row["id"] for row in _taken(store)]
    _wait_for_prune(daemon, made[-1])
    stay = made[-kept:]
    assert [entry.id for entry in catalog.backups(store, "tiny")] == stay[::-1]
    assert set(store.folders(layout.backups_prefix("tiny"))) == set(stay)
    for partitions in ("tiny_backups", "tiny_restorable"):
        assert set(daemon.instance.get_dynamic_partitions(partitions)) == set(stay)
    assert set(state_log.latest(store, "tiny", "removals")) == set(made[:-kept])
    assert removal.unfinished(store, "tiny") == {}
