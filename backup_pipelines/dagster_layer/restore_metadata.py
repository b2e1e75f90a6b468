"""What Dagster shows of a plan and of a restore, from the document that the command line prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import metadata
from backup_pipelines.restoring import restore_report
from backup_pipelines.restoring.restore_report import Document

# What is left out here is in the JSON of the run's output.
_LINES = 500

_COLUMNS = {
    "table": "string",
    "insert": "int",
    "update": "int",
    "delete": "int",
    "unchanged": "int",
    "changed_columns": "string",
    "warnings": "string",
}


def of_plan(document: Document) -> metadata.Metadata:
    """What a restore would do, table by table, and what stands against it."""
    return {
        "backup": str(document["backup"]),
        "mode": str(document["mode"]),
        "selection": str(document["selection"]),
        "into": document["into"] or "live",
        "plan": dg.MetadataValue.md(plan_table(document)),
        **restore_report.sums(document),
        "warnings": dg.MetadataValue.md(listed(restore_report.warnings(document))),
        "refused": dg.MetadataValue.md(listed(document["refused"])),
        "closure": ", ".join(document["closure"]),
        "hash": str(document["hash"]),
        "estimated_seconds": float(document["estimated_seconds"]),
        "seconds": float(document["seconds"]),
        # The longest is last, lest it hide the rest.
        "tables": _table(document["tables"]),
    }


def of_restore(document: Document, undo: str) -> metadata.Metadata:
    """What a restore did, the safety backup, and how to take it back."""
    return {
        "backup": str(document["backup"]),
        "safety_backup": document["safety_backup"] or "none",
        "undo": undo,
        "tables_verified": int(document["tables_verified"]),
        **of_plan(document),
    }


def of_table(document: Document, tables: Sequence[Mapping[str, Any]]) -> metadata.Metadata:
    """What a restore did to the tables of one asset."""
    return {
        "backup": str(document["backup"]),
        "mode": str(document["mode"]),
        "safety_backup": document["safety_backup"] or "none",
        "tables": ", ".join(str(table["table"]) for table in tables),
        **restore_report.sums({"tables": tables}),
    }


def undo_of(system: str, document: Document) -> str:
    """How what a document tells of is taken back."""
    if not restore_report.has_changes(document):
        # An undo would take back what was done before this.
        return "nothing to undo: no row was changed"
    if document["safety_backup"] is None:
        return "not possible: no safety backup was taken"
    return f"backup-pipelines undo {system} --confirm CONFIRM"


def plan_table(document: Document) -> str:
    """The tables that change, or have something to say, as a markdown table."""
    shown = restore_report.touched(document)
    unchanged = len(document["tables"]) - len(shown)
    lines = [
        "| table | insert | update | delete | unchanged | columns |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for table in shown[:_LINES]:
        counts = " | ".join(f"{table[n]:,}" for n in restore_report.COUNTS)
        lines.append(f"| {_cell(table['table'])} | {counts} | {_cell(changed_columns(table))} |")
    if len(shown) > _LINES:
        lines.append(f"\n{len(shown) - _LINES} more are in the result.")
    if unchanged:
        lines.append(f"\n{unchanged} other tables are as in the backup.")
    return "\n".join(lines)


def _table(tables: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {
                **{
                    name: table[name]
                    for name in ("table", "insert", "update", "delete", "unchanged")
                },
                "changed_columns": changed_columns(table),
                "warnings": "\n".join((*table["refused"], *table["warnings"])),
            }
        )
        for table in tables[:_LINES]
    ]
    return dg.MetadataValue.table(
        records, dg.TableSchema([dg.TableColumn(name, kind) for name, kind in _COLUMNS.items()])
    )


def changed_columns(table: Mapping[str, Any]) -> str:
    """The changed columns of a table of a document, each with how many rows."""
    changed: Mapping[str, int] = table["changed_columns"]
    return ", ".join(f"{name} ({rows:,})" for name, rows in changed.items())


def listed(lines: Sequence[str]) -> str:
    """Lines as a markdown list."""
    return "\n".join(f"- {line}" for line in lines) or "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
