"""When something is due: over ten years of clock changes, outages and failures, and in detail."""

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from backup_pipelines import layout
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.scheduling import due, schedule
from backup_pipelines.settings import Every, ScheduleSpec
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.bare_manifest import bare_manifest

_ZONES = (
    *("UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"),
    *("America/Sao_Paulo", "Africa/Casablanca", "Pacific/Chatham", "America/Nuuk"),
)
# Most are about midnight and the hours at which clocks change.
_TIMES = ("00:00", "00:30", "01:30", "02:00", "02:15", "02:30", "02:59", "03:00", "13:45", "23:30")

# The sensor looks every 30 seconds, and each look and launch takes a moment.
_TICK = timedelta(seconds=60)
_PERIODS = {"every_2_days": 2, "daily": 1, "weekly": 7}
_YEARS = 10


@cache
def _shown_times(zone_name: str, at: str, first: int) -> list[datetime]:
    """The instants at which a clock in the zone gets to `at`, found minute by minute."""
    zone, wanted = ZoneInfo(zone_name), time.fromisoformat(at)
    found: list[datetime] = []
    day = date(first, 1, 1) - timedelta(days=40)
    while day.year <= first + _YEARS:
        naive = datetime.combine(day, wanted)
        instants = [naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        real = [i for i in instants if i.astimezone(zone).replace(tzinfo=None) == naive]
        if not real:
            # Clocks jump over it: the first minute that shows anything later.
            real = [min(instants)]
            while real[0].astimezone(zone).replace(tzinfo=None) < naive:
                real = [real[0] + timedelta(minutes=1)]
        found.append(max(real))
        day += timedelta(days=1)
    return found


@dataclass
class History:
    """What became of ten years: when backups started, and what kept them from it."""

    starts: list[datetime] = field(default_factory=list[datetime])
    excused: list[timedelta] = field(default_factory=list[timedelta])
    """For each start how much of the time before it was outage or failure."""


def _simulate(spec: ScheduleSpec, first: int, chance: random.Random, fail: float) -> History:
    """Ask `decide` whenever it can matter, from one interesting instant to the next."""
    now = datetime(first, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(60 * 24 * 40))
    end = now.replace(year=first + _YEARS)
    history, last, excused = History(), None, timedelta()
    failed: list[datetime] = []
    while now < end:
        found = schedule.decide(spec, now, last, failed[-30:])
        if found.due:
            if chance.random() < fail:
                failed.append(now)
                now += timedelta(seconds=chance.randrange(1, 90))
                excused += now - failed[-1]
                continue
            _check_attempts(spec, first, failed, now)
            history.starts.append(now)
            history.excused.append(excused)
            # Ids are in whole seconds.
            last, excused, failed = now.replace(microsecond=0), timedelta(), []
            continue
        assert found.due_at is not None
        assert found.due_at > now
        between = now + (found.due_at - now) * chance.random()
        assert not schedule.decide(spec, between, last, failed[-30:]).due
        if failed:
            excused += found.due_at - now
        now = found.due_at + _TICK * chance.random()
        if failed:
            excused += now - found.due_at
        if chance.random() < 0.05:
            outage = timedelta(minutes=chance.choice((3, 60, 60 * 24, 60 * 24 * 15)))
            outage *= chance.random()
            now, excused = now + outage, excused + outage
    return history


def _check_attempts(spec: ScheduleSpec, first: int, failed: list[datetime], now: datetime) -> None:
    """Attempts are a pause apart, and bounded until the next time of day."""
    shown = _shown_times(spec.timezone, spec.at, first)
    days = [bisect_right(shown, at) for at in failed]
    for day in set(days):
        assert days.count(day) <= 1 + spec.retries
    for before, after in zip(failed, [*failed[1:], now], strict=False):
        pause = timedelta(minutes=spec.retry_minutes)
        assert after - before >= pause or bisect_right(shown, before) != bisect_right(shown, after)


def _check(spec: ScheduleSpec, first: int, history: History) -> None:
    zone, days = ZoneInfo(spec.timezone), _PERIODS[spec.every]
    shown = _shown_times(spec.timezone, spec.at, first)
    if spec.every == "weekly":
        shown = [at for at in shown if at.astimezone(zone).strftime("%A").lower() == spec.weekday]
    passed = 1 if spec.every == "weekly" else days
    pairs = zip(history.starts, history.starts[1:], history.excused[1:], strict=False)
    for before, after, excused in pairs:
        # One that is a minute early is of the slot that it is a minute before.
        periods = bisect_right(shown, after) - bisect_right(shown, before + timedelta(minutes=1))
        assert periods >= passed, f"{before} and {after} are in one period"
        changed = before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset()
        allowed = timedelta(days=days, hours=1 if changed else 0) + 2 * _TICK + excused
        assert after - before <= allowed, f"{before} and {after} are too far apart"
    assert len(history.starts) > _YEARS * 365 / days / 3


_specs = st.builds(
    ScheduleSpec,
    every=st.sampled_from(sorted(_PERIODS)),
    at=st.sampled_from(_TIMES),
    timezone=st.sampled_from(_ZONES),
    weekday=st.sampled_from(["sunday", "monday", "friday"]),
    retries=st.integers(0, 3),
    retry_minutes=st.sampled_from([1, 15, 600]),
)


def _campaign(count: int) -> None:
    # In 2017 the clocks of Sao Paulo still changed at midnight.
    # A smaller example is no clearer than its seed, and takes minutes to find.
    @settings(max_examples=count, deadline=None, derandomize=count < 1000, phases=[Phase.generate])
    @given(
        _specs, st.sampled_from([2017, 2026]), st.integers(0, 2**32), st.sampled_from([0, 0.1, 0.4])
    )
    def run(spec: ScheduleSpec, first: int, seed: int, fail: float) -> None:
        _check(spec, first, _simulate(spec, first, random.Random(seed), fail))

    run()


@pytest.mark.parametrize(
    "count", [8, pytest.param(1000, marks=(pytest.mark.soak, pytest.mark.timeout(14400)))]
)
def test_ten_years_of_outages_and_failures(count: int) -> None:
    """No gap is longer than its period and what excuses it, and no period has two."""
    _campaign(count)


def _at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def _chain(spec: ScheduleSpec, start: datetime, count: int) -> Iterator[str]:
    """Local times of what is done as soon as it is due."""
    zone, last = ZoneInfo(spec.timezone), start
    for _ in range(count):
        found = schedule.next_due(spec, last, last)
        assert found is not None
        last = found
        yield f"{found.astimezone(zone):%m-%d %H:%M %Z}"


@pytest.mark.parametrize(
    ("start", "zone", "at", "expected"),
    [
        ("2026-01-30T02:00", "UTC", "02:00", ["02-01 02:00 UTC", "02-03 02:00 UTC"]),
        ("2026-12-30T02:00", "UTC", "02:00", ["01-01 02:00 UTC", "01-03 02:00 UTC"]),
        ("2028-02-28T02:00", "UTC", "02:00", ["03-01 02:00 UTC"]),
        ("2028-02-27T02:00", "UTC", "02:00", ["02-29 02:00 UTC", "03-02 02:00 UTC"]),
        ("2027-02-27T02:00", "UTC", "02:00", ["03-01 02:00 UTC"]),
        (
            *("2026-03-27T02:30", "Europe/Paris", "02:30"),
            ["03-29 03:00 CEST", "03-31 02:30 CEST"],
        ),
        ("2026-10-23T02:30", "Europe/Paris", "02:30", ["10-25 02:30 CET", "10-27 02:30 CET"]),
        (
            *("2026-10-02T02:15", "Australia/Lord_Howe", "02:15"),
            ["10-04 02:30 +11", "10-06 02:15 +11"],
        ),
    ],
    ids=["month", "year", "leap year", "leap day", "no leap day", "spring", "autumn", "half hour"],
)
def test_every_two_days_over_the_ends_of_things(
    start: str, zone: str, at: str, expected: list[str]
) -> None:
    """The same time of day two days later, whatever ends in between."""
    spec = ScheduleSpec(at=at, timezone=zone)
    assert list(_chain(spec, _at(start, zone), len(expected))) == expected


@pytest.mark.parametrize(
    ("start", "hours"),
    [("2026-03-28T12:00", 47), ("2026-10-24T12:00", 49), ("2026-06-01T12:00", 48)],
)
def test_two_days_are_47_48_or_49_hours(start: str, hours: int) -> None:
    """As the clocks are put forward, back, or not at all."""
    spec = ScheduleSpec(at="12:00", timezone="Europe/Paris")
    last = _at(start, "Europe/Paris").astimezone(UTC)
    assert schedule.next_due(spec, last, last) == last + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("daily", ["07-16 02:00 UTC", "07-17 02:00 UTC"]),
        ("weekly", ["07-19 02:00 UTC", "07-26 02:00 UTC"]),
        ("monthly", ["08-01 02:00 UTC", "09-01 02:00 UTC"]),
    ],
)
def test_the_other_periods(every: Every, expected: list[str]) -> None:
    """Each day, each Sunday, the first of each month."""
    assert list(_chain(ScheduleSpec(every=every), _at("2026-07-15T02:00"), 2)) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        ("15 */6 * * *", "UTC", "2026-07-15T12:20", ["07-15 18:15 UTC", "07-16 00:15 UTC"]),
        ("30 2 * * 1-5", "UTC", "2026-07-17T02:30", ["07-20 02:30 UTC", "07-21 02:30 UTC"]),
        ("0 2 31 * *", "UTC", "2026-07-31T02:00", ["08-31 02:00 UTC", "10-31 02:00 UTC"]),
        (
            *("30 2 * * *", "Europe/Paris", "2026-03-28T02:30"),
            ["03-29 03:00 CEST", "03-30 02:30 CEST"],
        ),
    ],
)
def test_a_cron_expression(cron: str, zone: str, start: str, expected: list[str]) -> None:
    """What is missed is due at the next time of the expression, in its time zone."""
    spec = ScheduleSpec(every="cron", cron=cron, timezone=zone)
    assert list(_chain(spec, _at(start, zone), 2)) == expected


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/20 * * * *", "10 1,2 * * *"])
def test_slots_of_a_cron_expression_are_in_order_around_clock_changes(cron: str) -> None:
    """At every minute the newest one is not after it, and the next one is."""
    spec = ScheduleSpec(every="cron", cron=cron, timezone="Europe/Paris")
    for start in (_at("2026-03-28T23:05"), _at("2026-10-24T23:05")):
        for minute in range(0, 300, 7):
            now = start + timedelta(minutes=minute)
            before, after = schedule.slot_before(spec, now), schedule.slot_after(spec, now)
            assert before <= now < after
            assert schedule.slot_after(spec, before) == after


