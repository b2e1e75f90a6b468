"""A Dask cluster to work on, where one machine is not enough: its scheduler is in the environment.

Tasks are plain functions of this package with what they need in their arguments; databases, stores
and keys are reached by the worker's own environment, and no secret travels.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, TypeVar

from backup_pipelines.errors import BackupError, Failed, Refused

BACKUP_DASK_SCHEDULER = "BACKUP_DASK_SCHEDULER"

Found = TypeVar("Found")

_PACKAGE = "backup_pipelines"

_CONNECT_SECONDS = 10.0
# A worker that is busy with another backup's tasks answers later; what it lacks, its tasks say.
_ANSWER_SECONDS = 30.0

# The snapshot is held all the while: a cluster that is gone must not be waited for.
_LOOK_SECONDS = 2.0
_LOST_SECONDS = 60.0

# Where nothing but the cluster sets a limit: a task for each thread, and one that waits for it.
_PER_THREAD = 2


def address() -> str:
    """The address of the scheduler; empty where work stays on this machine."""
    return os.environ.get(BACKUP_DASK_SCHEDULER, "").strip()


@contextmanager
def workers() -> Generator["Cluster | None"]:
    """The cluster of BACKUP_DASK_SCHEDULER for a block; None where it is not set.

    Raises Refused where it does not answer, has no worker, or one with another version of this
    package.
    """
    where = address()
    if not where:
        yield None
        return
    client = _client(where)
    try:
        cluster = Cluster(client, where)
        cluster.refuse_others(_PACKAGE, version(_PACKAGE))
        try:
            yield cluster
        finally:
            cluster.shutdown(wait=False, cancel_futures=True)
    finally:
        # Of a scheduler that is gone there is nobody to take leave of.
        with suppress(Exception):
            client.close(timeout=_CONNECT_SECONDS)


class Cluster(Executor):
    """Tasks on the workers of a cluster; what they raise is ours, or Failed with a sentence.

    A future that runs cannot be cancelled, as one of a thread: it ends when its task does, so
    that whoever waits for it knows that nothing is written any more.
    """

    def __init__(self, client: Any, where: str) -> None:
        self._client: Any = client
        self.address = where
        self._at_once: int | None = None
        # Not pure: the same arguments are never the same task, whose first result would do.
        self._inner: Executor = client.get_executor(pure=False)
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running: dict[Future[Any], Future[Any]] = {}
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._threads = sum(self._nthreads().values())
        watcher = threading.Thread(target=self._watch, name="dask-watcher", daemon=True)
        watcher.start()

    def submit(self, fn: Callable[..., Found], /, *args: Any, **kwargs: Any) -> "Future[Found]":
        """Give a task to the cluster; there are no keyword arguments."""
        if kwargs or self._over.is_set():
            raise RuntimeError("the cluster takes no keyword arguments, and nothing after its end")
        outer: Future[Found] = Future()
        with self._lock:
            self._waiting.append((outer, fn, args))
        self._pump()
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, and wait for those that there are unless told otherwise."""
        del cancel_futures
        if wait:
            for future in (*self._outers(), *(one[0] for one in tuple(self._waiting))):
                with suppress(BaseException):
                    future.result()
        self._over.set()
        self._give_up("the work on the cluster has ended")

    def size(self) -> tuple[int, int]:
        """How many threads it has now, and workers."""
        found = self._nthreads()
        return sum(found.values()), len(found)

    def refuse_others(self, package: str, wanted: str) -> None:
        """Raise Refused where a worker has another version of a package, or none."""
        self.refuse_unfit(_version_problem, package, wanted)

    def refuse_unfit(self, look: Callable[..., str], *args: Any) -> None:
        """Ask every worker: raises Refused with what `look` finds wrong with it, each by name."""
        asked = {
            name: self._client.submit(
                _answer, look, args, workers=[name], pure=False, allow_other_workers=False
            )
            for name in self._nthreads()
        }
        until = time.monotonic() + _ANSWER_SECONDS
        problems: list[str] = []
        for name, future in asked.items():
            try:
                said = future.result(timeout=max(0.1, until - time.monotonic()))
            except TimeoutError:
                future.cancel()
                continue
            except Exception as error:
                said = _in_words(error)
            if said:
                problems.append(f"worker {name}: {said}")
        if problems:
            raise Refused(
                f"the cluster of {BACKUP_DASK_SCHEDULER} cannot be used; what to do:\n"
                + "\n".join(f"- {problem}" for problem in problems)
            )

    def hold(self, most: int | None) -> int:
        """Have no more tasks there at a time than `most`, or than it has threads now; how many."""
        with self._lock:
            self._at_once = max(1, min(most or self._threads, self._threads, self._limit()))
            return self._at_once

    def _nthreads(self) -> Mapping[str, int]:
        found: Mapping[str, int] = self._client.nthreads()
        return found

    def _outers(self) -> list[Future[Any]]:
        with self._lock:
            return list(self._running.values())

    def _limit(self) -> int:
        return self._at_once or max(1, self._threads * _PER_THREAD)

    def _pump(self) -> None:
        """Give the cluster as many of the waiting tasks as it may have at once."""
        with self._lock:
            while self._waiting and len(self._running) < self._limit():
                outer, task, args = self._waiting.popleft()
                if not outer.set_running_or_notify_cancel():
                    continue
                try:
                    inner = self._inner.submit(_on_worker, task, args)
                except Exception as error:
                    outer.set_exception(self._explained(error))
                    continue
                self._running[inner] = outer
                # Called at once if it has ended already, which is why the lock can be taken twice.
                inner.add_done_callback(self._ended)

    def _ended(self, inner: Future[Any]) -> None:
        with self._lock:
            outer = self._running.pop(inner, None)
        if outer is not None:
            if inner.cancelled():
                outer.set_exception(self._explained(None))
            elif inner.exception() is not None:
                outer.set_exception(self._explained(inner.exception()))
            else:
                outer.set_result(inner.result())
        if not self._over.is_set():
            self._pump()

    def _explained(self, error: BaseException | None) -> BaseException:
        if error is not None and _is_ours(error):
            return error
        if error is not None and type(error).__name__ == "KilledWorker":
            return Failed(
                "several workers of the cluster ended while they had the same task: see that they "
                f"have the memory for it ({_in_words(error)})"
            )
        said = "the task was dropped" if error is None else _in_words(error)
        return Failed(
            f"the Dask scheduler at {self.address} did not finish a task ({said}): see that it and "
            "its workers are up, and start again"
        )

    def _watch(self) -> None:
        """Give up when there has been no scheduler, or no worker, for a minute."""
        seen = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS):
            found: Mapping[str, int] = {}
            with suppress(Exception):
                found = self._nthreads()
            if found:
                seen, self._threads = time.monotonic(), sum(found.values())
                self._pump()
            elif time.monotonic() - seen > _LOST_SECONDS:
                self._give_up(
                    f"the Dask cluster at {self.address} has had no worker for "
                    f"{_LOST_SECONDS:.0f} s: see that it is up, and start again"
                )
                seen = time.monotonic()

    def _give_up(self, said: str) -> None:
        with self._lock:
            running, self._running = self._running, {}
            waiting, self._waiting = self._waiting, deque()
        for inner in running:
            inner.cancel()
        for outer in running.values():
            outer.set_exception(Failed(said))
        for outer, _, _ in waiting:
            if outer.set_running_or_notify_cancel():
                outer.set_exception(Failed(said))


