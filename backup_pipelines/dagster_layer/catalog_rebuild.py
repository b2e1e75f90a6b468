"""The catalog brought back from the store alone, on a new Dagster instance or a damaged one.

Dagster dates what is reported now, whatever it is about. So nothing of ours counts from those
dates, the newest backup is reported last, and the tables' assets are left as they are: a
materialization of one would claim a backup that was never made.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines import catalog
from backup_pipelines.dagster_layer import catalog_sync, metadata, operations, partitions
from backup_pipelines.dagster_layer.config import RebuildConfig, StoreChoice
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.retention.housekeeping_report import Document

# What may change after a backup is made; all else is in its manifest, which never does.
_CHANGING = ("status", "pinned", "verified_at", "drilled_at", "good", "error")

# Follows from the others, and from the drills of other backups.
_TOLD = ("restore_time", "restore_seconds_measured", "restore_seconds_estimated")

# Observations of one backup: plans, drills, pins. More are read page by page.
_PAGE = 200


def rebuild(
    system: System,
    context: dg.OpExecutionContext,
    config: RebuildConfig,
    environment: BackupEnvironment,
) -> None:
    """Bring back what the catalog lacks; a second time there is nothing left to do."""
    from backup_pipelines.dagster_layer import housekeeping_metadata
    from backup_pipelines.retention import housekeeping_report

    is_first = config.store is StoreChoice.first
    environment = environment.at(system, config.store)
    with operations.operation(context, system, "catalog_rebuild", environment) as work:
        document = rebuild_catalog(
            context.instance, environment.store(), system.system, drops=is_first
        )
        work.message = housekeeping_report.rebuilt_in_words(document)
        work.details |= {
            name: len(document[name]) for name in ("added", "updated", "dropped", "damaged")
        }
        metadata.leave_result(context, document, housekeeping_metadata.of_rebuild(document))
        context.log.info(work.message)


def rebuild_catalog(
    instance: dg.DagsterInstance, store: Store, system: str, *, drops: bool = True
) -> "Document":
    """Make partitions, status, pins and metadata of the catalog those of the store.

    Without `drops` what the store lacks stays in the catalog: it is a second store.
    """
    # Before anything is changed: a store that cannot be read says nothing about any backup.
    found = catalog.listing(store, system)
    meant = catalog_sync.as_found(store, system, found)
    key, tags = partitions.catalog_key(system), {partitions.REBUILT_TAG: "true"}
    before = instance.get_materialized_partitions(key)
    synced = catalog_sync.sync(instance, store, system, tags, drops=drops)
    newest = found.backups[0].id if found.backups else None
    last = _last(instance, key)
    # Ids begin with their time.
    is_stale = last != newest if drops else (last or "") < (newest or "")
    if newest is not None and is_stale:
        # An old backup, found just now, or one that is gone would pass for the newest.
        catalog_sync.report_found(instance, system, newest, meant[newest], tags)
    updated = [name for name in meant if _update(instance, key, name, meant[name])]
    return {
        "system": system,
        "backups": [_row(backup_id, shown) for backup_id, shown in reversed(meant.items())],
        "added": sorted(meant.keys() - before),
        "updated": sorted(updated),
        "offered": list(synced.added),
        "dropped": list(synced.dropped),
        "unsealed": list(synced.unsealed),
        "damaged": sorted(name for name, shown in meant.items() if shown["status"] == "damaged"),
        "pinned": sorted(name for name in meant if name in found.states.pinned),
        "newest": newest,
    }


def _update(
    instance: dg.DagsterInstance, key: dg.AssetKey, backup_id: str, shown: metadata.Metadata
) -> bool:
    """Observe what has become of a backup, if the catalog shows anything else."""
    meant = {name: _plain(shown.get(name, "")) for name in _CHANGING}
    if meant == _shown(instance, key, backup_id):
        return False
    instance.report_runless_asset_event(
        dg.AssetObservation(
            key,
            partition=backup_id,
            description="As the store has it.",
            metadata={
                **{name: shown.get(name, "") for name in _CHANGING},
                **{name: shown[name] for name in _TOLD if name in shown},
                "pinned": dg.MetadataValue.bool(bool(meant["pinned"])),
            },
        )
    )
    return True


def _shown(instance: dg.DagsterInstance, key: dg.AssetKey, backup_id: str) -> Mapping[str, Any]:
    """What the catalog shows of a backup: of each field the last word."""
    asked = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[backup_id])
    said = [
        (record.storage_id, record.asset_materialization)
        for record in instance.fetch_materializations(asked, limit=1).records
    ]
    said += [
        (record.storage_id, record.asset_observation) for record in _observations(instance, asked)
    ]
    shown: dict[str, Any] = dict.fromkeys(_CHANGING, "")
    for _, event in sorted(said, key=lambda one: one[0]):
        if event is not None:
            found = {name: value.value for name, value in event.metadata.items()}
            shown |= {name: found[name] for name in _CHANGING if name in found}
    return shown


def _observations(
    instance: dg.DagsterInstance, asked: dg.AssetRecordsFilter
) -> Iterator[dg.EventLogRecord]:
    cursor = None
    while True:
        page = instance.fetch_observations(asked, limit=_PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _last(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    found = instance.fetch_materializations(key, limit=1).records
    return found[0].partition_key if found else None


def _row(backup_id: str, shown: metadata.Metadata) -> dict[str, Any]:
    row = {name: _plain(shown.get(name, "")) for name in _CHANGING}
    for name in ("verified_at", "drilled_at"):
        row[name] = datetime.fromtimestamp(row[name], UTC).isoformat() if row[name] else ""
    return {"backup": backup_id, **row}


def _plain(value: metadata.Value) -> Any:
    return value.value if isinstance(value, dg.MetadataValue) else value
