"""How often passwords may be tried; in memory, of a size that does not grow.

Names that exist and names that do not are counted alike, so that a lock says nothing about them.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

LOCKED_SECONDS = 900.0

# From one address; then from all: whoever tries from many must not get further.
TRIES = 10
_TRIES_IN_ALL = 100

_MOST = 10_000


@dataclass
class _Count:
    failures: int
    until: float
    """When it is forgotten."""


class Attempts:
    """The wrong passwords of the last quarter of an hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def begin(self, name: str, address: str) -> float:
        """Count a try, before it is known how it ends; how many seconds to wait, 0 to go on.

        Counted first, so that a hundred at once are not all let through.
        """
        now = self._clock()
        with self._lock:
            for key, most in _keys(name, address):
                count = self._counts.get(key)
                if count is not None and count.until > now and count.failures >= most:
                    return count.until - now
            for key, _ in _keys(name, address):
                self._add(key, now)
        return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the tries of somebody who knew the password after all."""
        with self._lock:
            for key, _ in _keys(name, address):
                self._counts.pop(key, None)

    def _add(self, key: str, now: float) -> None:
        count = self._counts.pop(key, None)
        failures = count.failures if count is not None and count.until > now else 0
        self._counts[key] = _Count(failures + 1, now + LOCKED_SECONDS)
        while len(self._counts) > _MOST:
            del self._counts[self._least_missed(now)]

    def _least_missed(self, now: float) -> str:
        """The oldest count that is over or locks nothing: a crowd of names must lift no lock."""
        spare = (k for k, c in self._counts.items() if c.until <= now or c.failures < TRIES)
        return next(spare, next(iter(self._counts)))


def _keys(name: str, address: str) -> tuple[tuple[str, int], tuple[str, int]]:
    # A digest is as long for any name, and people do type passwords as names.
    who = hashlib.sha256(name.casefold().encode("utf-8", "replace")).hexdigest()
    return (f"{who} {address}", TRIES), (who, _TRIES_IN_ALL)
