"""Reports of progress: of a run's log enough lines to follow, not one for every part."""

import threading
import time
from collections.abc import Callable

Report = Callable[[str], None]
"""Takes lines about the progress of long work."""

# Every line of a run's log is a row in Dagster's database.
SECONDS_BETWEEN_LINES = 1.0


def silent(message: str) -> None:
    """Report nothing."""
    del message


def sparse(write: Report) -> Report:
    """A report function for the core that passes at most one line a second on to `write`."""
    lock = threading.Lock()
    last = float("-inf")

    def report(line: str) -> None:
        nonlocal last
        # The core's workers report from their own threads.
        with lock:
            now = time.monotonic()
            if now - last < SECONDS_BETWEEN_LINES:
                return
            last = now
        write(line)

    return report
