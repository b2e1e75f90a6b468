"""What the ops of the pin, unpin, reconcile and acknowledge jobs do."""

from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import catalog
from backup_pipelines.dagster_layer import (
    catalog_sync,
    labels,
    metadata,
    operations,
    operators,
    partitions,
)
from backup_pipelines.dagster_layer.config import AcknowledgeConfig, NamedBackup, ReconcileConfig
from backup_pipelines.dagster_layer.jobs import refuse_reexecution
from backup_pipelines.dagster_layer.removal_ops import forget, named
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Refused
from backup_pipelines.progress import sparse
from backup_pipelines.retention import freezes, pins
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.retention.reconcile import Reconciled


def pin(
    system: System,
    context: dg.OpExecutionContext,
    config: NamedBackup,
    environment: BackupEnvironment,
) -> None:
    """Keep a backup whatever retention says, and show it on the backup's partition."""
    _set_pin(system, context, config, environment, pinned=True)


def unpin(
    system: System,
    context: dg.OpExecutionContext,
    config: NamedBackup,
    environment: BackupEnvironment,
) -> None:
    """Let retention decide about a backup again, and show it on the backup's partition."""
    _set_pin(system, context, config, environment, pinned=False)


def _set_pin(
    system: System,
    context: dg.OpExecutionContext,
    config: NamedBackup,
    environment: BackupEnvironment,
    *,
    pinned: bool,
) -> None:
    verb, change = ("pin", pins.pin) if pinned else ("unpin", pins.unpin)
    with operations.operation(context, system, verb, environment, reason=config.reason) as work:
        # Again it would be refused, but not when somebody has taken it back meanwhile.
        refuse_reexecution(context.run)
        store, chosen = environment.store(), named(context, config)
        if chosen == catalog.LATEST:
            chosen = catalog.find(store, system.system, chosen).id
        work.backup, operator = chosen, operators.operator_of(context.run)
        change(store, system.system, chosen, operator=operator, reason=config.reason)
        work.message = f"{verb}ned by {operator}" + (config.reason and f": {config.reason}")
        shown = {"pinned": pinned, "operator": operator, "reason": config.reason}
        context.log_event(
            dg.AssetObservation(
                partitions.catalog_key(system.system),
                partition=chosen,
                description=f"{work.message.capitalize()}.",
                metadata={**shown, "pinned": dg.MetadataValue.bool(pinned)},
            )
        )
        said = {labels.SUMMARY: work.message, **metadata.named(chosen)}
        metadata.leave_result(context, {"backup": chosen, **shown}, said)


def reconcile(
    system: System,
    context: dg.OpExecutionContext,
    config: ReconcileConfig,
    environment: BackupEnvironment,
) -> None:
    """Compare store, manifests and catalog; repair on request, mark damaged backups in any case."""
    with operations.operation(
        context, system, "reconcile", environment, reason=config.reason
    ) as work:
        if config.repair:
            refuse_reexecution(context.run)
            if config.confirm is None:
                raise Refused("repair removes objects: set confirm: CONFIRM as well")
        _reconcile(system, context, config, environment.store(), work)


def _reconcile(
    system: System,
    context: dg.OpExecutionContext,
    config: ReconcileConfig,
    store: Store,
    work: operations.Operation,
) -> None:
    from backup_pipelines.dagster_layer import housekeeping_metadata
    from backup_pipelines.retention import housekeeping_report
    from backup_pipelines.retention import reconcile as core

    name, operator = system.system, operators.operator_of(context.run)
    forget(context, store, name)
    found = core.reconcile(store, name, catalog_sync.known(context.instance, store, name))
    # Not left to a repair: a damaged backup must not count when the next prune decides.
    marked = core.mark_lost(store, name, found, operator=operator)
    repaired = None
    if config.repair:
        report = sparse(context.log.info)
        repaired = core.repair(store, name, found, report=report, operator=operator)
        _repair_catalog(context, store, name, found)
    document = housekeeping_report.reconciled_document(name, found, marked, repaired)
    work.message = housekeeping_report.reconciled_in_words(document)
    work.details |= {
        "repaired": document["repaired"],
        "damaged": sorted(found.lost),
        "marked_damaged": list(marked),
    }
    shown = housekeeping_metadata.of_reconcile(document)
    context.log_event(
        dg.AssetObservation(
            partitions.catalog_key(name),
            description=f"Reconciled: {work.message}.",
            metadata=shown,
        )
    )
    metadata.leave_result(context, document, shown)
    (context.log.info if found.agrees else context.log.warning)(work.message)


def _repair_catalog(
    context: dg.OpExecutionContext, store: Store, system: str, found: "Reconciled"
) -> None:
    """Make the catalog show what the store has: no more, no less."""
    for backup_id in found.missing_from_store:
        catalog_sync.drop(context.instance, system, backup_id)
        context.log_event(
            dg.AssetObservation(
                partitions.catalog_key(system),
                partition=backup_id,
                description="Taken out of the catalog: the store has no such backup.",
                metadata={"status": "missing"},
            )
        )
    catalog_sync.sync(context.instance, store, system)


def acknowledge(
    system: System,
    context: dg.OpExecutionContext,
    config: AcknowledgeConfig,
    environment: BackupEnvironment,
) -> None:
    """End freezes of pruning, in the name of whoever has looked."""
    with operations.operation(
        context, system, "acknowledge", environment, reason=config.reason
    ) as work:
        refuse_reexecution(context.run)
        ended = freezes.acknowledge(
            environment.store(),
            system.system,
            operator=operators.operator_of(context.run),
            reason=config.reason,
            guards=config.guards,
        )
        guards = [one.guard for one in ended]
        work.message = f"no longer frozen by {', '.join(guards)}"
        work.details["guards"] = guards
        said = {labels.SUMMARY: work.message, "guards": ", ".join(guards)}
        metadata.leave_result(context, {"guards": guards}, said)
        context.log.info(work.message)
