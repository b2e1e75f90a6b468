"""What a system does by itself: schedules, the due sensor, and the real daemon that asks them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickStatus,
)
from dagster._utils.schedules import cron_string_iterator

from backup_pipelines import PostgresBackup, catalog, layout
from backup_pipelines.dagster_layer import job_names, schedules
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.scheduling import schedule
from backup_pipelines.settings import Every, ScheduleSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.bare_manifest import bare_manifest
from backup_pipelines_tests.dagster_layer.conftest import SHOP, TABLES, Shop
from backup_pipelines_tests.fix_daemon import StartDaemon
from backup_pipelines_tests.fix_postgres import Database, Server

_SALES = job_names.module_schedule("shop", "sales")
_WHOLE = "shop_backup_schedule"


def _noon(hours: float = 0) -> str:
    """A time of day so many hours from now: no test runs into its tick."""
    return f"{datetime.now(UTC) + timedelta(hours=12 + hours):%H:%M}"


def _system(**changed: object) -> System:
    """The sample system with only a schedule for all of it, far from now."""
    never = {"schedule": {"every": "never"}}
    fields = {
        **SHOP.model_dump(),
        "schedule": {"at": _noon()},
        "drill": never,
        "reconcile": never,
        "verify": never,
        **changed,
    }
    return System.model_validate(fields)


@pytest.fixture
def kept(shop: Shop, tmp_path: Path) -> Iterator[Shop]:
    """The sample system on an instance in a folder: one in memory has no ticks and no switches."""
    folder = tmp_path / "instance"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        shop.instance = instance
        yield shop


def _use(shop: Shop, system: System) -> None:
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(system)),
        dg.Definitions(resources=shop.defs.resources),
    )


def _look(shop: Shop) -> SensorExecutionData:
    """What the due sensor decides now."""
    sensor = shop.defs.resolve_sensor_def("shop_due")
    with dg.build_sensor_context(
        instance=shop.instance, resources=dict(shop.defs.resources or {})
    ) as context:
        return sensor.evaluate_tick(context)


def _tick(shop: Shop, name: str, at: datetime) -> ScheduleExecutionData:
    """What a schedule decides at its tick."""
    repository = shop.defs.get_repository_def()
    with dg.build_schedule_context(
        instance=shop.instance,
        scheduled_execution_time=at,
        resources=dict(shop.defs.resources or {}),
        repository_def=repository,
    ) as context:
        return repository.get_schedule_def(name).evaluate_tick(context)


def _put(store: Store, at: datetime, system: str = "shop") -> str:
    """A whole scheduled backup that began at this time."""
    entry = bare_manifest(at, system=system, type="scheduled", modules=("sales", "stock"))
    store.put_new(layout.manifest_key(system, entry.id), entry.to_json())
    return entry.id


def _fail(shop: Shop, minutes_ago: float, name: str = _WHOLE) -> None:
    """A run of the schedule that failed."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    run = dg.DagsterRun(
        job_name="shop_backup",
        status=dg.DagsterRunStatus.FAILURE,
        tags={schedules.SCHEDULE_TAG: name, "backup_pipelines/type": "scheduled"},
    )
    shop.instance.run_storage.add_historical_run(run, run_creation_time=at)


def _start(shop: Shop) -> str:
    """A scheduled run that a worker is about to begin."""
    run = dg.DagsterRun(
        job_name="shop_backup",
        status=dg.DagsterRunStatus.STARTING,
        tags={"backup_pipelines/type": "scheduled"},
    )
    shop.instance.run_storage.add_run(run)
    return run.run_id


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
)
@pytest.mark.parametrize("every", ["daily", "weekly", "monthly"])
def test_ticks_are_at_the_slots(zone: str, every: Every) -> None:
    """Also while clocks are changed, so that what is due is launched by its own tick."""
    for at in ("01:45", "02:15", "02:30"):
        spec = ScheduleSpec(every=every, at=at, timezone=zone)
        slot = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
        ticks = cron_string_iterator(slot.timestamp(), schedules.cron(spec), zone)
        for _ in range(400 if every == "daily" else 24):
            slot = schedule.slot_after(spec, slot)
            tick = next(ticks)
            while tick <= datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)):
                tick = next(ticks)
            # Times that a clock shows twice equal none of another zone.
            assert tick.astimezone(UTC) == slot


