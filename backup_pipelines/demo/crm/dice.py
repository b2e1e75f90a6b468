"""Seeded chance: the same numbers on every machine.

Nothing here asks the clock or needs the C library's maths, which differs in the last digit.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

TODAY = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
START = datetime(2023, 1, 16, 7, 0, tzinfo=UTC)
# A Monday, and where ordinals start.
_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
# So many days earlier: Saturdays become Tuesdays, Sundays Wednesdays.
_INSTEAD_OF_WEEKEND = 4


def cents(amount: int) -> Decimal:
    """Money from whole cents, with its two decimals."""
    return Decimal(amount).scaleb(-2)


class Dice(Random):
    """A seeded generator with the few throws the demo needs."""

    def chance(self, probability: float) -> bool:
        """Whether something happens that happens with this probability."""
        return self.random() < probability

    def pick(self, values: Sequence[T]) -> T:
        """One of the values, all equally likely; faster than `choice`."""
        return values[int(self.random() * len(values))]

    def early(self, values: Sequence[T]) -> T:
        """One of the values, those in front more likely than those at the back."""
        return values[int(self.random() * self.random() * len(values))]

    def some(self, values: Sequence[T], most: int) -> list[T]:
        """Up to `most` different values, possibly none."""
        return self.sample(values, int(self.random() * (most + 1)))

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both possible."""
        return low + int(self.random() * (high - low + 1))

    def uuid(self) -> UUID:
        """A version 4 UUID."""
        return UUID(int=self.getrandbits(128), version=4)

    def amount_in_cents(self) -> int:
        """Money as it is spread in real books: mostly small, now and then very large."""
        low, high = self.pick(_AMOUNT_BANDS)
        exact = self.integer(low, high)
        return exact if self.chance(0.3) else exact // 10_000 * 10_000

    def worktime(self, start: datetime, end: datetime) -> datetime:
        """A moment between the two at which somebody sits at a desk, as far as that is possible."""
        day = start.toordinal() - 1 + int(self.random() * ((end - start).days + 1))
        if day % 7 > 4:
            day -= _INSTEAD_OF_WEEKEND
        seconds = 25_200 + self.random() * 43_200
        moment = _FIRST_DAY + timedelta(day, int(seconds), int(seconds * 1_000_000) % 1_000_000)
        return start if moment < start else min(moment, end)

    def appointment(self, start: datetime, end: datetime) -> datetime:
        """A quarter of an hour on a working day between 08:00 and 16:45 UTC."""
        day = (start + timedelta(days=self.integer(0, max(0, (end - start).days)))).date()
        if day.weekday() > 4:
            day -= timedelta(days=_INSTEAD_OF_WEEKEND)
        quarter = self.integer(0, 35)
        return datetime.combine(day, time(8 + quarter // 4, quarter % 4 * 15), tzinfo=UTC)

    def day(self, start: date, end: date) -> date:
        """A day between the two."""
        return start + timedelta(days=self.integer(0, (end - start).days))


_AMOUNT_BANDS = (
    *[(40_000, 500_000)] * 9,
    *[(500_000, 2_500_000)] * 7,
    *[(2_500_000, 12_000_000)] * 3,
    (12_000_000, 90_000_000),
)
