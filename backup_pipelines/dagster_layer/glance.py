"""All backups of a system at a glance: what there is, is it good, how long, when next, what now.

Dagster's Overview of a partitioned asset shows the newest materialization alone. So it is there as
of the newest backup, as an observation whenever something has changed, and on the health's page.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines.dagster_layer import metadata, partitions
from backup_pipelines.health.finding import span
from backup_pipelines.wording import age, count, moment, size

if TYPE_CHECKING:
    from backup_pipelines.health.health import Health
    from backup_pipelines.storage.store import Store
    from backup_pipelines.system import System

Context = dg.OpExecutionContext | dg.AssetExecutionContext

# Ages go on while nothing else changes; more often would only fill the event log.
_SHOWN_FOR = timedelta(hours=6)

# Plans, pins and restores are observations of the catalog, too.
_LOOKED_AT = 25

# Dagster hides what is longer than a thousand characters behind a button.
_TOLD = 400

_NO_DRILL = "not proved yet: no drill has restored a backup"


def at_a_glance(health: "Health") -> str:
    """The table of all backups, as markdown."""
    rows = [
        ("newest good full backup", _newest(health)),
        ("can it be restored", _restorable(health)),
        ("how long a restore takes", _restore_time(health)),
        ("backups", _stored(health)),
        ("next scheduled backup", _next(health)),
        ("what is wrong now", _wrong(health)),
    ]
    here = f"[checks and plots](/assets/{health.system}/health)"
    lines = [f"| all backups of {health.system} | as of {moment(health.at)}; now: {here} |"]
    lines += ["|---|---|", *(f"| {name} | {said} |" for name, said in rows)]
    return "\n".join(lines)


def in_words(health: "Health") -> str:
    """The same in a sentence without what only the time changes."""
    newest = f"newest good full {health.last_backup}" if health.last_backup else "none is full"
    drill = health.last_drill
    proved = f"last drill of {drill.backup} took {span(drill.seconds)}" if drill else "no drill yet"
    wrong = ", ".join(finding.guard for finding in health.alerts) or "nothing"
    due = _next(health)
    backups = count(health.backups, "backup")
    return f"{backups}, {newest}; {proved}; next: {due}; wrong: {wrong}."


def sealed(context: Context, system: "System", store: "Store") -> metadata.Metadata:
    """The glance for the materialization of a new backup, or nothing: a backup waits for none."""
    from backup_pipelines.health.health import assess

    try:
        health = assess(store, system, datetime.now(UTC))
        return {"at_a_glance": dg.MetadataValue.md(at_a_glance(health))}
    except Exception as error:
        context.log.warning(f"the catalog at a glance cannot be shown: {_line(error)}")
        return {}


def observe(context: Context, health: "Health") -> None:
    """Show the glance on the catalog if it has changed, or is some hours old."""
    try:
        key, said = partitions.catalog_key(health.system), in_words(health)
        found = context.instance.fetch_observations(key, limit=_LOOKED_AT).records
        for record in found:
            event = record.asset_observation
            if event is None or "at_a_glance" not in event.metadata:
                continue
            is_old = health.at - datetime.fromtimestamp(record.timestamp, UTC) > _SHOWN_FOR
            if event.description == said and not is_old:
                return
            break
        glance = {"at_a_glance": dg.MetadataValue.md(at_a_glance(health))}
        context.log_event(dg.AssetObservation(key, description=said, metadata=glance))
    except Exception as error:
        context.log.warning(f"the catalog at a glance is not up to date: {_line(error)}")


def _newest(health: "Health") -> str:
    if health.last_backup_at is None:
        return "**none**"
    link = metadata.backup_link(health.system, health.last_backup)
    return f"{link}, {age(health.last_backup_at, health.at)} ({moment(health.last_backup_at)})"


def _restorable(health: "Health") -> str:
    drill = health.last_drill
    if drill is None:
        return _NO_DRILL
    which = metadata.backup_link(health.system, drill.backup)
    failed = next((f for f in health.red if f.guard == partitions.RESTORABLE), None)
    if failed is not None:
        said = f"**no**: {metadata.cell(failed.message)}"
        return f"{said} The last drill that passed, of {which}: {moment(drill.at)}"
    return f"yes: a drill has restored {which} on {moment(drill.at)} and compared every row"


def _restore_time(health: "Health") -> str:
    seconds = health.recovery_time_seconds
    target = f"the target is {span(health.recovery_time_target_seconds)}"
    return f"{span(seconds)}, measured by the last drill; {target}" if seconds else _NO_DRILL


def _stored(health: "Health") -> str:
    share = 100 * health.storage_bytes / health.storage_limit_bytes
    limit = size(health.storage_limit_bytes)
    return (
        f"{count(health.backups, 'backup')}; {size(health.storage_bytes)} in the store, "
        f"{share:.1f} % of the limit of {limit}"
    )


def _next(health: "Health") -> str:
    due = health.next_scheduled
    if due is None:
        return "none: the YAML schedules no backup"
    # What is due has the time of the look, which is always another.
    return "due now" if due <= health.at else moment(due)


def _wrong(health: "Health") -> str:
    """Errors with what they say, as far as the table is still shown at once; warnings by name."""
    if not health.alerts:
        return "nothing"
    red = {finding.guard for finding in health.red}
    named = [f"{'error' if f.guard in red else 'warning'} {f.guard}" for f in health.alerts]
    told = [f"**error** {f.guard}: {metadata.cell(f.message)}" for f in health.red]
    told += [name for name, f in zip(named, health.alerts, strict=True) if f.guard not in red]
    long = "; ".join(told)
    return long if len(long) <= _TOLD else f"**{', '.join(named)}**: see the checks"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
