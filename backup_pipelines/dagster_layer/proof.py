"""Whether a backup is good, how that is known, and how long its restore takes, for its partition.

Imported by functions of metadata.py only, whose names it needs.
"""

from collections.abc import Mapping

import dagster as dg
from pydantic import ValidationError

from backup_pipelines import catalog, drill_record
from backup_pipelines.catalog import States
from backup_pipelines.dagster_layer import metadata, partitions
from backup_pipelines.drill_record import DrillResult
from backup_pipelines.errors import BackupError
from backup_pipelines.health.finding import span
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines.wording import how_long, moment

Drills = Mapping[str, DrillResult]


def last_drill(store: Store, system: str) -> Drills:
    """The last drill that passed, by its backup; nothing where its record cannot be read."""
    try:
        last = drill_record.last_drill(store, system)
    except (BackupError, ValidationError):
        # A backup that is whole must not fail by what is said of it.
        return {}
    return {} if last is None else {last.backup_id: last}


def drills(store: Store, system: str) -> Drills:
    """The newest drill of each backup, as far as the records can be read."""
    try:
        return drill_record.drills(store, system)
    except BackupError:
        return {}


def shown(entry: Manifest, known: States, passed: Drills) -> metadata.Metadata:
    """What the catalog says of a backup's quality; `passed` is the newest drill of each backup."""
    found, own = catalog.describe(entry, known), passed.get(entry.id)
    said: dict[str, metadata.Value] = {"good": _good(found, own, entry.id in known.removing)}
    if found.verified_at is not None:
        said["verified_at"] = dg.MetadataValue.timestamp(found.verified_at)
    if own is not None:
        said["drilled_at"] = dg.MetadataValue.timestamp(own.at)
    return {**said, **_restore_time(entry, own, passed)}


def tell(context: dg.OpExecutionContext, store: Store, entry: Manifest, what: str) -> None:
    """Show on a backup's partition how good it is by now; `what` has told. Never raises."""
    try:
        known = catalog.states(store, entry.system)
        own = drill_record.newest_of(store, entry.system, entry.id)
        passed = {**last_drill(store, entry.system), **({} if own is None else {entry.id: own})}
        said = shown(entry, known, passed)
        status = catalog.describe(entry, known).status
        context.log_event(
            dg.AssetObservation(
                partitions.catalog_key(entry.system),
                partition=entry.id,
                description=f"{what}.",
                metadata={"status": status, **said},
            )
        )
    except Exception as error:
        why = " ".join(str(error).split())
        context.log.warning(f"the partition of {entry.id} is not up to date: {why}")


def _good(found: catalog.CatalogEntry, own: DrillResult | None, removing: bool) -> str:
    if found.verified_at is None:
        return "no: it is damaged and cannot be restored"
    if removing:
        return "no: it is being removed"
    said = f"yes: sealed, and read back whole on {moment(found.verified_at)}"
    if own is None:
        return f"{said}; no drill has restored it so far"
    return f"{said}; restored by a drill on {moment(own.at)}, every row compared"


def _restore_time(entry: Manifest, own: DrillResult | None, passed: Drills) -> metadata.Metadata:
    if own is not None:
        return {
            "restore_time": f"{span(own.seconds)}, measured by the drill of {moment(own.at)}",
            "restore_seconds_measured": own.seconds,
        }
    last = max(passed.values(), key=lambda one: one.at, default=None)
    if last is None or not last.rows:
        return {"restore_time": "not known: no drill has restored a backup so far"}
    guess = round(last.seconds * entry.records_count / last.rows, 1)
    return {
        "restore_time": f"about {how_long(guess)}, estimated: the drill of {last.backup_id} "
        f"restored {last.rows:,} rows in {span(last.seconds)}",
        "restore_seconds_estimated": guess,
    }
