"""The health by Dagster: its asset and checks, who is told, the sensor, a store that fails."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_pipelines import PostgresBackup, layout
from backup_pipelines.dagster_layer import health_jobs
from backup_pipelines.errors import Failed
from backup_pipelines.health import guards, health
from backup_pipelines.health.finding import OPTIONAL
from backup_pipelines.retention import freezes
from backup_pipelines.retention.prune import plan_prune
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import SHOP, FixedEnvironment, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.fix_receivers import HttpReceiver, HttpReceivers, free_port
from backup_pipelines_tests.histories import found

HEALTH = dg.AssetKey(["shop", "health"])
CATALOG = dg.AssetKey(["shop", "backups"])
Checks = dict[str, dg.AssetCheckEvaluation]


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool of the test's own, and nobody to be told."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name in ("BACKUP_NOTIFY_URLS", "BACKUP_HEARTBEAT_URL", "BACKUP_METRICS_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def people(http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch) -> HttpReceiver:
    """Who is told of guards."""
    receiver = http_receivers.start()
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", receiver.url("json"))
    return receiver


@pytest.fixture
def watchdog(http_receivers: HttpReceivers, monkeypatch: pytest.MonkeyPatch) -> HttpReceiver:
    """Who is told that we live."""
    receiver = http_receivers.start()
    monkeypatch.setenv("BACKUP_HEARTBEAT_URL", receiver.url(path="/beat"))
    return receiver


def look(shop: Shop) -> Checks:
    """Run the job; the evaluations of the asset's checks by their guards."""
    result = shop.run("shop_health")
    assert result.success
    return {
        evaluation.check_name: evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.asset_key == HEALTH
    }


def told(people: HttpReceiver, start: int = 0) -> dict[str, str]:
    """The messages about guards since then: title to type of the message."""
    messages: list[dict[str, Any]] = [received.json for received in people.received[start:]]
    return {
        m["title"]: m["type"] for m in messages if "guard" in m["title"] or "store" in m["title"]
    }


def with_environment(shop: Shop, **changed: str) -> None:
    """Give the system's jobs another store or database from now on."""
    before = (shop.defs.resources or {})["backup_environment"]
    assert isinstance(before, FixedEnvironment)
    urls = {name: getattr(before, name) for name in FixedEnvironment.model_fields}
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(SHOP)),
        dg.Definitions(resources={"backup_environment": FixedEnvironment(**(urls | changed))}),
    )


def test_every_guard_is_a_check_of_the_asset() -> None:
    """The checks are the guards, in their order."""
    assert list(health_jobs.ABOUT) == list(guards.GUARDS)


def test_the_asset_has_numbers_a_table_and_a_check_for_each_guard(
    shop: Shop, people: HttpReceiver, watchdog: HttpReceiver
) -> None:
    """Red and green again are in the checks, and told once each; the watchdog hears it always."""
    empty = look(shop)
    assert set(empty) == set(guards.GUARDS) - OPTIONAL
    assert not empty["freshness"].passed
    assert empty["freshness"].severity == dg.AssetCheckSeverity.ERROR
    assert not empty["shrink"].passed
    assert empty["shrink"].severity == dg.AssetCheckSeverity.WARN
    assert empty["readable"].passed
    assert told(people) == {"shop: guard freshness is red": "failure"}
    assert watchdog.received[-1].path == "/beat/fail"

    shop.backup()
    before = len(people.received)
    good = look(shop)
    assert good["freshness"].passed
    assert good["freshness"].metadata["age_seconds"].value >= 0
    assert told(people, before) == {
        "shop: guard freshness is green again": "success",
        "shop: guard restorable warns": "warning",
    }
    assert watchdog.received[-1].path == "/beat"
    again = len(people.received)
    look(shop)
    assert told(people, again) == {}

    [record] = shop.instance.fetch_materializations(HEALTH, limit=1).records
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata
    assert shown["backups"].value == 1
    assert isinstance(shown["storage_bytes"].value, int)
    assert "| freshness | ok |" in str(shown["guards"].value)