def test_what_was_missed_is_made_up_for_once() -> None:
    """After a week without the daemon it is due at once, and then two days after that slot."""
    spec = ScheduleSpec()
    now = _at("2026-07-22T10:11")
    found = schedule.decide(spec, now, _at("2026-07-13T02:00:05"))
    assert (found.due, found.due_at) == (True, _at("2026-07-15T02:00"))
    assert found.reason == "last done 2026-07-13 02:00 UTC; due since 2026-07-15 02:00 UTC"
    after = schedule.decide(spec, now, now)
    assert (after.due, after.due_at) == (False, _at("2026-07-24T02:00"))


def test_what_was_never_done_is_due_at_once() -> None:
    """Unless it never runs by itself."""
    now = _at("2026-07-15T12:00")
    for every in ("every_2_days", "daily", "weekly", "monthly"):
        found = schedule.decide(ScheduleSpec(every=every), now, None)
        assert (found.due, found.reason) == (True, "it was never done; due at once")
    never = ScheduleSpec(every="never")
    assert not schedule.decide(never, now, None).due
    assert schedule.next_due(never, now, None) is None


def test_a_reason_is_in_the_time_zone_of_the_schedule() -> None:
    """People compare it with their clocks."""
    spec = ScheduleSpec(timezone="America/New_York")
    found = schedule.decide(spec, _at("2026-07-16T12:00"), _at("2026-07-15T06:00:03"))
    assert not found.due
    assert found.reason == "last done 2026-07-15 02:00 EDT; next due 2026-07-17 02:00 EDT"