def test_each_thing_that_is_not_off_has_a_schedule(shop: Shop) -> None:
    """People see and switch them; they run unless somebody has switched them off."""
    made = shop.defs.schedules or ()
    assert {(s.name, s.cron_schedule, s.default_status) for s in made} == {
        (_WHOLE, "0 2 * * *", dg.DefaultScheduleStatus.RUNNING),
        ("shop_drill_schedule", "0 4 1 * *", dg.DefaultScheduleStatus.RUNNING),
        ("shop_reconcile_schedule", "0 5 * * 0", dg.DefaultScheduleStatus.RUNNING),
        ("shop_verify_rotation_schedule", "0 6 * * *", dg.DefaultScheduleStatus.RUNNING),
    }
    sensor = shop.defs.resolve_sensor_def("shop_due")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    never = {"every": "never"}
    off = dg.build_defs_for_component(PostgresBackup(_system(schedule=never)))
    assert not off.schedules
    assert "shop_due" not in {sensor.name for sensor in off.sensors or ()}


def test_the_first_backup_is_due_at_once_and_makes_the_next_wait(shop: Shop) -> None:
    """The sensor asks for one run, of type scheduled, and then says when the next is due."""
    _use(shop, _system())
    [asked] = _look(shop).run_requests or []
    [again] = _look(shop).run_requests or []
    assert asked.run_key == again.run_key
    tags = {**asked.tags, "dagster/sensor_name": "shop_due"}
    assert shop.run("shop_backup", tags=tags).success
    entry = catalog.find(shop.store, "shop", "latest")
    assert (entry.type, entry.scope, entry.created_by) == ("scheduled", "full", "schedule")
    decided = _look(shop)
    assert not decided.run_requests
    assert str(decided.skip_message).startswith(f"{_WHOLE}: last done {entry.started_at:%Y-%m-%d}")
    assert "; next due " in str(decided.skip_message)


def test_a_tick_launches_what_is_due_and_says_why_not(kept: Shop) -> None:
    """At the time of day, two days after the last one; what comes late is the sensor's."""
    at = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
    _use(kept, _system(schedule={"at": f"{at:%H:%M}"}))
    _put(kept.store, at - timedelta(days=1))
    decided = _tick(kept, _WHOLE, at)
    assert not decided.run_requests
    assert decided.skip_message == (
        f"last done {at - timedelta(days=1):%Y-%m-%d %H:%M} UTC; "
        f"next due {at + timedelta(days=1):%Y-%m-%d %H:%M} UTC"
    )
    [asked] = _tick(kept, _WHOLE, at + timedelta(days=1)).run_requests or []
    assert asked.tags["backup_pipelines/type"] == "scheduled"
    late = _tick(kept, _WHOLE, at - timedelta(days=3))
    assert not late.run_requests
    assert "shop_due launches what is overdue" in str(late.skip_message)
    starting = _start(kept)
    decided = _tick(kept, _WHOLE, at + timedelta(days=1))
    assert decided.skip_message == f"run {starting} is in progress"


def test_the_sensor_leaves_a_slot_to_its_tick(shop: Shop) -> None:
    """For two minutes; together they would launch it twice."""
    _use(shop, _system(schedule={"at": f"{datetime.now(UTC):%H:%M}"}))
    assert _look(shop).skip_message == f"{_WHOLE}: its own tick is at this time"


def test_one_in_progress_is_not_doubled(shop: Shop) -> None:
    """Whoever launched it; a backup by hand is another matter."""
    _use(shop, _system())
    manual = dg.DagsterRun(job_name="shop_backup", status=dg.DagsterRunStatus.STARTED)
    shop.instance.run_storage.add_run(manual)
    assert _look(shop).run_requests
    starting = _start(shop)
    assert _look(shop).skip_message == f"{_WHOLE}: run {starting} is in progress"


def test_what_failed_is_launched_again_after_a_pause(shop: Shop) -> None:
    """Under another key each time, until the attempts are spent."""
    _use(shop, _system(schedule={"at": _noon(-6), "retries": 1}))
    [first] = _look(shop).run_requests or []
    _fail(shop, 20)
    [second] = _look(shop).run_requests or []
    assert first.run_key != second.run_key
    _fail(shop, 5)
    decided = _look(shop)
    assert not decided.run_requests
    assert "failed 2 times since" in str(decided.skip_message)


def test_a_pause_is_waited_for(shop: Shop) -> None:
    """The reason says until when."""
    _use(shop, _system(schedule={"at": _noon(-6)}))
    _fail(shop, 5)
    assert "failed once since" in str(_look(shop).skip_message)


