"""Running a job in this process, as the command line does, with its run in the instance and the UI.

Call it inside `environment.dagster_environment()`. The pool of the system is taken before the run
starts: Dagster's in-process executor would wait for it in a busy loop that ignores Ctrl-C.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.errors import DagsterInvalidConfigError
from dagster._core.execution.api import create_execution_plan, execute_run_iterator
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.workspace.autodiscovery import loadable_targets_from_python_module

from backup_pipelines.access.identity import Identity
from backup_pipelines.dagster_layer import in_process, job_names, metadata, operators
from backup_pipelines.dagster_layer.instance import instance_of_home
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.project import project

Listener = Callable[[str], None]

_POLL_SECONDS = 1.0
_CANCEL_POLL_SECONDS = 3.0

# Dagster's own words for a run that a signal ended.
_FAILURE_REASON_TAG = "dagster/failure_reason"
_INTERRUPTED = "UNEXPECTED_TERMINATION"

# Dagster prints every event; the command line has its own progress, and stdout is for its result.
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended; `exit_code` is that of the command line."""

    run_id: str
    success: bool
    message: str
    exit_code: int
    tags: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    """What the op left under metadata.RESULT."""


def op_config(job_name: str, **values: object) -> Mapping[str, object]:
    """The run config that gives a job's one op these values."""
    return {"ops": {job_names.op_of(job_name): {"config": values}}}


def run_job(
    job_name: str,
    *,
    run_config: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    asset_selection: Sequence[dg.AssetKey] | None = None,
    on_event: Listener | None = None,
    identity: Identity | None = None,
) -> RunOutcome:
    """Run a job of this code location here and wait for its end; lines of its log go to `on_event`.

    Raises Refused when the config does not fit the job. Ctrl-C ends the run as failed and gives
    its outcome; while it still waits for another run, it is a KeyboardInterrupt as anywhere.
    An `identity` is signed for on the run; Refused where there is no key for that.
    """
    tell = on_event or _nobody
    with instance_of_home() as instance:
        launch = _Launch(instance, job_name, run_config or {}, asset_selection)
        in_process.fail_dead_runs(instance)
        while True:
            in_process.wait_for_pools(instance, launch.pools, tell, _POLL_SECONDS)
            run = launch.create(tags or {}, identity)
            try:
                if in_process.claim(instance, run.run_id, launch.slots):
                    return launch.execute(run, tell)
                # Somebody was faster: leave no trace, wait again.
                instance.delete_run(run.run_id)
            finally:
                in_process.end(instance, run.run_id)
                in_process.release(instance, run.run_id)


class _Launch:
    """One request to run one job."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        job_name: str,
        run_config: Mapping[str, object],
        asset_selection: Sequence[dg.AssetKey] | None,
    ) -> None:
        self._instance = instance
        self._run_config = {**run_config, "loggers": _QUIET}
        self._assets = frozenset(asset_selection) if asset_selection else None
        self._job = _repository().get_reconstructable_job(job_name)
        self._plan = _plan(self._job, self._run_config, self._assets)
        steps = self._plan.get_steps_to_execute_in_topo_order()
        self.slots = [(step.pool, step.key) for step in steps if step.pool]
        self.pools = sorted({pool for pool, _ in self.slots})

    def create(self, tags: Mapping[str, str], identity: Identity | None) -> dg.DagsterRun:
        """A run of the job that the UI shows under the job's page of this code location."""
        run_id = str(uuid4())
        signed = operators.stamp(identity, run_id) if identity else {}
        job = self._job.get_definition()
        location = RegisteredCodeLocationOrigin(project().location)
        origin = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)
        return self._instance.create_run_for_job(
            job,
            execution_plan=self._plan,
            run_id=run_id,
            run_config=self._run_config,
            tags={**job.run_tags, **tags, **signed, **in_process.tags(run_id)},
            asset_selection=self._assets,
            remote_job_origin=RemoteJobOrigin(origin, job.name),
            job_code_origin=self._job.get_python_origin(),
        )

    def execute(self, run: dg.DagsterRun, tell: Listener) -> RunOutcome:
        """Execute the run to its end, whatever happens."""
        instance, failure = self._instance, ("", 1)
        result: Mapping[str, Any] = {}

        def listen(entry: dg.EventLogEntry) -> None:
            if not entry.is_dagster_event:
                tell(entry.user_message)

        instance.add_event_listener(run.run_id, listen)
        with _interrupted_when_canceled(instance, run.run_id):
            for event in execute_run_iterator(self._job, run, instance):
                failure = _failure(event) or failure
                result = _result(event) or result
        ended = instance.get_run_by_id(run.run_id) or run
        if ended.is_success:
            return RunOutcome(run.run_id, True, "", 0, ended.tags, result)
        message, exit_code = failure
        if ended.status == dg.DagsterRunStatus.CANCELED:
            message = "the run was canceled in the UI"
        elif ended.tags.get(_FAILURE_REASON_TAG) == _INTERRUPTED:
            message = "the run was interrupted"
        message = message or f"the run ended as {ended.status.value}"
        return RunOutcome(run.run_id, False, message, exit_code, ended.tags)


def _plan(
    job: ReconstructableJob, run_config: Mapping[str, object], assets: frozenset[dg.AssetKey] | None
) -> ExecutionPlan:
    try:
        chosen = job.get_subset(asset_selection=assets) if assets else job
        return create_execution_plan(chosen, run_config)
    except DagsterInvalidConfigError as error:
        problems = "\n".join(problem.message for problem in error.errors)
        raise Refused(
            f"the configuration does not fit the job {job.job_name}: {problems}"
        ) from error


def _failure(event: dg.DagsterEvent) -> tuple[str, int] | None:
    """The message and exit code of an event that tells a failure."""
    if event.is_step_failure:
        data = event.step_failure_data
        said = data.user_failure_data
        if said is not None and said.description:
            code = said.metadata.get(metadata.EXIT_CODE)
            value = code.value if code is not None else BackupError.exit_code
            return said.description, int(str(value))
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause
        return (error.message.strip() if error else event.message or ""), 1
    return None


def _result(event: dg.DagsterEvent) -> Mapping[str, Any] | None:
    """The JSON document in the metadata of an op's output."""
    if not event.is_successful_output:
        return None
    found = event.step_output_data.metadata.get(metadata.RESULT)
    if isinstance(found, dg.JsonMetadataValue) and isinstance(found.data, Mapping):
        return found.data
    return None


def _nobody(line: str) -> None:
    del line


@contextmanager
def _interrupted_when_canceled(
    instance: dg.DagsterInstance, run_id: str
) -> Generator[None, None, None]:
    """Interrupt this process when somebody ends its run in the UI, which has no way to reach it."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_CANCEL_POLL_SECONDS):
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished or run.status == dg.DagsterRunStatus.CANCELING:
                if not done.is_set():
                    os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, name="canceled?", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _repository() -> ReconstructableRepository:
    chosen = project()
    # Other projects may call their definitions anything; Dagster wants one of them in a module.
    found = loadable_targets_from_python_module(chosen.definitions, chosen.working_directory)
    return ReconstructableRepository.for_module(
        chosen.definitions, found[0].attribute, chosen.working_directory
    )
