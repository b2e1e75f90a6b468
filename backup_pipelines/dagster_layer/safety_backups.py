"""The backup of what is about to change, its row in the catalog, and what an undo restores.

A run tells in a tag what it has committed, since neither the newest run nor the newest safety
backup need be of the last restore: a restore can fail after its safety backup, or skip it.
"""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import catalog, modules, undo
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.dagster_layer import (
    assets,
    catalog_sync,
    glance,
    lock_ops,
    metadata,
    operators,
)
from backup_pipelines.dagster_layer.config import StoreChoice
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.standby import to_read_before_writing
from backup_pipelines.progress import sparse
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.dagster_layer.config import LiveRestoreConfig
    from backup_pipelines.dagster_layer.config_csv_import import CsvImportConfig
    from backup_pipelines.dagster_layer.operations import Operation
    from backup_pipelines.restore import LiveRestored
    from backup_pipelines.restoring.taking_back import Made

RESTORED_TAG = "backup_pipelines/restored"
"""The system whose live database a run has changed."""

UNDO_TAG = "backup_pipelines/undo"
"""When that was committed, and its safety backup."""

STORE_TAG = "backup_pipelines/restored_from"
"""In which store that safety backup is, if not in the first."""

CREATED_TAG = "backup_pipelines/created"
"""What the restore created, as JSON: the undo drops it, and nothing else."""

_NONE = "none"
# A second restore finds nothing to do; an undo is meant for the first.
_NOTHING = "nothing"

# Restores are few; these are far more than are ever queued at once.
_RUNS_LOOKED_AT = 50


def taker(
    system: System,
    context: dg.OpExecutionContext,
    environment: BackupEnvironment,
    work: "Operation",
    *,
    label: str,
    reason: str,
) -> Callable[[frozenset[str]], Manifest]:
    """A function that takes the safety backup of some root tables as part of this run."""

    def take(roots: frozenset[str]) -> Manifest:
        _refuse_excluded(system, roots)
        request = BackupRequest(
            system=system,
            id=BackupId.new("safety", datetime.now(UTC)),
            type="safety",
            created_by=operators.operator_of(context.run),
            selection=frozenset(modules.entries(system)),
            label=label,
            reason=reason,
            run_id=context.run_id,
            only=roots,
        )
        entry = _take(request, context, environment, work)
        work.details["safety_backup"] = entry.id
        work.digests_before = {t.qualified: t.digest for t in entry.tables if t.digest}
        return entry

    return take


def taker_unless_skipped(
    system: System,
    context: dg.OpExecutionContext,
    environment: BackupEnvironment,
    work: "Operation",
    config: "LiveRestoreConfig | CsvImportConfig",
    *,
    label: str,
) -> Callable[[frozenset[str]], Manifest] | None:
    """`taker`, or None where the config skips the safety backup, with a warning and its reason."""
    if not config.skip_safety:
        return taker(system, context, environment, work, label=label, reason=config.reason)
    context.log.warning(f"no safety backup is taken, there will be no undo: {config.reason}")
    return None


def refuse_skipping_without_reason(config: "LiveRestoreConfig | CsvImportConfig") -> None:
    """Raise Refused where somebody wants no safety backup and does not say why."""
    if config.skip_safety and not config.reason.strip():
        raise Refused("skip_safety needs a reason: say why there is to be no safety backup")


def remember(
    context: dg.OpExecutionContext,
    environment: BackupEnvironment,
    system: str,
    done: "LiveRestored",
) -> None:
    """Keep with the run what an undo of its restore has to do."""
    safety = done.safety.id if done.safety is not None else _NONE
    by = safety if done.plan.rows or done.made or done.dropped else _NOTHING
    created = [one.to_json() for one in done.made]
    context.instance.add_run_tags(
        context.run_id,
        {
            RESTORED_TAG: system,
            UNDO_TAG: f"{datetime.now(UTC).isoformat()} {by}",
            STORE_TAG: environment.which.value,
            **({CREATED_TAG: json.dumps(created)} if created else {}),
        },
    )