def test_a_module_may_have_a_schedule_of_its_own(shop: Shop) -> None:
    """Its backups are scheduled ones of the module; a whole backup that is due goes first."""
    modules = {
        "sales": {**SHOP.modules["sales"].model_dump(), "schedule": {"every": "daily"}},
        "stock": SHOP.modules["stock"].model_dump(),
    }
    modules["sales"]["schedule"] = {"every": "daily", "at": _noon()}
    _use(shop, _system(modules=modules))
    [asked] = _look(shop).run_requests or []
    assert asked.tags[schedules.SCHEDULE_TAG] == _WHOLE
    _put(shop.store, datetime.now(UTC) - timedelta(hours=30))
    [asked] = _look(shop).run_requests or []
    assert asked.tags[schedules.SCHEDULE_TAG] == _SALES
    keys = [key.to_user_string() for key in asked.asset_selection or []]
    assert keys == ["shop/public/orders", "shop/public/order_lines"]
    tags = {**asked.tags, "dagster/sensor_name": "shop_due"}
    assert shop.run("shop_backup", assets=keys, tags=tags).success
    entry = catalog.backups(shop.store, "shop")[0]
    assert (entry.type, entry.scope, entry.modules) == ("scheduled", "modules", ("sales",))
    said = str(_look(shop).skip_message).splitlines()
    assert [line.split(": last done ")[0] for line in said] == [_WHOLE, _SALES]


def test_drills_comparisons_and_verifications_run_by_themselves(shop: Shop) -> None:
    """The first at once, a drill as soon as there is a full backup."""
    weekly = {"schedule": {"every": "weekly", "at": _noon()}}
    never = {"every": "never"}
    _use(shop, _system(schedule=never, drill=weekly, reconcile=weekly, verify=weekly))
    asked = _look(shop).run_requests or []
    names = ["shop_reconcile", "shop_verify_rotation"]
    assert [request.job_name for request in asked] == names
    for request in asked:
        assert shop.run(str(request.job_name), tags=request.tags).success
    decided = _look(shop)
    assert str(decided.skip_message).splitlines()[0] == (
        "shop_drill_schedule: there is no full backup to drill yet"
    )
    shop.backup()
    [asked_drill] = _look(shop).run_requests or []
    assert asked_drill.job_name == "shop_drill"
    assert shop.run("shop_drill").success
    assert not _look(shop).run_requests


def test_what_is_switched_off_is_not_made_up_for(kept: Shop) -> None:
    """The switch in the UI counts for the sensor too."""
    _use(kept, _system())
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("backup_pipelines"), "__repository__"),
        _WHOLE,
    )
    state = InstigatorState(
        origin,
        InstigatorType.SCHEDULE,
        InstigatorStatus.STOPPED,
        ScheduleInstigatorData(cron_schedule="0 2 * * *"),
    )
    selector = InstigatorSelector(
        location_name="backup_pipelines", repository_name="__repository__", name=_WHOLE
    )
    assert state.selector_id == selector.get_id()
    assert _look(kept).run_requests
    kept.instance.add_instigator_state(state)
    assert _look(kept).skip_message == f"{_WHOLE}: it is switched off"


@pytest.mark.timeout(400)
def test_the_real_daemon_starts_what_is_due_and_skips_what_is_not(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    start_daemon: StartDaemon,
) -> None:
    """By sensors right away, and by a schedule at its tick; what is skipped has its reason."""
    never = {"every": "never"}
    plans = {
        "shop": {"at": _noon()},
        "mill": {"every": "cron", "cron": "* * * * *"},
        "depot": {"at": _noon()},
    }
    variables: dict[str, str] = {}
    for name in ("shop", "mill"):
        database = make_database(server)
        database.run(TABLES)
        variables[f"{name.upper()}_DATABASE_URL"] = database.reader_url
    last = datetime.now(UTC) - timedelta(hours=20)
    _put(store, last, "depot")
    kinds = ("drill", "reconcile", "verify")
    common = {**SHOP.model_dump(), **{kind: {"schedule": never} for kind in kinds}}
    changed = [
        {"system": name, "database_url_env": f"{name.upper()}_DATABASE_URL", "schedule": plan}
        for name, plan in plans.items()
    ]
    others = (job_names.prune_sensor, job_names.health_sensor)
    off = [sensor(name) for name in plans for sensor in others]
    daemon = start_daemon([{**common, **fields} for fields in changed], variables, off)

    first = daemon.wait(lambda: daemon.finished("shop_backup"))
    assert first.is_success
    assert first.tags["dagster/sensor_name"] == "shop_due"
    made = catalog.find(store, "shop", "latest")
    assert (made.type, made.created_by) == ("scheduled", "schedule")
    skipped = daemon.wait(lambda: daemon.ticks("depot_due"))[0]
    assert skipped.status == TickStatus.SKIPPED
    assert str(skipped.skip_reason).startswith(
        f"depot_backup_schedule: last done {last:%Y-%m-%d %H:%M} UTC; next due "
    )
    second = daemon.wait(lambda: daemon.finished("mill_backup"))
    assert second.is_success
    assert second.tags["dagster/schedule_name"] == "mill_backup_schedule"
    assert len(daemon.runs("shop_backup")) == 1
    assert daemon.runs("depot_backup") == []
