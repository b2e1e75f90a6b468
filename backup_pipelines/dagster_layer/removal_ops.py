"""What the ops of the prune and delete jobs do: refuse, call the core, make the catalog agree."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines.dagster_layer import (
    catalog_sync,
    labels,
    metadata,
    operations,
    operators,
    partitions,
)
from backup_pipelines.dagster_layer.config import DeleteConfig, NamedBackup, PruneConfig
from backup_pipelines.dagster_layer.jobs import refuse_reexecution, refuse_two_names
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count, moment, size

if TYPE_CHECKING:
    from backup_pipelines.retention.removal import Removed

PRUNE_PLAN = "prune_plan"
"""The operation of a dry run, of which nobody is told by message."""


def prune(
    system: System,
    context: dg.OpExecutionContext,
    config: PruneConfig,
    environment: BackupEnvironment,
) -> None:
    """Remove what retention no longer keeps, and finish what an earlier prune began."""
    name = PRUNE_PLAN if config.dry_run else "prune"
    with operations.operation(context, system, name, environment, reason=config.reason) as work:
        if config.dry_run:
            _plan(system, context, environment.store(), work)
        else:
            _prune(system, context, config, environment.store(), work)


def _plan(
    system: System, context: dg.OpExecutionContext, store: Store, work: operations.Operation
) -> None:
    from backup_pipelines.dagster_layer import housekeeping_metadata
    from backup_pipelines.retention import housekeeping_report
    from backup_pipelines.retention.prune import plan_prune

    document = housekeeping_report.plan_document(plan_prune(store, system, datetime.now(UTC)))
    work.message = housekeeping_report.plan_in_words(document)
    metadata.leave_result(context, document, housekeeping_metadata.of_prune(document))
    context.log.info(work.message)


def _prune(
    system: System,
    context: dg.OpExecutionContext,
    config: PruneConfig,
    store: Store,
    work: operations.Operation,
) -> None:
    from backup_pipelines.dagster_layer import housekeeping_metadata
    from backup_pipelines.health.health import latch
    from backup_pipelines.retention import housekeeping_report
    from backup_pipelines.retention.prune import prune

    refuse_reexecution(context.run)
    now = datetime.now(UTC)
    # Not left to the health job: both are launched by the same new backup.
    latch(store, system, now)
    done = prune(
        store,
        system,
        operator=operators.operator_of(context.run),
        reason=config.reason,
        now=now,
        report=context.log.info,
    )
    _mirror(context, store, system.system)
    document = housekeeping_report.pruned_document(done)
    work.message = housekeeping_report.pruned_in_words(document)
    work.details |= {
        "removed": [one.id for one in done.removed],
        "refused": {one.id: one.problem for one in done.refused},
        "frozen": [one.guard for one in done.frozen],
        "kept": done.kept,
        "bytes": document["bytes"],
    }
    shown = housekeeping_metadata.of_prune(document)
    _tell(
        context,
        dg.AssetObservation(
            partitions.catalog_key(system.system),
            description=f"Pruned: {work.message}.",
            metadata=shown,
        ),
    )
    metadata.leave_result(context, document, shown)
    for one in done.frozen:
        context.log.warning(
            f"frozen by {one.guard} since {moment(one.at)}: {one.message}; once "
            f"that is well: backup-pipelines acknowledge {system.system} --reason TEXT"
        )
    _raise_refused(context, system.system, done.refused)
    context.log.info(work.message)


def delete(
    system: System,
    context: dg.OpExecutionContext,
    config: DeleteConfig,
    environment: BackupEnvironment,
) -> None:
    """Remove one backup by hand, and take it out of the catalog."""
    from backup_pipelines.retention import housekeeping_report
    from backup_pipelines.retention.prune import delete_backup, refuse_latest

    with operations.operation(context, system, "delete", environment, reason=config.reason) as work:
        refuse_reexecution(context.run)
        work.backup = named(context, config)
        refuse_latest(work.backup)
        store = environment.store()
        removed = delete_backup(
            store,
            system,
            work.backup,
            operator=operators.operator_of(context.run),
            reason=config.reason,
            report=context.log.info,
        )
        _mirror(context, store, system.system)
        document = housekeeping_report.removed_document(removed)
        work.details |= {"objects": removed.objects, "bytes": removed.bytes}
        _raise_refused(context, system.system, [removed] if removed.problem else [])
        work.message = f"{removed.objects} objects, {removed.bytes:,} bytes removed"
        shown: dict[str, metadata.Value] = {
            labels.SUMMARY: f"{count(removed.objects, 'object')}, {size(removed.bytes)} removed",
            **metadata.named(work.backup),
            "objects": removed.objects,
            "removed_bytes": removed.bytes,
        }
        metadata.leave_result(context, document, shown)


def named(context: dg.OpExecutionContext, config: NamedBackup) -> str:
    """The backup, by the partition or the config; two different answers are none."""
    if not context.has_partition_key:
        if not config.backup:
            raise Refused("name the backup: choose it as partition, or give its id in backup")
        return config.backup
    refuse_two_names(context, config.backup, "")
    return context.partition_key


def forget(context: dg.OpExecutionContext, store: Store, system: str) -> None:
    """Take out of the catalog what was removed, by this run or by one that was killed after it."""

    def tell(observation: dg.AssetObservation) -> None:
        _tell(context, observation)

    catalog_sync.drop_removed(context.instance, store, system, tell)


def _mirror(context: dg.OpExecutionContext, store: Store, system: str) -> None:
    """Make the catalog agree: a backup of which only objects are left can no longer be chosen."""
    forget(context, store, system)
    catalog_sync.sync(context.instance, store, system)


def _raise_refused(
    context: dg.OpExecutionContext, system: str, refused: "Sequence[Removed]"
) -> None:
    """Say on the backups' partitions, which stay, that the store did not let them go; then fail."""
    for one in refused:
        _tell(
            context,
            dg.AssetObservation(
                partitions.catalog_key(system),
                partition=one.id,
                description="It could not be removed.",
                metadata={"status": "not removed", "problem": one.problem},
            ),
        )
    if refused:
        listed = "\n".join(f"- {one.id}: {one.problem}" for one in refused)
        raise Failed(f"{len(refused)} could not be removed:\n{listed}")


def _tell(context: dg.OpExecutionContext, observation: dg.AssetObservation) -> None:
    """Log an observation at once: what an op has logged is lost when it fails."""
    context.instance.report_runless_asset_event(
        observation.with_metadata(
            {**observation.metadata, "run": dg.MetadataValue.dagster_run(context.run_id)}
        )
    )
