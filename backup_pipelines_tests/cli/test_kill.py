"""kill -9 of the whole command: Dagster's run, partitions and pool as well as the store."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from backup_pipelines import catalog, environment
from backup_pipelines.demo.databases import Demo
from backup_pipelines.drill import run_drill
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import command, run_process
from backup_pipelines_tests.fix_backup import ignore

_SEED = 20260115
_SYSTEM = "dcim"

_ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@pytest.fixture
def own_store(store: Store, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that only this test's commands see."""
    demo.ensure_system(_SYSTEM)
    monkeypatch.setenv(BACKUP_STORE_URL, store.url)
    yield store


def killed_after(seconds: float) -> None:
    """A backup whose process is killed so long after its start."""
    with subprocess.Popen(
        command("backup", _SYSTEM), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    "kills", [pytest.param(3, id="3"), pytest.param(50, id="50", marks=pytest.mark.soak)]
)
def test_killed_commands_leave_whole_backups_and_nothing_that_hangs(
    home: Path, demo: Demo, own_store: Store, kills: int
) -> None:
    """After kills at random moments the catalog is whole, drills, and the next backup works."""
    chance = random.Random(_SEED)
    started = time.monotonic()
    assert run_process("backup", _SYSTEM).code == 0
    whole = time.monotonic() - started
    for _ in range(kills):
        killed_after(chance.uniform(0, whole))
    listed = run_process("list", _SYSTEM, "--json")
    done = run_process("backup", _SYSTEM, "--json")
    assert done.code == 0, done.err
    after = {row["id"] for row in run_process("list", _SYSTEM, "--json").document}
    assert after == {row["id"] for row in listed.document} | {done.document["id"]}
    for entry in catalog.backups(own_store, _SYSTEM):
        run_drill(own_store, entry, demo.admin_url(), report=ignore)
    with environment.dagster_environment(), dg.DagsterInstance.get() as instance:
        assert set(instance.get_dynamic_partitions(f"{_SYSTEM}_restorable")) == after
        assert {run.status for run in instance.get_runs()} <= _ENDED
