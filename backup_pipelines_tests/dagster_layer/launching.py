"""Launches as the web server and the daemon submit them, to the run coordinator of dagster.yaml."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._core.workspace.workspace import CurrentWorkspace
from starlette.requests import Request

from backup_pipelines.access import identity
from backup_pipelines.access.identity import OPERATOR_HEADER, REQUEST, Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.dagster_layer import job_names

PEOPLE = {
    "boss": Role.ADMIN,
    "otto": Role.OPERATOR,
    "eve": Role.VIEWER,
    "stranger": Role.NOBODY,
}
"""Whom the tests know, and what each is where access is enforced."""

# What the launchpad asks for.
_CONFIRM = {"confirm": "CONFIRM"}
_CONFIGS: Mapping[str, Mapping[str, object]] = {
    "acknowledge": {"reason": "looked"},
    "csv_export": {"to": "/nowhere"},
    "csv_import": {**_CONFIRM, "source": "/nowhere"},
    "csv_plan": {"source": "/nowhere"},
    "csv_template": {"to": "/nowhere"},
    "delete": _CONFIRM,
    "history": {"key": ["1"], "table": "orders"},
    "query": {"sql": "SELECT 1"},
    "reencrypt": _CONFIRM,
    "request": {"request": "r-1"},
    "restore": {**_CONFIRM, "reason": "bad day"},
    "restore_into": {**_CONFIRM, "into_env": "NOWHERE"},
    "undo": _CONFIRM,
    "upload": {"file": "/nowhere"},
}

_REPOSITORY = "__repository__"


def config(system: str, job: str) -> dict[str, object]:
    """A run config that the launchpad takes for a job."""
    found = _CONFIGS.get(job.removeprefix(f"{system}_"))
    return {"ops": {job_names.op_of(job): {"config": dict(found)}}} if found else {}


def signed(name: str, via: identity.Via = "password", subject: str = "") -> str:
    """The header that our web server sends with what somebody asks for."""
    return identity.sign(Identity(name, via, subject), REQUEST, timedelta(minutes=1))


def write_system(defs: Path, attributes: Mapping[str, Any]) -> None:
    """Write the YAML of a system."""
    folder = defs / str(attributes["system"])
    folder.mkdir(parents=True, exist_ok=True)
    document = {"type": "backup_pipelines.PostgresBackup", "attributes": dict(attributes)}
    (folder / "defs.yaml").write_text(yaml.safe_dump(document))


@dataclass(frozen=True)
class Launches:
    """An instance whose run coordinator is ours, and the jobs to launch."""

    instance: dg.DagsterInstance
    defs: dg.Definitions

    def by_request(self, job: str, header: str | None = None, **how: Any) -> dg.DagsterRun:
        """What becomes of a launch by the web server, with or without the header of ours."""
        name = OPERATOR_HEADER.lower().encode()
        headers = [] if header is None else [(name, header.encode())]
        request = Request({"type": "http", "method": "POST", "headers": headers})
        return self._submit(self._create(job, **how), request)

    def by_daemon(self, job: str, **how: Any) -> dg.DagsterRun:
        """What becomes of a launch by the daemon, or by `dagster job launch`."""
        return self._submit(self._create(job, **how), None)

    def _create(
        self,
        job: str,
        *,
        run_config: Mapping[str, object] | None = None,
        assets: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        parent: dg.DagsterRun | None = None,
    ) -> dg.DagsterRun:
        chosen = frozenset(dg.AssetKey(asset.split("/")) for asset in assets) or None
        found = self.defs.get_repository_def().get_job(job)
        subset = found.get_subset(asset_selection=chosen) if chosen else found
        system = job.split("_", 1)[0]
        given = config(system, job) if run_config is None else run_config
        origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tests"), _REPOSITORY)
        pointer = ModuleCodePointer("backup_pipelines.definitions", "defs")
        return self.instance.create_run_for_job(
            found,
            execution_plan=create_execution_plan(InMemoryJob(subset), given),
            run_config=given,
            tags={**(parent.tags if parent else {}), **(tags or {})},
            asset_selection=chosen,
            parent_run_id=parent.run_id if parent else None,
            root_run_id=parent.run_id if parent else None,
            remote_job_origin=RemoteJobOrigin(origin, job),
            job_code_origin=JobPythonOrigin(job, RepositoryPythonOrigin(sys.executable, pointer)),
        )

    def _submit(self, run: dg.DagsterRun, source: object) -> dg.DagsterRun:
        workspace = WorkspaceRequestContext(
            instance=self.instance,
            current_workspace=CurrentWorkspace(code_location_entries={}),
            process_context=None,  # pyright: ignore[reportArgumentType]
            version=None,
            source=source,
            read_only=False,
        )
        return self.instance.submit_run(run.run_id, workspace)

    def why(self, run: dg.DagsterRun) -> str:
        """What the log of a refused run says; nothing for a queued one."""
        if run.status is dg.DagsterRunStatus.QUEUED:
            return ""
        assert run.status is dg.DagsterRunStatus.FAILURE
        found = self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        [event] = [entry.dagster_event for entry in found]
        assert event is not None
        return str(event.message)
