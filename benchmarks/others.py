"""How many cores others used while something was measured.

The kernel counts what all processors did; what this process, all that it waited for and the
server's processes used of it is ours. The rest was somebody else's, and slowed ours down.
"""

import resource
import time
from dataclasses import dataclass

import psutil

from benchmarks.measuring import server_cpu

# With more than this used by others seconds say little of the programs.
LIMIT = 0.5


@dataclass(frozen=True)
class Used:
    """Seconds so far: of the clock, of all processors that were busy, of ours."""

    at: float
    busy: float
    ours: float


def used(server: int) -> Used:
    """What was used until now; `server` is the process that started all others of the server."""
    ours = server_cpu(server)
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        found = resource.getrusage(who)
        ours += found.ru_utime + found.ru_stime
    return Used(time.monotonic(), _busy(), ours)


def cores(before: Used, after: Used, besides: float = 0.0) -> float:
    """The cores that others used between the two; `besides` are further CPU seconds of ours."""
    foreign = (after.busy - before.busy) - (after.ours - before.ours) - besides
    # The kernel counts by ticks, so that it can have counted less than was used.
    return max(0.0, foreign / (after.at - before.at))


def _busy() -> float:
    # What a hypervisor gave to another machine (steal) is in it. Guests count as user already.
    times = psutil.cpu_times()._asdict()
    idle = ("idle", "iowait", "guest", "guest_nice")
    return sum(seconds for name, seconds in times.items() if name not in idle)