def test_a_database_that_is_down_is_red_and_kept_for_status(shop: Shop) -> None:
    """The look ends, its check is red with the reason, and status has it without the database."""
    shop.backup()
    url = f"postgresql://reader:hunter22@127.0.0.1:{free_port()}/shop"
    up = (shop.defs.resources or {})["backup_environment"]
    with_environment(shop, database_url=url)
    down = look(shop)["readable"]
    assert not down.passed
    assert down.severity == dg.AssetCheckSeverity.ERROR
    assert down.description is not None
    assert "cannot connect" in down.description
    later = health.assess(shop.store, SHOP, datetime.now(UTC))
    assert [finding.guard for finding in later.red] == ["readable"]
    assert "hunter22" not in later.model_dump_json()
    with_environment(shop, database_url=up.database_url)
    assert look(shop)["readable"].passed


def test_a_fallen_table_freezes_the_prune_that_follows(shop: Shop) -> None:
    """The prune job looks by itself, so that it does not matter which of the two is first."""
    many = "INSERT INTO orders SELECT i, now(), 'x' FROM generate_series(101, 1000) i"
    shop.database.run(many)
    shop.backup()
    shop.database.run("DELETE FROM orders WHERE id > 100")
    shop.backup()
    assert shop.run("shop_prune").success
    assert [one.guard for one in freezes.active(shop.store, "shop")] == ["shrink"]
    checks = look(shop)
    assert not checks["shrink"].passed
    assert checks["prune"].severity == dg.AssetCheckSeverity.WARN
    assert shop.run("shop_acknowledge", {"reason": "it was meant"}).success
    assert look(shop)["prune"].passed
    assert freezes.active(shop.store, "shop") == []


def test_the_drill_of_the_catalog_is_shown_after_a_newer_backup(shop: Shop) -> None:
    """The check restorable of the catalog tells of the last drill, whatever came after it."""
    shop.backup()
    assert shop.run("shop_drill").success
    shop.backup()
    assert look(shop)["restorable"].passed
    key = dg.AssetCheckKey(CATALOG, "restorable")
    [record] = shop.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.run_id == ""
    assert record.evaluation is not None
    assert record.evaluation.passed
    assert "tables and 153 rows were equal" in str(record.evaluation.description)
    newest = shop.instance.fetch_materializations(CATALOG, limit=1).records[0]
    # The instance in memory keeps whole seconds of one of the two.
    assert record.create_timestamp >= int(newest.timestamp)


