"""Who is connected while something runs: the sessions of a server, looked at again and again."""

import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

_LOOK_SECONDS = 0.004

# The server lists a session for some milliseconds after its client has gone. So one that is newer
# than this does not count yet: by then those that went before it came are not listed any more.
_ENDING_SECONDS = 0.05

_SESSIONS = (
    "SELECT pid, application_name FROM pg_catalog.pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()"
    " AND usename LIKE %s"
)


@dataclass
class Seen:
    """What was seen of the sessions of some roles."""

    names: Counter[str] = field(default_factory=Counter[str])
    """How many sessions had each name."""
    most: int = 0
    """How many there were at once."""


@contextmanager
def watching(admin_url: str, roles: str) -> Generator[Seen]:
    """Look at the sessions of the roles that are LIKE this for the time of the block."""
    seen, over = Seen(), threading.Event()
    with psycopg.connect(admin_url, autocommit=True) as connection:

        def look() -> None:
            since: dict[int, float] = {}
            names: dict[int, str] = {}
            while not over.wait(_LOOK_SECONDS):
                now = time.monotonic()
                there = dict(connection.execute(_SESSIONS, [roles]).fetchall())
                names |= there
                since = {pid: since.get(pid, now) for pid in there}
                old = sum(now - begun > _ENDING_SECONDS for begun in since.values())
                seen.most = max(seen.most, old)
            seen.names.update(names.values())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()
