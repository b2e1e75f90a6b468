"""Runs in the process of the command line: their outcome, their place in the queue, their end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from backup_pipelines import environment
from backup_pipelines.dagster_layer import in_process, launch
from backup_pipelines.demo.databases import Demo
from backup_pipelines.errors import Refused

JOB = "crm_backup"
LEADS = [["crm", "public", "lead_sources"]]

# A backup that waits for a file before its first table, and is found by what it prints.
CHILD = """
import json, pathlib, sys, time
from dagster import AssetKey
from backup_pipelines import backup
from backup_pipelines.dagster_layer import launch
real, gate = backup.take_backup, pathlib.Path(sys.argv[1])
def slow(*args, **kwargs):
    print("in the op", flush=True)
    while not gate.exists():
        time.sleep(0.05)
    yield from real(*args, **kwargs)
backup.take_backup = slow
outcome = launch.run_job(
    "crm_backup",
    asset_selection=[AssetKey(["crm", "public", "lead_sources"])],
    on_event=lambda line: print(line, flush=True),
)
print(json.dumps([outcome.run_id, outcome.success, outcome.message, outcome.exit_code]))
"""


@pytest.fixture(autouse=True)
def dagster_home(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo's databases, Dagster's among them, and a store of the test's own."""
    demo.ensure_system("crm")
    monkeypatch.setenv("BACKUP_STORE_URL", (tmp_path / "store").as_uri())
    with environment.dagster_environment():
        yield


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """The instance that the runs are in."""
    with dg.DagsterInstance.get() as found:
        yield found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts children that wait in their op for the file `gate`; ends those that are left."""
    children: list[subprocess.Popen[str]] = []

    def start_one() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "gate")],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
            # Under a shell's & the test itself may ignore SIGINT, and its children would as well.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        children.append(child)
        return child

    yield start_one
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def until(child: subprocess.Popen[str], words: str) -> str:
    """The first line of a child's output that has these words."""
    assert child.stdout is not None
    for line in child.stdout:
        if words in line:
            return line
    raise AssertionError(f"the child ended without {words!r}")


def last(child: subprocess.Popen[str]) -> list[object]:
    """What a child says of its outcome: run, success, message, exit code."""
    return json.loads(until(child, "["))


def back_up() -> launch.RunOutcome:
    """A small backup in this process."""
    return launch.run_job(JOB, asset_selection=[dg.AssetKey(path) for path in LEADS])


def test_run_is_in_the_instance(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    """The UI has it under the job of the code location; nothing is printed."""
    lines: list[str] = []
    outcome = launch.run_job(
        JOB,
        run_config=launch.op_config(JOB, label="mine"),
        tags={"backup_pipelines/operator": "ann"},
        asset_selection=[dg.AssetKey(path) for path in LEADS],
        on_event=lines.append,
    )
    assert (outcome.success, outcome.exit_code, outcome.message) == (True, 0, "")
    backup_id = outcome.tags["backup_pipelines/backup_of_crm"]
    assert any(backup_id in line for line in lines)
    assert capfd.readouterr() == ("", "")
    run = instance.get_run_by_id(outcome.run_id)
    assert run is not None
    assert run.job_name == JOB
    origin = run.remote_job_origin
    assert origin is not None
    assert origin.location_name == "backup_pipelines"
    assert origin.repository_origin.repository_name == "__repository__"
    assert run.tags["backup_pipelines/operator"] == "ann"
    assert not instance.event_log_storage.get_concurrency_info("crm").claimed_slots


def test_refusal_has_exit_code_2() -> None:
    """The message is the core's own."""
    outcome = launch.run_job(
        "crm_verify", run_config=launch.op_config("crm_verify", backup="nonsense")
    )
    assert (outcome.success, outcome.exit_code) == (False, 2)
    assert outcome.message.startswith("'nonsense' is not a backup id")


def test_wrong_config_is_refused_without_a_run(instance: dg.DagsterInstance) -> None:
    """Dagster's own check of the config is a refusal as well."""
    before = instance.get_runs_count()
    with pytest.raises(Refused, match="confirm"):
        launch.run_job(
            "crm_restore_into", run_config=launch.op_config("crm_restore_into", into_env="X")
        )
    assert instance.get_runs_count() == before


def test_second_run_waits(
    start: Callable[[], subprocess.Popen[str]], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """It says for which run, and then does its work."""
    first = start()
    until(first, "in the op")
    second = start()
    assert JOB in until(second, "waiting for run")
    (tmp_path / "gate").touch()
    assert last(first)[1:] == [True, "", 0]
    assert last(second)[1:] == [True, "", 0]
    assert not instance.event_log_storage.get_concurrency_info("crm").claimed_slots


def test_killed_run_is_failed_by_the_next(
    start: Callable[[], subprocess.Popen[str]], instance: dg.DagsterInstance
) -> None:
    """A killed process can mark nothing; the next one does, and takes its place."""
    child = start()
    until(child, "in the op")
    child.kill()
    child.wait()
    [dead] = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    assert back_up().success
    run = instance.get_run_by_id(dead.run_id)
    assert run is not None
    assert run.is_failure


def test_running_process_is_not_taken_for_dead(
    start: Callable[[], subprocess.Popen[str]], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """Nor is a run whose tag was copied from another by a re-execution."""
    child = start()
    until(child, "in the op")
    assert in_process.fail_dead_runs(instance) == []
    (tmp_path / "gate").touch()
    assert last(child)[1:] == [True, "", 0]


def test_interrupt_ends_the_run(
    start: Callable[[], subprocess.Popen[str]], instance: dg.DagsterInstance
) -> None:
    """Ctrl-C leaves a failed run and a free pool."""
    child = start()
    until(child, "in the op")
    child.send_signal(signal.SIGINT)
    run_id, success, message, exit_code = last(child)
    assert (success, message, exit_code) == (False, "the run was interrupted", 1)
    run = instance.get_run_by_id(str(run_id))
    assert run is not None
    assert run.is_failure
    assert not instance.event_log_storage.get_concurrency_info("crm").claimed_slots


def test_cancel_in_the_ui_reaches_the_process(
    start: Callable[[], subprocess.Popen[str]], instance: dg.DagsterInstance
) -> None:
    """The UI can only mark such a run as canceled; its process notices."""
    child = start()
    until(child, "in the op")
    [run] = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    instance.report_run_canceled(run)
    assert last(child) == [run.run_id, False, "the run was canceled in the UI", 1]


def test_place_of_a_deleted_run_is_freed(instance: dg.DagsterInstance) -> None:
    """Somebody can delete a run in the UI while it holds the pool."""
    assert back_up().success
    storage = instance.event_log_storage
    assert storage.claim_concurrency_slot("crm", "no-such-run", "step").is_claimed
    assert back_up().success


def test_process_tag_names_its_run(instance: dg.DagsterInstance) -> None:
    """A re-execution copies the tag of a run whose process is long gone."""
    copied = f"another-run {os.uname().nodename} 1 0"
    run = instance.create_run_for_job(
        dg.define_asset_job("nothing").resolve(asset_graph=dg.Definitions().resolve_asset_graph()),
        tags={in_process.PROCESS_TAG: copied},
    )
    assert run.run_id not in in_process.fail_dead_runs(instance)
    instance.delete_run(run.run_id)
