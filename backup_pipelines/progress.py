"""Reports of progress: of a run's log enough lines to follow, not one for every part."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType

from backup_pipelines.pace import NEARLY, Amount, Pace

Report = Callable[[str], None]
"""Takes lines about the progress of long work."""

Step = Callable[[int], None]
"""Takes how many rows more are done."""

# Every line of a run's log is a row in Dagster's database.
SECONDS_BETWEEN_LINES = 1.0
_AT_ONCE = 4

# A meter's next line comes when so much of the time until the last one has passed once more: about
# 60 lines in three minutes, 120 in an hour, 180 in a day.
_SHARE_BETWEEN_LINES = 0.05


def silent(message: str) -> None:
    """Report nothing."""
    del message


def uncounted(rows: int) -> None:
    """Count nothing."""
    del rows


def sparse(write: Report, clock: Callable[[], float] = time.monotonic) -> Report:
    """A report function for the core that passes one line a second on to `write`, no more.

    After a pause a few come at once: steps that take no time, and the long one behind them.
    """
    lock = threading.Lock()
    allowed, last = float(_AT_ONCE), clock()

    def report(line: str) -> None:
        nonlocal allowed, last
        # The core's workers report from their own threads.
        with lock:
            now = clock()
            allowed = min(_AT_ONCE, allowed + (now - last) / SECONDS_BETWEEN_LINES)
            last = now
            if allowed < 1:
                return
            allowed -= 1
        write(line)

    return report


class Meter:
    """Counts what is done of long work: lines for its run, each step for whoever watches.

    A context: leaving it well means that all is done. However long the work, its lines are few.
    """

    def __init__(
        self,
        title: str,
        report: Report,
        total: Amount,
        *,
        exact: bool = True,
        already: Amount | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self._report, self._clock = report, clock
        self._pace = Pace(total, clock(), exact=exact, already=already)
        self._next = SECONDS_BETWEEN_LINES
        self._lock = threading.Lock()

    @property
    def share(self) -> float | None:
        """How much is done, from 0 to 1; None where nothing is known of the whole."""
        return self._pace.share

    @property
    def done(self) -> Amount:
        """What is done."""
        return self._pace.done

    @property
    def total(self) -> Amount:
        """What there is to do, as far as it is known."""
        return self._pace.total

    def add(self, rows: int = 0, bytes: int = 0, *, what: str = "") -> None:
        """Note that so much more is done, the last of it of `what`."""
        with self._lock:
            self._pace.add(Amount(rows, bytes))
            seconds = self._pace.elapsed(self._clock())
            is_due = seconds >= self._next
            if is_due:
                gap = max(SECONDS_BETWEEN_LINES, seconds * _SHARE_BETWEEN_LINES)
                self._next = seconds + gap
        if is_due:
            self._report(f"{self.in_words()} ({what})" if what else self.in_words())

    def expect(self, rows: int = 0, bytes: int = 0) -> None:
        """Note that there is so much more to do than was thought."""
        with self._lock:
            self._pace.expect(Amount(rows, bytes))

    def in_words(self) -> str:
        """How far it is: `verifying: 42 %, about 3 min left, 4.1 MB of 9.0 MB`."""
        return f"{self.title}: {self._pace.in_words(self._clock())}".removesuffix(": ")

    def __enter__(self) -> "Meter":
        for watcher in tuple(_watchers):
            watcher(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._pace.finish()
            if self.done != Amount():
                self._report(self.in_words())
        for watcher in tuple(_watchers):
            watcher(None)


class Tally:
    """What one table adds to a meter, batch by batch, and in the end all that was estimated of it.

    Its pieces are of about the same size, and any number of them is read at once.
    """

    def __init__(self, meter: Meter, what: str, expected: Amount) -> None:
        self._meter, self._what, self._expected = meter, what, expected
        self._told_rows = 0
        self._lock = threading.Lock()
        self.begin(1)

    def begin(self, pieces: int) -> None:
        """Note of how many pieces it is, none of which has been read."""
        self._pieces, self._ended = max(1, pieces), 0
        self._rows = self._told_bytes = 0
        self._running: dict[int, Amount] = {}

    def again(self) -> None:
        """Note that all of it is read once more; it has no more rows for that."""
        self._meter.expect(bytes=self._expected.bytes)

    def passed(self, piece: int, rows: int, size: int) -> None:
        """Note a batch of a piece: its rows, and its bytes as they came."""
        with self._lock:
            self._running[piece] = self._running.get(piece, Amount()) + Amount(rows, size)
            more = self._more()
        self._tell(more)

    def ended(self, piece: int, rows: int | None = None) -> None:
        """Note the end of a piece, which had so many rows if that is known."""
        with self._lock:
            read = self._running.pop(piece, Amount()).rows
            self._rows += read if rows is None else rows
            self._ended += 1
            more = self._more()
        self._tell(more)

    def _more(self) -> Amount:
        """What the meter has not been told of."""
        rows = self._rows + sum(one.rows for one in self._running.values())
        done = self._ended + sum(self._share(one) for one in self._running.values())
        size = int(self._expected.bytes * done / self._pieces)
        more = Amount(max(0, rows - self._told_rows), max(0, size - self._told_bytes))
        self._told_rows += more.rows
        self._told_bytes += more.bytes
        return more

    def _share(self, one: Amount) -> float:
        """How far a piece is: by rows if PostgreSQL has an estimate of them, else by bytes."""
        done, whole = one.rows, self._expected.rows
        if not whole:
            done, whole = one.bytes, self._expected.bytes
        return min(NEARLY, done * self._pieces / whole) if whole else 0.0

    def _tell(self, more: Amount) -> None:
        self._meter.add(more.rows, more.bytes, what=self._what)


Watcher = Callable[[Meter | None], None]
"""Is given the meter of the work that begins, and None when it ends."""

_watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Generator[None]:
    """Show `watcher` all work of this process in the block.

    A run's log could not carry that: it has a line now and then, and a terminal looks ten times a
    second.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
