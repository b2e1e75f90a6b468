"""The run coordinator that asks who launches a run, and refuses what the role does not allow.

Every launch of the UI, the daemon and `dagster job launch` comes through here; only what is allowed
is queued, signed for that one run, so that its ops can believe who it was (gate.py).
"""

import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Literal

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.storage.tags import BACKFILL_ID_TAG, MAX_RETRIES_TAG
from dagster._core.workspace.context import WorkspaceRequestContext

from backup_pipelines import systems
from backup_pipelines.access import deciding, identity
from backup_pipelines.access.identity import OPERATOR_HEADER, REQUEST, Identity
from backup_pipelines.access.roles import AUTOMATIC
from backup_pipelines.dagster_layer import operators, run_operations, run_tags
from backup_pipelines.errors import BackupError, Refused

_log = logging.getLogger(__name__)

_SAYS_WHO = (operators.OPERATOR_TAG, operators.IDENTITY_TAG)

_Asked = Collection[tuple[str, str]]
"""What a run would do: systems, each with an operation."""

_Access = Literal["open", "enforced", "unknown"]

# https://docs.dagster.io/deployment/oss/deployment-options/kubernetes/customizing-your-deployment
# What launchers note on a run themselves (ecs/task_arn) is copied to its re-executions.
_PLACES = (
    *("dagster-k8s/", "dagster-celery/", "ecs/container_overrides", "ecs/task_overrides"),
    *("ecs/run_task_kwargs", "ecs/cpu", "ecs/memory", "ecs/ephemeral_storage"),
)


class AccessRunCoordinator(QueuedRunCoordinator[dg.DagsterInstance]):
    """Dagster's queue, behind the roles of each system's YAML; it takes the same settings."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Queue a run that is allowed; any other is shown as failed, with the reason."""
        run = context.dagster_run
        if run.status is not dg.DagsterRunStatus.NOT_STARTED:
            return super().submit_run(context)
        asked: _Asked = ()
        who: Identity | None = None
        try:
            claimed = run_tags.claimed(run)
            if claimed:
                self._instance.add_run_tags(run.run_id, claimed)
            asked = self._asked(run)
            # Where it is none of ours, it is somebody else's code.
            if asked:
                who = self._asking(context)
                found: set[_Access] = {_judged(name, operation, who) for name, operation in asked}
                if found != {"open"}:
                    self._refuse_foreign_place(run)
                tags = _signed(run, who, found, asked)
                if tags:
                    self._instance.add_run_tags(run.run_id, tags)
        # In doubt it is not queued; raised, it would be a bare error 500 in the browser.
        except BackupError as error:
            return self._refuse(run, who, asked, str(error))
        except Exception as error:
            _log.exception("run %s of %s cannot be judged", run.run_id, run.job_name)
            said = f"who may do this cannot be told ({type(error).__name__}); see the log of "
            return self._refuse(run, who, asked, said + "the process that launched it")
        return super().submit_run(context)

    def _asked(self, run: dg.DagsterRun) -> _Asked:
        """What the run would do with our systems, by its plan."""
        plan = run.execution_plan_snapshot_id
        steps = (
            self._instance.get_execution_plan_snapshot(plan).step_keys_to_execute if plan else ()
        )
        return [
            (name, operation)
            for name in systems.known_names()
            for operation in run_operations.asked(run.job_name, steps, name)
        ]

    def _refuse_foreign_place(self, run: dg.DagsterRun) -> None:
        """Raise Refused for a tag that tells a launcher where and as what to run.

        Launchers of pods take image, environment and volumes from there; what the job itself says
        is ours.
        """
        found = [tag for tag in run.tags if tag.startswith(_PLACES)]
        snapshot = run.job_snapshot_id if found else None
        own = self._instance.get_job_snapshot(snapshot).tags if snapshot else {}
        sent = [tag for tag in found if run.tags[tag] != own.get(tag)]
        if sent:
            raise Refused(
                f"the tag {sent[0]} would choose where this runs, and access is enforced: leave it "
                "out, and have it in the job or in dagster.yaml"
            )

    def _asking(self, context: SubmitRunContext) -> Identity | None:
        """Who launches a run; None for somebody that has not signed in.

        Raises Refused for a header that our web server has not signed.
        """
        workspace = context.workspace
        if not isinstance(workspace, WorkspaceRequestContext):
            return None
        if workspace.source is None:
            # No request of a browser: the daemon, or a command on the machine.
            return self._of_daemon(context.dagster_run)
        signature = context.get_request_header(OPERATOR_HEADER)
        return identity.read(signature, REQUEST) if signature else None

    def _of_daemon(self, run: dg.DagsterRun) -> Identity | None:
        """The schedule; but nobody for what the daemon does because somebody has asked for it.

        A backfill is begun by a request that does not come through here, and a retry by a tag that
        anybody can send: neither may turn a person into the schedule.
        """
        if BACKFILL_ID_TAG in run.tags:
            return None
        schedule = identity.of_schedule()
        if run.parent_run_id is None:
            return schedule
        parent = self._instance.get_run_by_id(run.parent_run_id)
        with suppress(Refused):
            if parent is not None and operators.identity_of(parent) == schedule:
                return schedule
        return None

    def _refuse(
        self, run: dg.DagsterRun, who: Identity | None, asked: _Asked, said: str
    ) -> dg.DagsterRun:
        """Fail the run; the next look at the health finds it, and leaves word of it."""
        # Tags cannot be removed.
        tags = dict.fromkeys((tag for tag in _SAYS_WHO if tag in run.tags), "")
        # Anybody can send this tag, and the daemon would try the run again.
        tags |= {MAX_RETRIES_TAG: "0"} if MAX_RETRIES_TAG in run.tags else {}
        tags[run_operations.REFUSED_TAG] = run_operations.refused_tag(run.run_id, asked)
        try:
            signed = operators.stamp(who, run.run_id) if who and identity.has_key() else {}
            self._instance.add_run_tags(run.run_id, {**tags, **signed})
        except Exception:
            _log.exception("run %s is refused, and not marked so", run.run_id)
        self._instance.report_run_failed(run, said)
        return self._instance.get_run_by_id(run.run_id) or run


def _signed(
    run: dg.DagsterRun, who: Identity | None, found: Collection[_Access], asked: _Asked
) -> Mapping[str, str]:
    """The tags that sign for a run which somebody may launch."""
    if who is None or (who.via == "schedule" and not _needs_signature(found, asked)):
        return {}
    return operators.stamp(who, run.run_id)


def _needs_signature(found: Collection[_Access], asked: _Asked) -> bool:
    """Whether a run of the schedule must be signed for."""
    if all(operation == "health" for _, operation in asked):
        # It tells people, of a missing key as well.
        return False
    return "enforced" in found or ("unknown" in found and identity.has_key())


def _judged(name: str, operation: str, who: Identity | None) -> _Access:
    """How access to a system is; raises Refused unless somebody may do the operation."""
    is_automatic = who is not None and who.via == "schedule" and operation in AUTOMATIC
    try:
        system = systems.load_system(name)
    except Refused:
        if not is_automatic:
            raise
        # A half-written YAML must cost no backup: the op asks once more, by the one it was made of.
        return "unknown"
    deciding.require(system, operation, who)
    return system.access
