"""Dagster's real daemon and code server over systems of a test, on an instance of their own."""

import json
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.environment import (
    BACKUP_STORE_URL,
    DAGSTER_HOME,
    DAGSTER_POSTGRES_URL,
    for_dagster,
)
from backup_pipelines.storage.store import Store
from backup_pipelines_tests import processes
from backup_pipelines_tests.fix_postgres import Database, Server

if TYPE_CHECKING:
    import dagster as dg

_PROJECT = Path(__file__).resolve().parent.parent

_SYSTEMS = "BACKUP_PIPELINES_DAEMON_SYSTEMS"

_LOCATION = f"""
import json
import os

import dagster as dg

from backup_pipelines import PostgresBackup
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.system import System

defs = dg.Definitions.merge(
    *(
        dg.build_defs_for_component(PostgresBackup(System.model_validate(fields)))
        for fields in json.loads(os.environ[{_SYSTEMS!r}])
    ),
    dg.Definitions(
        resources={{"backup_environment": BackupEnvironment()}}, executor=dg.in_process_executor
    ),
)
"""
_LOCATION_NAME, _REPOSITORY = "backup_pipelines", "__repository__"
_WORKSPACE = f"""
load_from:
  - python_file:
      relative_path: location.py
      location_name: {_LOCATION_NAME}
"""

_WAIT_SECONDS = 150
_STOP_SECONDS = 5
_POLL_SECONDS = 0.2

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Daemon:
    """A running daemon, its instance, and the store of its systems."""

    instance: "dg.DagsterInstance"
    store: Store
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self, look: Callable[[], _Found]) -> _Found:
        """What `look` finds, as soon as it finds anything; fails after a while."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not (found := look()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"it did not happen:\n{self.log.read_text()[-6000:]}")
            time.sleep(_POLL_SECONDS)
        return found

    def runs(self, job: str) -> "list[dg.DagsterRun]":
        """All runs of a job, newest first."""
        import dagster as dg

        return list(self.instance.get_runs(dg.RunsFilter(job_name=job)))

    def finished(self, job: str) -> "dg.DagsterRun | None":
        """The newest run of a job that has ended, if there is one."""
        return next((run for run in self.runs(job) if run.is_finished), None)

    def ticks(self, name: str) -> "list[Any]":
        """All ticks of a schedule or sensor that are over, newest first."""
        from dagster._core.definitions.selector import InstigatorSelector
        from dagster._core.scheduler.instigation import TickStatus

        selector = InstigatorSelector(
            location_name=_LOCATION_NAME, repository_name=_REPOSITORY, name=name
        )
        found = self.instance.get_ticks("", selector.get_id())
        return [tick for tick in found if tick.status != TickStatus.STARTED]


StartDaemon = Callable[..., Daemon]


@pytest.fixture
def start_daemon(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StartDaemon]:
    """Starts a daemon over systems, given as the attributes of their YAML, and their variables.

    Afterwards nothing that it started survives. What has never run is due at once, and what a YAML
    leaves out has a schedule too: turn off what the test is not about (`every: never`), and name
    the sensors that shall be switched `off`.
    """
    home, mark = tmp_path / "home", secrets.token_hex(8)
    started: list[Daemon] = []

    def start(
        systems: Sequence[Mapping[str, object]],
        environment: Mapping[str, str],
        off: Sequence[str] = (),
    ) -> Daemon:
        import dagster as dg

        home.mkdir()
        shutil.copy(_PROJECT / "dagster.yaml", home)
        (home / "workspace.yaml").write_text(_WORKSPACE)
        (home / "location.py").write_text(_LOCATION)
        named = {
            **environment,
            DAGSTER_HOME: str(home),
            DAGSTER_POSTGRES_URL: for_dagster(make_database(server).owner_url),
            BACKUP_STORE_URL: store.url,
        }
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        # Made first: two processes that create the tables at once get in each other's way.
        instance = dg.DagsterInstance.from_config(str(home))
        for sensor in off:
            _switch_off(instance, sensor)
        process = processes.start(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            folder=home,
            log=home / "daemon.log",
            mark=mark,
            environment={"PYTHONPATH": str(_PROJECT), _SYSTEMS: json.dumps(list(systems))},
        )
        started.append(Daemon(instance, store, process, home / "daemon.log"))
        return started[-1]

    yield start
    for daemon in started:
        _end(daemon.process, mark)
        daemon.instance.dispose()


def _switch_off(instance: "dg.DagsterInstance", sensor: str) -> None:
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        InstigatorType,
        SensorInstigatorData,
    )

    location = RegisteredCodeLocationOrigin(_LOCATION_NAME)
    repository = RemoteRepositoryOrigin(location, _REPOSITORY)
    instance.add_instigator_state(
        InstigatorState(
            RemoteInstigatorOrigin(repository, sensor),
            InstigatorType.SENSOR,
            InstigatorStatus.STOPPED,
            SensorInstigatorData(),
        )
    )


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End the daemon, then the code server and the runs that it leaves behind."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    for survivor in processes.marked(mark):
        with suppress(psutil.Error):
            survivor.terminate()
    _, survivors = psutil.wait_procs(processes.marked(mark), timeout=_STOP_SECONDS)
    for survivor in survivors:
        with suppress(psutil.Error):
            survivor.kill()
    psutil.wait_procs(survivors, timeout=_STOP_SECONDS)
    process.wait()
