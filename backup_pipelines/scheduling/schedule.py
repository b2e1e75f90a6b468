"""When something is due, by its schedule, when it was last done, and which attempts have failed.

Everything here is a pure function of aware times. A slot is the instant at which a wall clock in
the schedule's time zone shows `at`. Where clocks are put forward over it, it is the first moment
after the gap; where they are put back, the second time it is shown. Dagster's ticks do the same.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim

from backup_pipelines.settings import PERIODS, ScheduleSpec

# Clocks of workers, daemon and database differ: a worker may start before the slot by its own.
_SKEW = timedelta(minutes=1)

# CronSim counts in local time, so it must begin outside any hours that a clock shows twice.
_FOLD = timedelta(hours=3)

# So many pairs of slots of a cron expression have a long gap, such as a week-end, among them.
_CRON_SLOTS = 11

_DAY = timedelta(days=1)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Decision:
    """Whether it is to be started now, and why."""

    due: bool
    due_at: datetime | None
    """When it is next to be started, in the past if it is overdue; None if never, or at once."""
    reason: str
    """A sentence for people, with times in the schedule's time zone."""
    attempt: str = ""
    """What no other attempt has: the slot that it belongs to, and how many have failed since."""


def decide(
    spec: ScheduleSpec, now: datetime, last: datetime | None, failed: Iterable[datetime] = ()
) -> Decision:
    """Whether it is due; `last` is the start of the last that was done, `failed` of those not."""
    if spec.every == "never":
        return Decision(False, None, "it never runs by itself (every: never)")
    # Times of one zone are compared by their wall clocks, which clock changes confuse.
    now, failed = now.astimezone(UTC), [at.astimezone(UTC) for at in failed]
    counted, said = _counted(spec, now, last.astimezone(UTC) if last is not None else None)
    due_at = _due_after(spec, counted) if counted is not None else None
    if due_at is not None and now < due_at:
        return Decision(False, due_at, f"{said}; next due {_shown(spec, due_at)}")
    # What failed is tried anew each day, however long its period is.
    chances = spec if spec.every == "cron" else spec.model_copy(update={"every": "daily"})
    since = slot_before(chances, now)
    failures = sorted(at for at in failed if since <= at <= now + _SKEW)
    attempt = f"{since.isoformat()} {len(failures)}"
    overdue = f"due since {_shown(spec, due_at)}" if due_at is not None else "due at once"
    if not failures:
        return Decision(True, due_at, f"{said}; {overdue}", attempt)
    times = "once" if len(failures) == 1 else f"{len(failures)} times"
    said = f"{said}; {overdue}; failed {times} since {_shown(spec, since)}"
    retry_at = slot_after(chances, now)
    if len(failures) <= spec.retries:
        retry_at = min(retry_at, failures[-1] + timedelta(minutes=spec.retry_minutes))
    if now < retry_at:
        return Decision(False, retry_at, f"{said}, next due {_shown(spec, retry_at)}")
    return Decision(True, due_at, said, attempt)


def next_due(spec: ScheduleSpec, now: datetime, last: datetime | None) -> datetime | None:
    """When it is due after `last`: in the past if it is overdue, `now` if it was never done."""
    if spec.every == "never":
        return None
    return decide(spec, now, last).due_at or now


def horizon(spec: ScheduleSpec, now: datetime) -> datetime:
    """The newest time that something can have been done at, had the clock been put back since.

    Without this limit one thing done in a wrong year would stop all that come after it.
    """
    if spec.every == "never":
        return now
    period = PERIODS.get(spec.every)
    return now + period if period else slot_after(spec, slot_after(spec, now))


def period(spec: ScheduleSpec, now: datetime) -> timedelta:
    """The longest time between two slots; raises KeyError for `never`, which has none."""
    if spec.every != "cron":
        return PERIODS[spec.every]
    slots = [slot_before(spec, now)]
    for _ in range(_CRON_SLOTS):
        slots.append(slot_after(spec, slots[-1]))
    return max(after - before for before, after in pairwise(slots))


def slot_before(spec: ScheduleSpec, at: datetime) -> datetime:
    """The newest slot that is not after `at`, of every day for every_2_days."""
    at = at.astimezone(UTC)
    if spec.every == "cron":
        return next(fire for fire in _fires(spec, at + _FOLD, back=True) if fire <= at)
    return _instant(spec, _day_before(spec, at))


def slot_after(spec: ScheduleSpec, at: datetime) -> datetime:
    """The first slot after `at`, of every day for every_2_days."""
    at = at.astimezone(UTC)
    if spec.every == "cron":
        return next(fire for fire in _fires(spec, at - _FOLD) if fire > at)
    day = _day_before(spec, at) + _DAY
    while not _is_slot(spec, day):
        day += _DAY
    return _instant(spec, day)


def _counted(
    spec: ScheduleSpec, now: datetime, last: datetime | None
) -> tuple[datetime | None, str]:
    if last is None:
        return None, "it was never done"
    if last > horizon(spec, now):
        return None, (
            f"the last one is of {_shown(spec, last)}, more than a period ahead of the clock, and "
            "does not count"
        )
    return last, f"last done {_shown(spec, last)}"


def _due_after(spec: ScheduleSpec, last: datetime) -> datetime:
    if spec.every == "every_2_days":
        return _instant(spec, _day_before(spec, last + _SKEW) + 2 * _DAY)
    return slot_after(spec, last + _SKEW)


def _is_slot(spec: ScheduleSpec, day: date) -> bool:
    if spec.every == "weekly":
        return _WEEKDAYS[day.weekday()] == spec.weekday
    return day.day == 1 if spec.every == "monthly" else True


def _day_before(spec: ScheduleSpec, at: datetime) -> date:
    """The date of the newest slot that is not after `at`."""
    # A gap can move a slot past midnight, and at the date line leave out a day.
    day = at.astimezone(ZoneInfo(spec.timezone)).date() + _DAY
    while not _is_slot(spec, day) or _instant(spec, day) > at:
        day -= _DAY
    return day


def _instant(spec: ScheduleSpec, day: date) -> datetime:
    """The instant at which it is `at` on this day."""
    zone = ZoneInfo(spec.timezone)
    wall = datetime.combine(day, time.fromisoformat(spec.at), zone)
    early, late = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    if early <= late:
        return late
    # The time does not exist: these two are before and after the gap, and it ends in between.
    after = early.astimezone(zone).utcoffset()
    minutes = range((early - late) // timedelta(minutes=1) + 1)

    def is_over(minute: int) -> bool:
        return (late + timedelta(minutes=minute)).astimezone(zone).utcoffset() == after

    return late + timedelta(minutes=bisect_left(minutes, True, key=is_over))


def _fires(spec: ScheduleSpec, start: datetime, *, back: bool = False) -> Iterator[datetime]:
    local = start.astimezone(ZoneInfo(spec.timezone))
    return (fire.astimezone(UTC) for fire in CronSim(spec.cron, local, reverse=back))


def _shown(spec: ScheduleSpec, at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(spec.timezone)):%Y-%m-%d %H:%M %Z}"