@pytest.mark.parametrize("every", ["every_2_days", "daily", "weekly", "monthly", "cron"])
def test_a_clock_that_was_put_back_does_not_stop_it_for_ever(every: Every) -> None:
    """What is a little ahead counts, what is ahead by more than a period does not."""
    spec = ScheduleSpec(every=every, cron="0 2 * * *" if every == "cron" else "")
    now = _at("2026-07-15T12:00")
    assert not schedule.decide(spec, now, now + timedelta(hours=1)).due
    found = schedule.decide(spec, now, _at("2028-01-01T00:00"))
    assert found.due
    assert "the last one is of 2028-01-01 00:00 UTC, more than a period ahead" in found.reason


def test_a_worker_whose_clock_is_a_little_behind_does_not_make_it_due_again() -> None:
    """It has started before the slot by its own clock."""
    found = schedule.decide(
        ScheduleSpec(every="daily"), _at("2026-07-15T02:05"), _at("2026-07-15T01:59:58")
    )
    assert (found.due, found.due_at) == (False, _at("2026-07-16T02:00"))


def test_a_failed_one_is_tried_again_after_a_pause_and_not_for_ever() -> None:
    """With two retries that is three attempts, and then the next time of day."""
    spec = ScheduleSpec(every="weekly", weekday="wednesday", retries=2, retry_minutes=10)
    last, slot = _at("2026-07-08T02:00"), _at("2026-07-15T02:00")

    def asked(minutes: float, *failed: float) -> schedule.Decision:
        times = [slot + timedelta(minutes=m) for m in failed]
        return schedule.decide(spec, slot + timedelta(minutes=minutes), last, times)

    assert asked(1).attempt == "2026-07-15T02:00:00+00:00 0"
    paused = asked(5, 1)
    assert (paused.due, paused.due_at) == (False, slot + timedelta(minutes=11))
    assert paused.reason == (
        "last done 2026-07-08 02:00 UTC; due since 2026-07-15 02:00 UTC; failed once since "
        "2026-07-15 02:00 UTC, next due 2026-07-15 02:11 UTC"
    )
    assert asked(11, 1).attempt == "2026-07-15T02:00:00+00:00 1"
    assert asked(25, 1, 12).due
    spent = asked(60, 1, 12, 25)
    assert (spent.due, spent.due_at) == (False, _at("2026-07-16T02:00"))
    assert "failed 3 times since 2026-07-15 02:00 UTC, next due 2026-07-16 02:00" in spent.reason
    again = asked(24 * 60, 1, 12, 25)
    assert (again.due, again.attempt) == (True, "2026-07-16T02:00:00+00:00 0")


