"""How far long work is and how long it may still take: the arithmetic of progress, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from backup_pipelines.wording import how_long, size

# Of less than this nobody can tell how fast the rest will go.
_LEAST_SECONDS = 3.0
_LEAST_SHARE = 0.01
_LEAST_STEPS = 4

NEARLY = 0.99
"""How far work is that is larger than was estimated, until it says that it is done."""


@dataclass(frozen=True)
class Amount:
    """Rows and bytes; 0 of a total is not known."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.rows + other.rows, self.bytes + other.bytes)


class Pace:
    """One piece of work: what is done of what there is to do, and since when.

    Bytes say how far it is wherever they are known, since rows are of any size. `already` is what
    an interrupted one had left, which says nothing of the speed.
    """

    def __init__(
        self, total: Amount, now: float, *, exact: bool = True, already: Amount | None = None
    ) -> None:
        self.total = total
        self.done = already or Amount()
        self.exact = exact
        self._began = now
        self._steps = 0
        self._finished = False
        self._share = self._begun_at = self._of_total()

    def add(self, amount: Amount) -> None:
        """Note that so much more is done."""
        self.done += amount
        self._steps += 1
        self._share = max(self._share, self._of_total())

    def expect(self, more: Amount) -> None:
        """Note that there is so much more to do than was thought."""
        self.total += more

    def finish(self) -> None:
        """Note that all is done."""
        self._finished = True

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None where nothing is known of the whole."""
        if self._finished:
            return 1.0
        return self._share if self.total.bytes or self.total.rows else None

    def elapsed(self, now: float) -> float:
        """Seconds since it began."""
        return max(0.0, now - self._began)

    def seconds_left(self, now: float) -> float | None:
        """The seconds that it may still take; None as long as nobody can honestly say."""
        seconds, gained = self.elapsed(now), self._share - self._begun_at
        if self._finished or seconds < _LEAST_SECONDS or self._steps < _LEAST_STEPS:
            return None
        if gained < _LEAST_SHARE or (not self.exact and self._share >= NEARLY):
            return None
        # By the time now: of what stands still the rest takes ever longer.
        return seconds * (1 - self._share) / gained

    def in_words(self, now: float) -> str:
        """`42 %, about 3 min left, 1,200 of about 3,000 rows, 4.1 MB of about 9.0 MB`."""
        share, left = self.share, self.seconds_left(now)
        return ", ".join(
            text
            for text in (
                "" if share is None else f"{int(100 * share)} %",
                "" if left is None else f"about {how_long(left)} left",
                self._so_far(self.done.rows, self.total.rows, "{:,}".format, " rows"),
                self._so_far(self.done.bytes, self.total.bytes, size, ""),
            )
            if text
        )

    def _of_total(self) -> float:
        done, total = self.done.bytes, self.total.bytes
        if not total:
            done, total = self.done.rows, self.total.rows
        most = 1.0 if self.exact else NEARLY
        return min(most, done / total) if total else 0.0

    def _so_far(self, done: int, total: int, shown: Callable[[int], str], unit: str) -> str:
        if not done and not total:
            return ""
        # Past an estimate, it is worth nothing any more.
        if self._finished or done >= total:
            return f"{shown(done)}{unit}"
        about = "" if self.exact else "about "
        return f"{shown(done)} of {about}{shown(total)}{unit}"
