"""What a module's page shows of it: live records, last backup, last restore."""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg

from backup_pipelines import module_cards
from backup_pipelines.dagster_layer import metadata, module_links
from backup_pipelines.dagster_layer.labels import SUMMARY
from backup_pipelines.module_cards import Card, LastBackup
from backup_pipelines.system import System
from backup_pipelines.wording import count, size

SIZE_BYTES = "dagster/size_bytes"

_UNKNOWN = "unknown: the live database cannot be read"
_KEPT = ("last_restore", "restored_from")


def of_card(system: System, card: Card, before: metadata.Metadata) -> metadata.Metadata:
    """Everything of a card, with the last restore as the page has shown it `before`."""
    backup = {} if card.backup is None else _of_backup(system, card.module, card.backup)
    kept = {name: before[name] for name in _KEPT if name in before}
    # The list of tables is the longest, and would hide the rest.
    live = of_live(card)
    return {SUMMARY: live[SUMMARY], "status": card.status, **backup, **kept, **live}


def of_live(card: Card) -> metadata.Metadata:
    """How many records there are now, in which tables."""
    live, inside = card.live_rows, count(len(card.tables), "table")
    shown: dict[str, metadata.Value] = {SUMMARY: _UNKNOWN}
    if live is not None and live.rows is not None:
        shown |= {
            SUMMARY: f"{count(live.rows, 'live record')} in {inside}",
            metadata.ROW_COUNT: live.rows,
            "live_records": live.rows,
        }
    shown["live_records_are"] = module_cards.certainty(live) or _UNKNOWN
    shown["tables_count"] = len(card.tables)
    if card.live:
        shown["tables"] = _tables(card.live)
    return shown


def of_restore(system: str, backup_id: str, now: datetime) -> metadata.Metadata:
    """When the module was restored last, and from what."""
    link = metadata.backup_link(system, backup_id)
    return {
        "last_restore": dg.MetadataValue.timestamp(now),
        "restored_from": dg.MetadataValue.md(link),
    }


def _of_backup(system: System, module: str, backup: LastBackup) -> metadata.Metadata:
    plan = module_links.plan(system, module, backup.id)
    restore = module_links.restore(system, module, backup.id)
    return {
        "last_backup": dg.MetadataValue.md(metadata.backup_link(system.system, backup.id)),
        "last_backup_at": dg.MetadataValue.timestamp(backup.created_at),
        "last_backup_type": backup.type,
        "last_backup_holds": f"{count(backup.rows, 'record')}, {size(backup.size_bytes)}",
        "last_backup_records": backup.rows,
        "last_backup_bytes": backup.size_bytes,
        # By this name the page has it in its head.
        SIZE_BYTES: backup.size_bytes,
        "restore_last_backup": dg.MetadataValue.md(f"[plan]({plan}), [restore]({restore})"),
    }


def _tables(live: Mapping[str, module_cards.RowCount]) -> dg.TableMetadataValue:
    rows = [
        {
            "table": table,
            "live_records": "unknown" if count.rows is None else f"{count.rows:,}",
            "are": module_cards.certainty(count) or "",
        }
        for table, count in live.items()
    ]
    return metadata.table(rows, dict.fromkeys(("table", "live_records", "are"), "string"))