def _put(store: Store, at: str, kind: BackupType, *modules: str, seal: bool = True) -> None:
    backup_id, moment = str(BackupId.new(kind, _at(at))), _at(at)
    store.put_new(layout.started_key("crm", backup_id), b"{}")
    if not seal:
        return
    entry = bare_manifest(
        moment,
        id=backup_id,
        type=kind,
        scope="modules" if modules else "full",
        modules=modules or ("leads", "deals"),
    )
    store.put_new(layout.manifest_key("crm", backup_id), entry.to_json())


def test_only_whole_scheduled_backups_count(store: Store) -> None:
    """Neither a manual one, nor one of a module, nor one that broke off."""
    assert due.last_backup(store, "crm") is None
    assert not due.has_full_backup(store, "crm")
    _put(store, "2026-01-01T02:00", "scheduled")
    _put(store, "2026-01-03T02:00", "scheduled")
    _put(store, "2026-01-04T02:00", "scheduled", "leads")
    _put(store, "2026-01-05T02:00", "scheduled", seal=False)
    _put(store, "2026-01-06T02:00", "manual")
    _put(store, "2026-01-07T02:00", "module", "leads")
    assert due.last_backup(store, "crm") == _at("2026-01-03T02:00")
    assert due.has_full_backup(store, "crm")


def test_a_module_is_in_its_own_backups_and_in_whole_ones(store: Store) -> None:
    """Whichever is newer."""
    _put(store, "2026-01-03T02:00", "scheduled")
    _put(store, "2026-01-04T02:00", "scheduled", "leads")
    assert due.last_backup(store, "crm", "leads") == _at("2026-01-04T02:00")
    assert due.last_backup(store, "crm", "deals") == _at("2026-01-03T02:00")


def test_a_backup_of_the_future_hides_no_other(store: Store) -> None:
    """It was taken while the clock was wrong."""
    _put(store, "2026-01-03T02:00", "scheduled")
    _put(store, "2099-01-03T02:00", "scheduled")
    assert due.last_backup(store, "crm") == _at("2026-01-03T02:00")
    assert due.last_backup(store, "crm", until=_at("2026-01-02T00:00")) is None


def test_a_damaged_manifest_is_no_backup(store: Store) -> None:
    """The one before it is the last."""
    _put(store, "2026-01-03T02:00", "scheduled")
    damaged = str(BackupId.new("scheduled", _at("2026-01-05T02:00")))
    store.put_new(layout.manifest_key("crm", damaged), b"{")
    assert due.last_backup(store, "crm") == _at("2026-01-03T02:00")


def test_the_last_drill_is_told_by_its_record(store: Store) -> None:
    """The newest, of whatever backup, that is not of the future."""
    assert due.last_drill(store, "crm") is None
    for backup, at in (
        ("b", "20260105T040000000001Z"),
        ("a", "20260201T040000000000Z"),
        ("a", "20990101T000000000000Z"),
    ):
        store.put_new(layout.drill_key("crm", backup, at), b"{}")
    assert due.last_drill(store, "crm") == _at("2026-02-01T04:00")
