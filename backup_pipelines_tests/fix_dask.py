"""A real Dask cluster on loopback: a scheduler and workers, each a process of its own."""

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from backup_pipelines.cluster import BACKUP_DASK_SCHEDULER
from backup_pipelines_tests import processes

_PROJECT = Path(__file__).resolve().parent.parent
_STARTS_SECONDS = 90

VARIABLE = "SAMPLE_DATABASE_URL"
"""Where the systems of these tests say that their database is."""


@dataclass
class Dask:
    """A scheduler, its workers, and what a test does to them."""

    folder: Path
    mark: str
    address: str
    scheduler: Any
    workers: list[Any] = field(default_factory=list[Any])

    def add(self, environment: Mapping[str, str] | None = None) -> Any:
        """Start one more worker of one thread; it is not waited for."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        words = ["worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        words += ["--memory-limit", "0", "--local-directory", str(self.folder)]
        started = _start(words, self.folder, log, self.mark, environment or {})
        self.workers.append(started)
        return started

    def wait(self) -> "Dask":
        """Wait until all workers have registered."""
        with self.client() as client:
            client.wait_for_workers(len(self.workers), timeout=_STARTS_SECONDS)
        return self

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client of the test's own."""
        from distributed import Client

        with Client(self.address, timeout=_STARTS_SECONDS, set_as_default=False) as client:
            yield client

    def tell(self, function: Callable[..., Any], *args: Any) -> None:
        """Run something in each worker, such as a change of its environment."""
        with self.client() as client:
            client.run(function, *args)

    def set(self, **variables: str) -> None:
        """Change the environment of each worker; an empty value is as good as none."""
        self.tell(_put, variables)


@contextmanager
def dask_cluster(
    folder: Path, count: int, environment: Mapping[str, str] | None = None
) -> Iterator[Dask]:
    """A cluster of so many workers, which is gone after the block."""
    mark = secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / "scheduler.json", folder / "scheduler.log"
    words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
    words += ["--scheduler-file", str(file)]
    try:
        scheduler = _start(words, folder, log, mark, environment or {})
        dask = Dask(folder, mark, _address(file, log), scheduler)
        for _ in range(count):
            dask.add(environment)
        yield dask.wait()
    finally:
        for process in processes.marked(mark):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        with suppress(NameError):
            scheduler.wait(10)
            for worker in dask.workers:
                worker.wait(10)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Dask]:
    """Two workers that share this machine's folders; each test says where its database is."""
    del home
    with dask_cluster(tmp_path_factory.mktemp("dask"), 2) as started:
        yield started


@pytest.fixture
def on_dask(dask: Dask, monkeypatch: pytest.MonkeyPatch) -> Dask:
    """The cluster, named in this process's environment."""
    monkeypatch.setenv(BACKUP_DASK_SCHEDULER, dask.address)
    return dask


def _put(variables: Mapping[str, str]) -> None:
    # Not os.environ.update: with it a copy of this process's own would be sent.
    os.environ.update(variables)


def _start(
    words: list[str], folder: Path, log: Path, mark: str, environment: Mapping[str, str]
) -> Any:
    command = [str(Path(sys.executable).parent / "dask"), *words]
    paths = {"PYTHONPATH": str(_PROJECT), **environment}
    return processes.start(command, folder=folder, log=log, mark=mark, environment=paths)


def _address(file: Path, log: Path) -> str:
    import json

    until = time.monotonic() + _STARTS_SECONDS
    while time.monotonic() < until:
        with suppress(OSError, ValueError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.1)
    raise AssertionError(log.read_text())
