"""Dagster's catalog follows the store: what has a manifest is a backup, nothing else is.

Anyone with the UI can delete a partition key or report a made-up materialization, and a run can be
killed between the manifest and its log entry. So every backup starts by putting this right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from backup_pipelines import catalog, layout, state_log
from backup_pipelines.dagster_layer import labels, metadata, partitions
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store
from backup_pipelines.wording import size


@dataclass(frozen=True)
class Synced:
    """What was put right, as ids."""

    added: tuple[str, ...]
    dropped: tuple[str, ...]
    unsealed: tuple[str, ...]


def sync(
    instance: dg.DagsterInstance,
    store: Store,
    system: str,
    tags: Mapping[str, str] | None = None,
    *,
    drops: bool = True,
) -> Synced:
    """Make the partition sets of a system agree with the manifests in the store.

    `tags` are given to the materializations of backups that had none. Without `drops` nothing is
    taken out: a second store says nothing of what it lacks.
    """
    if drops:
        # A killed prune has no more to say than what it left in the store.
        drop_removed(instance, store, system, instance.report_runless_asset_event)
    whole = {
        backup_id
        for backup_id in catalog.ids(store, system)
        if store.exists(layout.manifest_key(system, backup_id))
    }
    everything, offered = partitions.all_backups(system), partitions.restorable(system)
    known = set(_keys(instance, everything))
    listed = set(_keys(instance, offered))
    _add(instance, everything, whole - known)
    _add(instance, offered, whole - listed)
    dropped = sorted(listed - whole) if drops else []
    for gone in dropped:
        instance.delete_dynamic_partition(_name(offered), gone)
    unseen = whole - instance.get_materialized_partitions(partitions.catalog_key(system))
    if unseen:
        found = as_found(store, system, catalog.listing(store, system))
        for backup_id, shown in found.items():
            if backup_id in unseen:
                report_found(instance, system, backup_id, shown, tags)
    return Synced(
        added=tuple(sorted(whole - listed)),
        dropped=tuple(dropped),
        unsealed=tuple(sorted(known - whole)) if drops else (),
    )


def known(instance: dg.DagsterInstance, store: Store, system: str) -> set[str]:
    """Ids that the catalog shows as backups, without those that a removal has half removed.

    A backup that failed has a key too, and never was one.
    """
    everything = set(_keys(instance, partitions.all_backups(system)))
    sealed = instance.get_materialized_partitions(partitions.catalog_key(system))
    offered = set(_keys(instance, partitions.restorable(system)))
    half = {
        backup_id
        for backup_id in removal.unfinished(store, system)
        if not store.exists(layout.manifest_key(system, backup_id))
    }
    return ((everything & sealed) | offered) - half


def drop(instance: dg.DagsterInstance, system: str, backup_id: str) -> None:
    """Take a backup that is gone out of the catalog; its history stays in the event log."""
    # First what people could still choose.
    for found in (partitions.restorable(system), partitions.all_backups(system)):
        instance.delete_dynamic_partition(_name(found), backup_id)


def drop_removed(
    instance: dg.DagsterInstance,
    store: Store,
    system: str,
    tell: Callable[[dg.AssetObservation], None],
) -> None:
    """Take whatever was removed out of the catalog, telling of each what its removal has noted."""
    keys = {
        *_keys(instance, partitions.all_backups(system)),
        *_keys(instance, partitions.restorable(system)),
    }
    for backup_id, state in state_log.latest(store, system, "removals").items():
        if state.state != catalog.DONE or backup_id not in keys:
            continue
        # Somebody may have put a copy back.
        if store.exists(layout.manifest_key(system, backup_id)):
            continue
        # Told twice, after a kill, is better than never.
        tell(_removed(system, backup_id, state_log.content(store, state)))
        drop(instance, system, backup_id)


def _removed(system: str, backup_id: str, note: Mapping[str, Any]) -> dg.AssetObservation:
    told = {name: str(note.get(name) or "") for name in ("why", "operator", "reason")}
    return dg.AssetObservation(
        partitions.catalog_key(system),
        partition=backup_id,
        description=f"Removed: {told['why']}.",
        metadata={
            "status": "removed",
            **told,
            labels.SUMMARY: f"removed: {told['why']}; it took {size(int(note.get('bytes') or 0))}",
            "objects": int(note.get("removed") or 0),
            "removed_bytes": int(note.get("bytes") or 0),
        },
    )


def as_found(store: Store, system: str, found: catalog.Listing) -> dict[str, metadata.Metadata]:
    """What the catalog shows of each backup by the store alone, in the order to report it in.

    Dagster takes an asset's last materialization for its newest, so the newest backup comes last,
    and what cannot be read first.
    """
    from backup_pipelines.dagster_layer import proof

    verifications = state_log.latest(store, system, "verifications")
    drills = proof.drills(store, system)
    shown: dict[str, metadata.Metadata] = {}
    # One that cannot be read must not stop a backup.
    for backup_id, problem in sorted(found.problems.items()):
        pinned = dg.MetadataValue.bool(backup_id in found.states.pinned)
        shown[backup_id] = {"status": "damaged", "error": problem, "pinned": pinned}
    for entry in reversed(found.backups):
        shown[entry.id] = metadata.of_backup(entry, store, found.states, drills)
        if entry.id in found.states.damaged:
            why = _why_damaged(store, verifications[entry.id])
            shown[entry.id] = {**shown[entry.id], "error": why}
    return shown


def report_found(
    instance: dg.DagsterInstance,
    system: str,
    backup_id: str,
    shown: metadata.Metadata,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Show a backup whose own run could not, or did in an instance that is lost."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            partitions.catalog_key(system),
            partition=backup_id,
            description="Found in the store.",
            metadata=shown,
            tags=tags,
        )
    )


def start(context: dg.OpExecutionContext, system: str, backup_id: str) -> None:
    """Put a backup that starts now into the catalog, shown as materializing until it is sealed."""
    _add(context.instance, partitions.all_backups(system), {backup_id})
    _report_planned(context, partitions.catalog_key(system), backup_id)


def seal(
    context: dg.OpExecutionContext, system: str, backup_id: str, shown: metadata.Metadata
) -> None:
    """Put a whole backup into the catalog and into the drop-down of what can be restored."""
    context.log_event(
        dg.AssetMaterialization(partitions.catalog_key(system), partition=backup_id, metadata=shown)
    )
    _add(context.instance, partitions.restorable(system), {backup_id})


def _why_damaged(store: Store, state: state_log.State) -> str:
    try:
        return str(state_log.content(store, state).get("message") or "")
    except ValueError as error:
        # The object's name tells the state; nothing depends on the words in it.
        return f"{store.uri(state.key)} cannot be read: {error}"


def _report_planned(context: dg.OpExecutionContext, key: dg.AssetKey, partition: str) -> None:
    """Say that this run will materialize a partition, as Dagster does for its own.

    An external asset gets no such event from Dagster, and without it an id that was never sealed
    shows as missing instead of failed. There is no public way to write one.
    """
    try:
        from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent

        event = DagsterEvent.build_asset_materialization_planned_event(
            context.job_name,
            str(context.op_handle),
            AssetMaterializationPlannedData(key, partition=partition),
        )
        context.instance.report_dagster_event(event, run_id=context.run_id)
    except (ImportError, AttributeError, TypeError) as error:
        context.log.debug(f"this Dagster has no planned events as we know them: {error}")


def _keys(instance: dg.DagsterInstance, found: dg.DynamicPartitionsDefinition) -> list[str]:
    return list(instance.get_dynamic_partitions(_name(found)))


def _add(
    instance: dg.DagsterInstance, found: dg.DynamicPartitionsDefinition, ids: set[str]
) -> None:
    if ids:
        instance.add_dynamic_partitions(_name(found), sorted(ids))


def _name(found: dg.DynamicPartitionsDefinition) -> str:
    return found.name or ""