def to_undo(
    context: dg.OpExecutionContext, environment: BackupEnvironment, system: str
) -> "tuple[Manifest, tuple[Made, ...]]":
    """The safety backup of the last restore of a system's live database, and what that created.

    A restore that found nothing to change does not count. Raises Refused when the last one that
    did had none, or had it in the other store, NotFound when there was no restore at all.
    """
    store = environment.store()
    filters = dg.RunsFilter(tags={RESTORED_TAG: system})
    runs = context.instance.get_runs(filters, limit=_RUNS_LOOKED_AT)
    # A re-execution has the tags of its parent and has done nothing.
    told = [
        (run.tags[UNDO_TAG], run.run_id, run.tags.get(STORE_TAG, StoreChoice.first.value))
        for run in runs
        if run.parent_run_id is None and run.tags.get(UNDO_TAG)
    ]
    if not told:
        return undo.last_safety_backup(store, system), ()
    changed = [one for one in told if not one[0].endswith(_NOTHING)]
    if not changed:
        raise Refused(f"no restore of {system} has changed a row, so there is nothing to undo")
    from backup_pipelines.restoring.taking_back import Made

    # The time of the commit comes first.
    last, run_id, where = max(changed)
    _, safety = last.split()
    if safety == _NONE:
        raise Refused(
            f"the last restore of {system} (run {run_id}) was made without a safety backup, so it "
            f"cannot be undone; `backup-pipelines list {system}` shows what can be restored"
        )
    if where != environment.which.value:
        raise Refused(
            f"the last restore of {system} (run {run_id}) used the {where} store, and its safety "
            f"backup is there: backup-pipelines undo {system} --store {where} --confirm CONFIRM"
        )
    newest = undo.last_safety_backup(store, system)
    if newest.id != safety:
        context.log.warning(
            f"{newest.id} is newer, but its restore (run {newest.run_id}) changed nothing or did "
            f"not end well; {safety} is of the last one that did"
        )
    created = next(run.tags.get(CREATED_TAG) or "[]" for run in runs if run.run_id == run_id)
    return catalog.find(store, system, safety), tuple(map(Made.of_json, json.loads(created)))


def _refuse_excluded(system: System, roots: frozenset[str]) -> None:
    excluded = modules.assign(system, roots).excluded
    if excluded:
        raise Refused(
            f"{', '.join(left.name for left in excluded)} would be restored, but the YAML of "
            f"{system.system} excludes it from backups, so there can be no safety backup of it: "
            "select other tables, or skip the safety backup"
        )


def _take(
    request: BackupRequest,
    context: dg.OpExecutionContext,
    environment: BackupEnvironment,
    work: "Operation",
) -> Manifest:
    name, backup_id = request.system.system, str(request.id)
    store, is_listed = environment.store(), environment.which is StoreChoice.first
    if is_listed:
        catalog_sync.start(context, name, backup_id)
    context.instance.add_run_tags(context.run_id, {assets.BACKUP_TAG_PREFIX + name: backup_id})
    context.log.info(f"safety backup {backup_id} of {len(request.only)} tables")
    # By this machine alone: a restore in an emergency must not wait for a cluster.
    with (
        environment.source_url(request.system) as source,
        environment.restore_url(request.system) as target,
        closing(
            take_backup(
                request,
                to_read_before_writing(source, target, name, warn=context.log.warning),
                store,
                report=sparse(context.log.info),
            )
        ) as items,
    ):
        for item in items:
            if isinstance(item, Manifest):
                if is_listed:
                    shown = metadata.of_backup(item, store)
                    glanced = glance.sealed(context, request.system, store)
                    catalog_sync.seal(context, name, item.id, {**glanced, **shown})
                    lock_ops.lock_due(context, request.system, store, work)
                return item
    raise Failed(f"the safety backup {backup_id} was not sealed")
