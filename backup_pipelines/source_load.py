"""How hard a backup leans on its database: connections, and bytes that are read a second."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from backup_pipelines.errors import Failed, Refused

LEAST_CONNECTIONS = 2
"""The leader must hold its session while anybody reads, and so cannot read tables itself."""

_MB = 10**6

# After a pause, such as a slow upload, so much of it may be made up for at once.
_BURST_SECONDS = 1.0


def check_connections(most: int) -> int:
    """The number; raises ValueError for one with which no backup can be taken."""
    if most < LEAST_CONNECTIONS:
        raise ValueError(
            f"{most} is too few: {LEAST_CONNECTIONS} is the least possible, one that holds the "
            "snapshot and one on which pg_dump and then a reader take turns"
        )
    return most


@dataclass(frozen=True)
class Allowance:
    """What a backup may take of its source at most."""

    connections: int | None = None
    """None is one for the leader and one for each reader."""
    bytes_per_second: float = 0.0
    """0 is as fast as it goes."""

    @classmethod
    def of(cls, connections: int | None, throttle: float) -> Self:
        """That many connections, and MB/s; raises Refused for what makes no sense."""
        if throttle < 0:
            raise Refused(
                f"throttle: {throttle:g} MB/s is less than nothing; write how much may be read a "
                "second, or 0 for as fast as it goes"
            )
        try:
            return cls(
                None if connections is None else check_connections(connections), throttle * _MB
            )
        except ValueError as error:
            raise Refused(f"max_connections: {error}") from None

    def readers(self, wanted: int) -> int:
        """How many there may be beside the leader, while pg_dump takes a reader's turn."""
        return min(wanted, self.connections - 1) if self.connections else wanted

    def readers_elsewhere(self) -> int | None:
        """How many there may be on a cluster, beside the leader and pg_dump; raises Refused."""
        if self.connections is None:
            return None
        if self.connections <= LEAST_CONNECTIONS:
            raise Refused(
                f"max_connections: {self.connections} is too few on a cluster: "
                f"{LEAST_CONNECTIONS + 1} is the least possible, one that holds the snapshot, one "
                "for pg_dump and one for a worker"
            )
        return self.connections - LEAST_CONNECTIONS


class Throttle:
    """A token bucket that all readers of one backup share; a rate of 0 holds nobody back.

    It counts the rows as they come in Arrow's form, which is about what crosses the network. Of
    what was read at any moment, no more than the rate allows was read since the beginning, but for
    what each reader has just got and waits for.
    """

    def __init__(
        self,
        rate: float = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` is in bytes a second."""
        self._rate, self._clock = rate, clock
        self._due = clock()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def passed(self, size: int) -> None:
        """Note that so many bytes were read, and wait until they were due; Failed once stopped."""
        if self._stopped.is_set():
            raise Failed("the backup has ended")
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            self._due = max(self._due, now - _BURST_SECONDS) + size / self._rate
            wait = self._due - now
        if wait > 0 and self._stopped.wait(wait):
            raise Failed("the backup has ended")

    def stop(self) -> None:
        """End the reading: who waits here, or comes by, fails at once."""
        self._stopped.set()
