"""The rotation of verifications: nothing waits longer than it may, and no day has all the work."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines.catalog import CatalogEntry
from backup_pipelines.manifest import Manifest
from backup_pipelines.scheduling.rotation import due_for_verification, period_of
from backup_pipelines.settings import VerifyScheduleSpec

START = datetime(2026, 1, 15, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(number: int, at: datetime) -> CatalogEntry:
    """A backup that was sealed, and so read back, at that time."""
    sealed = Manifest.model_construct(id=f"{number:04}", created_at=at)
    return CatalogEntry(sealed, pinned=False, status="completed", verified_at=at)


def verified(entries: Sequence[CatalogEntry], ids: list[str], now: datetime) -> list[CatalogEntry]:
    """The backups after these were verified."""
    return [replace(e, verified_at=now) if e.manifest.id in ids else e for e in entries]


@given(
    days=st.integers(1, 40),
    period=st.sampled_from([timedelta(hours=12), DAY, 2 * DAY, 7 * DAY]),
    events=st.lists(st.tuples(st.integers(0, 12), st.floats(0, 1), st.randoms()), max_size=90),
)
def test_every_backup_is_verified_in_time(
    days: int, period: timedelta, events: list[tuple[int, float, object]]
) -> None:
    """Whatever comes and is pruned between runs, no verification gets older than it may."""
    period = min(period, timedelta(days=days))
    now, made = START, 0
    entries: list[CatalogEntry] = []
    for arrivals, kept, draw in events:
        for number in range(arrivals):
            at = now - period * (number / 12)
            entries.append(entry(made := made + 1, at))
        entries = [e for e in entries if draw.random() <= kept or draw.random() < 0.5]  # type: ignore[attr-defined]
        oldest = min((e.verified_at for e in entries if e.verified_at), default=now)
        assert now - oldest <= timedelta(days=days)
        due = due_for_verification(entries, days, now, period)
        assert len(set(due)) == len(due)
        entries = verified(entries, due, now)
        now += period


@pytest.mark.parametrize(("count", "days", "most"), [(60, 30, 3), (7, 30, 1), (30, 30, 2)])
def test_the_work_is_spread(count: int, days: int, most: int) -> None:
    """Backups that were all sealed on one day are not all verified on one."""
    entries = [entry(number, START) for number in range(count)]
    seen: set[str] = set()
    for day in range(1, 3 * days):
        now = START + day * DAY
        due = due_for_verification(entries, days, now)
        assert 1 <= len(due) <= most
        entries = verified(entries, due, now)
        seen |= set(due)
    assert len(seen) == count


def test_the_oldest_go_first() -> None:
    """Of four, two go in a rotation of two days: those verified longest ago, the oldest first."""
    now = START + DAY
    hours = {1: 3, 2: 20, 3: 1, 4: 9}
    entries = [entry(number, now - timedelta(hours=ago)) for number, ago in hours.items()]
    assert due_for_verification(entries, 30, now) == ["0002"]
    assert due_for_verification(entries, 3, now) == ["0002", "0004"]
    assert due_for_verification(entries, 1, now) == ["0002", "0004", "0001", "0003"]


def test_what_is_overdue_goes_at_once() -> None:
    """After a long outage all that is late is verified by the first run."""
    entries = [entry(number, START) for number in range(50)]
    entries.append(entry(50, START + 39 * DAY))
    due = due_for_verification(entries, 30, START + 40 * DAY)
    assert sorted(due) == [f"{number:04}" for number in range(50)]


def test_a_damaged_backup_is_not_verified_again() -> None:
    """It is known to be damaged until somebody verifies it or deletes it."""
    damaged = replace(entry(1, START), status="damaged", verified_at=None)
    assert due_for_verification([damaged], 1, START + DAY) == []
    assert due_for_verification([], 1, START) == []


@pytest.mark.parametrize(
    ("fields", "longest"),
    [
        ({}, DAY),
        ({"every": "weekly"}, 7 * DAY),
        ({"every": "never"}, DAY),
        ({"every": "cron", "cron": "0 6 * * 1-5"}, 3 * DAY),
        ({"every": "cron", "cron": "0 */6 * * *"}, timedelta(hours=6)),
    ],
)
def test_the_period_is_the_longest_pause(fields: dict[str, str], longest: timedelta) -> None:
    """A rotation on weekdays has the weekend in mind."""
    spec = VerifyScheduleSpec.model_validate(fields)
    for day in range(7):
        assert period_of(spec, START + day * DAY) == longest