def test_a_store_that_fails_is_told_once_and_when_it_is_over(
    shop: Shop, people: HttpReceiver, watchdog: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, people and watchdog know, and nothing has been removed."""
    shop.backup()
    look(shop)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "unused")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with_environment(shop, store_url="s3://bucket/prefix")
    for first in (True, False):
        before = len(people.received)
        result = shop.run("shop_health")
        assert not result.success
        assert "the store failed at s3://bucket/prefix" in failure(result)[0]
        assert watchdog.received[-1].path == "/beat/fail"
        message = {"shop: the store cannot be reached or written": "failure"}
        assert told(people, before) == (message if first else {})
    assert not shop.run("shop_prune").success
    with_environment(shop, store_url=shop.store.url)
    before = len(people.received)
    look(shop)
    assert told(people, before)["shop: the store answers again"] == "success"
    assert len(list(shop.store.folders(layout.backups_prefix("shop")))) == 1


def test_a_full_store_fails_the_run_and_is_told(
    shop: Shop, people: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading works, and the record that cannot be written is the alarm."""

    class Full(Store):
        def put_new(self, key: str, data: bytes) -> None:
            raise Failed(f"the store failed at {self.uri(key)}: No space left on device")

    kept = shop.backup()
    with monkeypatch.context() as patch:
        patch.setattr(FixedEnvironment, "store", lambda self: Full(self.store_url))
        before = len(people.received)
        assert not shop.run("shop_health").success
        message = {"shop: the store cannot be reached or written": "failure"}
        assert told(people, before) == message
        assert not shop.run("shop_backup").success
    red = health.assess(shop.store, SHOP, datetime.now(UTC)).red
    # The records of what failed wait for room.
    assert [finding.guard for finding in red] == ["audit"]
    assert plan_prune(shop.store, SHOP, datetime.now(UTC)).remove == ()
    shop.backup()
    assert look(shop)["audit"].passed
    assert kept in shop.keys("restorable")


def test_a_message_that_fails_is_visible_and_fails_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is green, the audit trail knows, and the guard is red until somebody is told."""
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", f"json://127.0.0.1:{free_port()}")
    look(shop)
    untold = [r for r in audit.records(shop.store, "shop") if r.operation == "notify"]
    assert len(untold) == 1
    assert "BACKUP_NOTIFY_URLS" in untold[0].message
    assert look(shop)["notify"].severity == dg.AssetCheckSeverity.ERROR
    monkeypatch.delenv("BACKUP_NOTIFY_URLS")
    shop.backup()
    assert look(shop)["notify"].passed


def test_a_killed_run_is_told_by_the_next_look(shop: Shop, people: HttpReceiver) -> None:
    """A run that ended without a word gets its record and its message."""
    run = shop.instance.create_run_for_job(
        shop.defs.resolve_job_def("shop_backup"), status=dg.DagsterRunStatus.STARTED
    )
    shop.instance.report_run_failed(run)
    look(shop)
    [record] = [r for r in audit.records(shop.store, "shop") if r.run_id == run.run_id]
    assert (record.operation, record.outcome) == ("backup", "failed")
    assert "shop: backup failed" in {received.json["title"] for received in people.received}


def test_the_metrics_file_has_the_system(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BACKUP_METRICS_FILE is written after each look; one that cannot be written fails the run."""
    path = tmp_path / "textfile" / "backups.prom"
    path.parent.mkdir()
    monkeypatch.setenv("BACKUP_METRICS_FILE", str(path))
    look(shop)
    assert 'backup_pipelines_guard_status{guard="freshness",system="shop"} 2.0' in path.read_text()
    shutil.rmtree(path.parent)
    result = shop.run("shop_health")
    assert not result.success
    assert "BACKUP_METRICS_FILE" in failure(result)[0]


def tick(shop: Shop) -> dg.SensorResult | Any:
    """One evaluation of the sensor."""
    context = dg.build_sensor_context(
        instance=shop.instance, definitions=shop.defs, sensor_name="shop_health_watch"
    )
    return shop.defs.resolve_sensor_def("shop_health_watch").evaluate_tick(context)


def test_the_sensor_follows_each_run_and_the_hours(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first, after each run but its own, and when the last look is an hour ago."""
    sensor = shop.defs.resolve_sensor_def("shop_health_watch")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "shop_health"
    assert len(tick(shop).run_requests) == 1
    look(shop)
    skipped = tick(shop)
    assert skipped.run_requests == []
    assert "no run of shop has ended since" in skipped.skip_message
    shop.backup()
    [request] = tick(shop).run_requests
    [backup] = shop.instance.get_runs(dg.RunsFilter(job_name="shop_backup"), limit=1)
    assert request.run_key == backup.run_id
    look(shop)
    assert tick(shop).run_requests == []
    monkeypatch.setattr("backup_pipelines.dagster_layer.sensors._HEALTH_AGE", timedelta(0))
    [request] = tick(shop).run_requests
    assert request.run_key == f"{datetime.now(UTC):%Y%m%dT%H}"


def test_the_record_of_a_look_is_in_the_store(shop: Shop) -> None:
    """What the job finds is what status reads."""
    look(shop)
    record = health.previous(shop.store, "shop")
    assert record is not None
    assert found(record, "freshness").status == "error"
    assert record.known["freshness"].status == "error"
