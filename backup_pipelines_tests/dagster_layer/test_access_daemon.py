"""Roles with the real daemon: what it launches, what a command on its machine may not."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_pipelines import catalog
from backup_pipelines.access.identity import BACKUP_ACCESS_KEY
from backup_pipelines.dagster_layer import operators, run_operations
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.project import BACKUP_PROJECT
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.launching import config, write_system
from backup_pipelines_tests.fix_daemon import Daemon, StartDaemon
from backup_pipelines_tests.fix_postgres import Database, Server

_NEVER = {"schedule": {"every": "never"}}
_TINY: dict[str, Any] = {
    "system": "tiny",
    "database_url_env": "TINY_DATABASE_URL",
    "modules": {"all": {"tables": ["notes"]}},
    "drill": _NEVER,
    "reconcile": _NEVER,
    "verify": _NEVER,
    "access": "enforced",
    "admins": ["boss"],
}
_BY_NOBODY = "no schedule and no sensor may do a restore: a person must"
_UNSIGNED = (
    "access to tiny is enforced, and nobody has signed for this restore: sign in and start it again"
)


@pytest.fixture
def daemon(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    start_daemon: StartDaemon,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Daemon:
    """A daemon over a system whose access is enforced, and whose first backup is due."""
    database = make_database(server)
    database.run("CREATE TABLE notes (id int PRIMARY KEY); INSERT INTO notes VALUES (1), (2)")
    project = tmp_path / "project"
    write_system(project / "office" / "defs", _TINY)
    (project / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "office"\n')
    monkeypatch.setenv(BACKUP_PROJECT, str(project))
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    return start_daemon([_TINY], {"TINY_DATABASE_URL": database.owner_url})


def _dagster(daemon: Daemon, *command: str) -> None:
    """Run a command of Dagster on the daemon's machine, with all that it has."""
    subprocess.run(
        [sys.executable, "-m", "dagster", "job", *command],
        cwd=daemon.log.parent,
        env={**os.environ, "BACKUP_PIPELINES_DAEMON_SYSTEMS": json.dumps([_TINY])},
        capture_output=True,
    )


@pytest.mark.timeout(1200)
def test_the_daemon_backs_up_and_nothing_on_its_machine_restores(
    daemon: Daemon, store: Store, tmp_path: Path
) -> None:
    """The backup that is due and the prune after it are signed for; restores end as refused."""
    for job in ("tiny_backup", "tiny_prune"):
        run = daemon.wait(lambda job=job: daemon.finished(job))
        assert run is not None and run.is_success
        assert operators.identity_of(run) is not None
    [entry] = catalog.backups(store, "tiny")
    assert (entry.created_by, entry.type) == ("schedule", "scheduled")

    said = json.dumps(config("tiny", "tiny_restore"))
    _dagster(daemon, "launch", "-w", "workspace.yaml", "-j", "tiny_restore", "--config-json", said)
    [launched] = daemon.runs("tiny_restore")
    assert launched.status is dg.DagsterRunStatus.FAILURE
    assert run_operations.is_refused(launched)

    given = tmp_path / "config.yaml"
    given.write_text(said)
    _dagster(daemon, "execute", "-f", "location.py", "-j", "tiny_restore", "-c", str(given))
    executed = next(r for r in daemon.runs("tiny_restore") if r.run_id != launched.run_id)
    assert executed.status is dg.DagsterRunStatus.FAILURE

    def refused() -> dict[str, tuple[str, str, str]]:
        found = [r for r in audit.records(store, "tiny") if r.outcome == "refused"]
        return {r.run_id: (r.operation, r.operator, r.message) for r in found}

    # The daemon's own look at the health leaves word of what never ran.
    daemon.wait(lambda: len(refused()) == 2)
    assert refused() == {
        launched.run_id: ("restore", "schedule", _BY_NOBODY),
        executed.run_id: ("restore", "unknown (nobody has signed)", _UNSIGNED),
    }
