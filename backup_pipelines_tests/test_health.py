"""The health of a system: its numbers, what is remembered, what has changed, what is frozen."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_pipelines import layout, state_log, verify
from backup_pipelines.errors import Failed
from backup_pipelines.health import guards, health
from backup_pipelines.health.finding import READABLE, Finding, Status
from backup_pipelines.health.health import Health, assess, changes, informed, previous, remember
from backup_pipelines.retention import freezes
from backup_pipelines.retention.prune import plan_prune, prune
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.histories import (
    NOW,
    crm,
    found,
    put_backup,
    put_drill,
    put_record,
)

DAY = 24
FALLEN = {"public.deals": (100, 5_000)}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAGSTER_HOME of the test's own: what waits there is what this test has put there."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def look(store: Store, system: System | None = None, hours: float = 0) -> Health:
    """Look at the health and remember it, as the job does."""
    before = previous(store, "crm")
    looked = assess(store, system or crm(), NOW + timedelta(hours=hours))
    health.freeze_pruning(store, looked)
    looked = informed(before, looked)
    remember(store, looked)
    return looked


def test_a_good_history_is_healthy_and_measured(store: Store) -> None:
    """Recovery point, largest gap, recovery time, success rate and the last of each are told."""
    for hours in (1, 49, 99, 146):
        put_backup(store, hours)
    put_drill(store, 24, seconds=30)
    for hours in range(40, 0, -1):
        put_record(store, "backup", "failed" if hours in (2, 35) else "done", hours)
    put_record(store, "prune", "done", 0.5, "2 removed")
    put_backup(store, 0.5, scope="modules", type="module")
    looked = assess(store, crm(), NOW)
    assert looked.healthy
    assert looked.recovery_point_seconds == 3600
    assert looked.largest_gap_seconds == 50 * 3600
    assert looked.recovery_point_target_seconds == 50 * 3600
    assert (looked.recovery_time_seconds, looked.backups) == (30, 5)
    assert (looked.attempts, looked.success_rate) == (30, 29 / 30)
    assert looked.last_drill is not None
    assert looked.last_prune is not None
    assert looked.last_prune.message == "2 removed"
    assert looked.last_scheduled is not None
    assert looked.next_scheduled is not None
    assert looked.next_scheduled > NOW


def test_the_storage_trend_is_that_of_the_records(store: Store) -> None:
    """A megabyte a day, as the records have it, gives the day on which the limit is reached."""
    system = crm(storage_limit="10 MB")
    for day in range(4):
        store.put_new(f"crm/filler/{day}", b"x" * 1_000_000)
        looked = look(store, system, hours=day * DAY)
    assert looked.storage_bytes_per_day == pytest.approx(1_000_000, rel=0.02)
    assert looked.storage_full_at is not None
    assert looked.storage_full_at - looked.at == pytest.approx(
        timedelta(days=6), abs=timedelta(hours=6)
    )
    assert "the limit is reached on 2026-03-19" in found(looked, "storage").message


def test_without_records_the_trend_is_what_backups_have_added(store: Store) -> None:
    """Ten backups of a megabyte, one each day, are a megabyte a day."""
    for day in range(10):
        put_backup(store, day * DAY, {"public.deals": (1000, 1_000_000)})
    assert assess(store, crm(), NOW).storage_bytes_per_day == pytest.approx(1_000_000)


def test_only_the_newest_records_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record more than are kept makes the oldest go, and the newest is the one that counts."""
    monkeypatch.setattr(health, "KEPT", 3)
    looked = [look(store, hours=hours) for hours in range(5)]
    kept = sorted(item.key for item in store.objects(layout.health_prefix("crm")))
    assert kept == [layout.health_key("crm", state_log.stamp(one.at)) for one in looked[2:]]
    assert previous(store, "crm") == looked[-1]