def _client(where: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise Refused(
            f"{BACKUP_DASK_SCHEDULER} is set, and this machine has no Dask: install "
            "backup_pipelines[dask] here, on the scheduler and on every worker"
        ) from error
    # What it has to say in its log while a scheduler goes away is told by what the tasks raise.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client: Any = Client(where, timeout=_CONNECT_SECONDS, set_as_default=False)
    except Exception as error:
        raise Refused(
            f"the Dask scheduler of {BACKUP_DASK_SCHEDULER} does not answer at {where} "
            f"({_in_words(error)}): start it, or remove the variable to work on this machine alone"
        ) from error
    if client.nthreads():
        return client
    client.close()
    raise Refused(
        f"the Dask scheduler of {BACKUP_DASK_SCHEDULER} at {where} has no worker: start some, or "
        "remove the variable to work on this machine alone"
    )


def _on_worker(task: Callable[..., Found], args: tuple[Any, ...]) -> Found:
    """Run a task; what it raises has a sentence of ours, and nothing that cannot travel."""
    try:
        return task(*args)
    except Exception as error:
        said = error
    if not _is_ours(said):
        said = Failed(f"worker {here()} failed: {_in_words(said)}")
    # Errors of drivers and of stores are not made to be sent.
    said.__cause__ = said.__context__ = None
    raise said


def _answer(look: Callable[..., str], args: tuple[Any, ...]) -> str:
    try:
        return look(*args)
    except BackupError as error:
        return str(error)


def here() -> str:
    """The name of the worker that this is, for people; empty on any other machine."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return ""


def _version_problem(package: str, wanted: str) -> str:
    found = version(package)
    return "" if found == wanted else f"it has {package} {found}; install {wanted} there, as here"


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == _PACKAGE


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
