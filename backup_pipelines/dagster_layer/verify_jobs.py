"""The jobs that verify: one backup, or the catalog in rotation, some backups in each run."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import catalog, cluster, encryption
from backup_pipelines.dagster_layer import (
    job_names,
    labels,
    lock_ops,
    metadata,
    operations,
    operators,
)
from backup_pipelines.dagster_layer.config import BackupChoice, StoreChoice
from backup_pipelines.dagster_layer.jobs import chosen
from backup_pipelines.dagster_layer.op_jobs import configured_op_job, op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import BackupError, Damaged, Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import sparse
from backup_pipelines.scheduling import rotation
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count, size

if TYPE_CHECKING:
    from backup_pipelines.verify import VerifyResult


def verify_jobs(system: System) -> list[dg.JobDefinition]:
    """The job that verifies one backup, and the one that runs by itself."""
    name = system.system
    return [
        configured_op_job(
            system,
            job_names.verify_job(name),
            _verify_chosen,
            BackupChoice,
            of_backup=True,
        ),
        op_job(
            system,
            job_names.verify_rotation_job(name),
            _verify_due,
        ),
    ]


def _verify_chosen(
    system: System,
    context: dg.OpExecutionContext,
    config: BackupChoice,
    environment: BackupEnvironment,
) -> None:
    environment = environment.at(system, config.store)
    with operations.operation(context, system, "verify", environment) as work:
        store = environment.store()
        entry = chosen(context, store, system.system, config)
        is_listed = environment.which is StoreChoice.first
        result = _verify(context, store, entry, work, is_listed=is_listed)
    document = {
        "backup": entry.id,
        "objects": result.objects,
        "bytes": result.bytes,
        "opened": result.opened,
    }
    shown: dict[str, metadata.Value] = {
        labels.SUMMARY: f"{count(result.objects, 'object')}, {size(result.bytes)}: all as written",
        **metadata.named(entry.id),
        "objects": result.objects,
        "size_bytes": result.bytes,
        "opened": dg.MetadataValue.bool(result.opened),
    }
    metadata.leave_result(context, document, shown)
    context.log.info(f"{entry.id}: {work.message}")


def _verify_due(
    system: System, context: dg.OpExecutionContext, environment: BackupEnvironment
) -> None:
    store, now = environment.store(), datetime.now(UTC)
    # Of an earlier backup that could not be locked.
    lock_ops.lock_due(context, system, store)
    entries = catalog.listing(store, system.system).staying
    period = rotation.period_of(system.verify.schedule, now)
    due = rotation.due_for_verification(entries, system.verify.days, now, period)
    by_id = {entry.manifest.id: entry.manifest for entry in entries}
    problems: dict[str, BackupError] = {}
    for backup_id in due:
        try:
            with operations.operation(context, system, "verify", environment) as work:
                work.details["rotation"] = True
                _verify(context, store, by_id[backup_id], work)
        except BackupError as error:
            # One that is damaged, or cannot be read now, must not keep the others from their turn.
            problems[backup_id] = error
            context.log.error(str(error))
    damaged = [name for name, error in problems.items() if isinstance(error, Damaged)]
    context.add_output_metadata(
        {
            labels.SUMMARY: f"{len(due) - len(problems)} of {len(entries)} backups verified",
            "backups": len(entries),
            "backups_verified": len(due) - len(problems),
            "damaged": metadata.listed(damaged),
            "not_verified": metadata.listed(name for name in problems if name not in damaged),
        }
    )
    if problems:
        listed = "\n".join(f"- {name}: {error}" for name, error in problems.items())
        kind = Damaged if damaged else Failed
        raise kind(f"{len(problems)} of {len(due)} backups are not whole:\n{listed}")
    context.log.info(f"{len(due)} of {len(entries)} backups verified")


def _verify(
    context: dg.OpExecutionContext,
    store: Store,
    entry: Manifest,
    work: operations.Operation,
    *,
    is_listed: bool = True,
) -> "VerifyResult":
    from backup_pipelines.dagster_layer import proof
    from backup_pipelines.verify import check

    work.backup = entry.id
    operator = operators.operator_of(context.run)
    try:
        with cluster.workers() as workers:
            report = sparse(context.log.info)
            result = check(store, entry, report=report, operator=operator, workers=workers)
    except Damaged:
        # The catalog is that of the first store. Where nothing was found out, nothing is new.
        if is_listed:
            proof.tell(context, store, entry, "Verified: it is damaged")
        raise
    if is_listed:
        proof.tell(context, store, entry, "Verified: every object is as written")
    work.message = f"{result.objects} objects, {result.bytes} bytes are as written"
    for line in result.read_again:
        context.log.warning(line)
    if not result.opened:
        work.message += f"; {encryption.BYTES_ONLY}"
        work.details["opened"] = False
    return result
