"""What was refused is told to the audit trail and the application's own log, in the background.

A store that does not answer must not hold up a page; and whoever asks again and again must not
fill the trail: the same refusal of the same person is told once a minute.
"""

import logging
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from backup_pipelines import environment
from backup_pipelines.access import deciding
from backup_pipelines.access.identity import Identity
from backup_pipelines.system import System
from backup_pipelines.trail import activity_log, audit, spool
from backup_pipelines.trail.audit import Happened

OPERATION = "access"

_AGAIN_SECONDS = 60.0
_MOST_WAITING = 1000
_POLL_SECONDS = 0.05

_log = logging.getLogger(__name__)


class Refusals:
    """Keeps word of refusals, by a thread of its own."""

    def __init__(self, systems: Callable[[], Mapping[str, System]]) -> None:
        self._systems = systems
        self._waiting: queue.Queue[tuple[System, Happened]] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        threading.Thread(target=self._work, name="refusals", daemon=True).start()

    def at_the_door(self, identity: Identity, sentence: str) -> None:
        """Tell each system whose roles are asked for of somebody who has none anywhere."""
        asked_for = frozenset(deciding.enforced(self._systems()))
        self.tell(identity, asked_for, "sign-in", sentence)

    def tell(self, identity: Identity, concerned: frozenset[str], what: str, sentence: str) -> None:
        """Tell the trail of each system that somebody was refused something there."""
        _log.warning("refused to %s: %s", identity.name, sentence)
        systems = self._systems()
        for name in sorted(concerned & systems.keys()):
            if not self._is_new(identity.name, name, what):
                continue
            happened = Happened(
                operation=OPERATION,
                outcome="refused",
                operator=identity.name,
                at=datetime.now(UTC),
                message=sentence,
                details={"asked": what},
            )
            try:
                self._waiting.put_nowait((systems[name], happened))
            except queue.Full:
                _log.warning("not in the audit trail of %s: too many refusals at once", name)

    def wait(self, seconds: float) -> bool:
        """Give what waits some time to be told; says whether all of it was."""
        deadline = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return not self._waiting.unfinished_tasks

    def _is_new(self, *key: str) -> bool:
        who, system, what = key
        now = time.monotonic()
        with self._lock:
            last = self._told.get((who, system, what))
            if last is not None and now - last < _AGAIN_SECONDS:
                return False
            self._told[who, system, what] = now
            self._told.move_to_end((who, system, what))
            while len(self._told) > _MOST_WAITING:
                self._told.popitem(last=False)
        return True

    def _work(self) -> None:
        while True:
            system, happened = self._waiting.get()
            try:
                _keep(system.system, happened)
                problem = ""
                if system.activity_log is not None:
                    problem = activity_log.write(system.activity_log, system.system, happened)
                if problem:
                    _log.warning("not in the activity log: %s", problem)
            except Exception as error:
                _log.warning("a refusal is not in the audit trail: %s", type(error).__name__)
            finally:
                self._waiting.task_done()


def _keep(system: str, happened: Happened) -> None:
    """Write the record to the trail, or keep it here for the next operation to write."""
    place = ""
    try:
        if _knows_store():
            store = environment.store()
            place = store.url
            spool.flush(store, system)
            audit.append(store, system, happened)
            return
    except Exception as error:
        _log.warning("the audit record waits on this machine: %s", type(error).__name__)
    spool.add(place, system, happened)


def _knows_store() -> bool:
    """Whether this process has the store's address; production gives it to the runs alone."""
    if os.environ.get(environment.BACKUP_STORE_URL):
        return True
    return (environment.home() / ".demo" / "store").is_dir()