def test_a_store_that_keeps_everything_does_not_stop_the_records(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused removal of an old record is no error."""
    monkeypatch.setattr(health, "KEPT", 1)

    class Locked(Store):
        def delete(self, keys: Sequence[str]) -> None:
            if keys:
                raise Failed("AccessDenied")

    locked = Locked(store.url)
    for hours in range(3):
        last = look(locked, hours=hours)
    assert previous(store, "crm") == last


def test_a_guard_that_turns_is_told_once(store: Store) -> None:
    """Red is told when it comes and green when it is over, not again with each look."""
    put_backup(store, 1)
    first = look(store)
    assert [f.guard for f in changes(None, first)] == ["restorable"]
    assert changes(first, look(store, hours=1)) == []
    late = assess(store, crm(), NOW + timedelta(hours=60))
    assert [(f.guard, f.status) for f in changes(first, late)] == [("freshness", "error")]
    late = informed(first, late)
    remember(store, late)
    put_backup(store, -60)
    assert [(f.guard, f.status) for f in changes(late, look(store, hours=61))] == [
        ("freshness", "ok")
    ]


def test_red_for_another_cause_is_told_again(store: Store) -> None:
    """A second table that falls, in the next backup, is another alarm."""
    put_backup(store, 3)
    put_backup(store, 2, FALLEN)
    first = look(store)
    put_backup(store, 1, {"public.deals": (10, 500)})
    again = [f.status for f in changes(first, look(store, hours=1)) if f.guard == "shrink"]
    assert again == ["error"]


STATUSES = st.sampled_from(["ok", "warning", "error", "unknown"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(sequence=st.lists(STATUSES, max_size=12))
def test_what_people_were_told_last_is_how_it_is(store: Store, sequence: list[Status]) -> None:
    """Whatever a guard goes through, the last message names its last status that was known."""
    empty = assess(store, crm(), NOW)
    before: Health | None = None
    told: Status = "ok"
    for status in sequence:
        finding = Finding(guard=READABLE, status=status, message="")
        after = empty.model_copy(update={"findings": [finding]})
        for change in changes(before, after):
            assert change.status != told
            told = change.status
        before = informed(before, after)
    known = [status for status in sequence if status != "unknown"]
    assert told == (known[-1] if known else "ok")


def test_the_last_look_at_the_database_counts_for_a_day(store: Store) -> None:
    """Without a look of its own the health has the last one, with its age, while it is young."""
    live = Finding(guard=READABLE, status="error", message="cannot connect")
    remember(store, assess(store, crm(), NOW, live))
    later = found(assess(store, crm(), NOW + timedelta(hours=3)), READABLE)
    assert later.status == "error"
    assert later.message == "cannot connect (as of 3 h ago)"
    remember(store, assess(store, crm(), NOW + timedelta(hours=20)))
    assert (
        "(as of 23 h ago)"
        in found(assess(store, crm(), NOW + timedelta(hours=23)), READABLE).message
    )
    old = found(assess(store, crm(), NOW + timedelta(hours=25)), READABLE)
    assert old.status == "unknown"


def old_and_new(store: Store) -> System:
    """A history of which retention would remove two backups, and whose newest has fallen."""
    for hours in (96, 72, 48):
        put_backup(store, hours)
    put_backup(store, 1, FALLEN)
    return crm(retention={"keep_last": 2, "floor": 1})


def test_a_fallen_table_stops_pruning_until_it_is_acknowledged(store: Store) -> None:
    """Green again is not enough; an acknowledgement is, and lasts although the guard looks on."""
    system = old_and_new(store)
    assert len(plan_prune(store, system, NOW).remove) == 2
    health.latch(store, system, NOW)
    assert [one.guard for one in freezes.active(store, "crm")] == ["shrink"]
    put_backup(store, 0.5, FALLEN)
    looked = look(store, system)
    assert found(looked, "shrink").status == "ok"
    assert prune(store, system, operator="ada", reason="", now=NOW).removed == ()
    stopped = found(assess(store, system, NOW), "prune")
    assert stopped.status == "warning"
    assert "acknowledge crm" in stopped.advice
    freezes.acknowledge(store, "crm", operator="ada", reason="it was meant")
    look(store, system, hours=1)
    assert freezes.active(store, "crm") == []
    assert found(assess(store, system, NOW), "prune").status == "ok"
    assert len(prune(store, system, operator="ada", reason="", now=NOW).removed) == 3


def test_an_acknowledged_freeze_stays_so_while_the_guard_is_red(store: Store) -> None:
    """Looking again at the same fallen table freezes nothing; the next fall does."""
    system = old_and_new(store)
    look(store, system)
    freezes.acknowledge(store, "crm", operator="ada", reason="it was meant")
    look(store, system, hours=1)
    health.latch(store, system, NOW)
    assert freezes.active(store, "crm") == []
    put_backup(store, 0.5, {"public.deals": (10, 500)})
    health.latch(store, system, NOW)
    assert [one.guard for one in freezes.active(store, "crm")] == ["shrink"]


def test_damaged_backups_freeze_once_each(store: Store) -> None:
    """Each backup that is found damaged stops pruning; of fewer than before nobody is told."""
    system = crm()
    first, second = put_backup(store, 3), put_backup(store, 2)
    put_backup(store, 1)
    verify.remember(store, second, "damaged", now=NOW)
    look(store, system)
    freezes.acknowledge(store, "crm", operator="ada", reason="replaced")
    look(store, system, hours=1)
    assert freezes.active(store, "crm") == []
    verify.remember(store, first, "damaged", now=NOW)
    look(store, system, hours=2)
    assert [one.guard for one in freezes.active(store, "crm")] == ["intact"]
    freezes.acknowledge(store, "crm", operator="ada", reason="replaced too")
    store.delete([layout.manifest_key("crm", first.id)])
    before = previous(store, "crm")
    fewer = look(store, system, hours=3)
    assert freezes.active(store, "crm") == []
    assert [f for f in changes(before, fewer) if f.guard == "intact"] == []


def test_a_failed_drill_freezes_and_a_late_one_does_not(store: Store) -> None:
    """Newer backups that cannot be restored must not push out the older ones."""
    put_backup(store, 40 * DAY)
    assert found(look(store), "restorable").status == "error"
    assert freezes.active(store, "crm") == []
    put_record(store, "drill", "failed", 1, "public.deals differs")
    look(store, hours=1)
    assert [one.guard for one in freezes.active(store, "crm")] == ["restorable"]


def test_only_guards_that_speak_of_the_backups_freeze() -> None:
    """Every guard that freezes is one that there is."""
    assert {"shrink", "intact", "restorable"} == guards.FREEZING
    assert guards.GUARDS.keys() >= guards.FREEZING


def test_a_week_without_the_daemon_is_red_and_removes_nothing(store: Store) -> None:
    """After a week freshness is red, and retention keeps what it kept before."""
    for day in range(20):
        put_backup(store, 48 * day)
    put_drill(store, DAY)
    system = crm(retention={"keep_last": 1, "keep_days": 40, "floor": 1})
    assert assess(store, system, NOW).healthy
    week = NOW + timedelta(days=7)
    assert plan_prune(store, system, NOW).remove == plan_prune(store, system, week).remove == ()
    late = assess(store, system, week)
    assert not late.healthy
    assert [finding.guard for finding in late.red] == ["freshness"]
    assert "7.0 days old" in found(late, "freshness").message


def test_a_full_store_fails_loudly(store: Store) -> None:
    """A record that the store does not take is an error, and so is a freeze."""

    class Full(Store):
        def put_new(self, key: str, data: bytes) -> None:
            raise Failed(f"the store failed at {self.uri(key)}: No space left on device")

    system = old_and_new(store)
    full = Full(store.url)
    looked = assess(full, system, NOW)
    with pytest.raises(Failed, match="No space left"):
        health.freeze_pruning(full, looked)
    with pytest.raises(Failed, match="No space left"):
        remember(full, looked)


def test_a_store_that_cannot_be_reached_fails_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is an error of one sentence after a moment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "unused")
    with pytest.raises(Failed, match="the store failed at s3://bucket/"):
        assess(Store("s3://bucket/prefix"), crm(), NOW)
