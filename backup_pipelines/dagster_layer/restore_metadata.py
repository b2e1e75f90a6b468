"""What Dagster shows of a plan and of a restore, from the document that the command line prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import backup_links, metadata
from backup_pipelines.dagster_layer.labels import SUMMARY
from backup_pipelines.dagster_layer.launchpads import link
from backup_pipelines.health.finding import span
from backup_pipelines.restoring import restore_report
from backup_pipelines.restoring.restore_report import Document
from backup_pipelines.wording import counts, how_long

_ROWS = {
    "insert": "rows_inserted",
    "update": "rows_updated",
    "delete": "rows_deleted",
    "unchanged": "rows_unchanged",
}

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


def of_plan(document: Document, do_it: str = "") -> metadata.Metadata:
    """What a restore would do, table by table, what stands against it, and the link that does it.

    A run folds all but the first lines, and every text with links.
    """
    return {
        SUMMARY: _in_words(document),
        "plan": dg.MetadataValue.md("\n\n".join(filter(None, (plan_table(document), do_it)))),
        **metadata.named(str(document["backup"])),
        "mode": str(document["mode"]),
        "selection": str(document["selection"]),
        "into": document["into"] or "live",
        **rows(restore_report.sums(document)),
        "warnings": metadata.bullets(restore_report.warnings(document)),
        "refused": metadata.bullets(document["refused"]),
        "closure": ", ".join(document["closure"]),
        "plan_hash": str(document["hash"]),
        "estimated_seconds": float(document["estimated_seconds"]),
        "seconds": float(document["seconds"]),
        # The longest is last, lest it hide the rest.
        "tables": _table(document["tables"]),
    }


def of_restore(document: Document, undo: metadata.Metadata) -> metadata.Metadata:
    """What a restore did, the safety backup, and how to take it back."""
    return {
        SUMMARY: _in_words(document),
        **metadata.named(document["safety_backup"] or "", "safety_backup"),
        **undo,
        "tables_verified": int(document["tables_verified"]),
        **of_plan(document),
    }


def of_table(document: Document, tables: Sequence[Mapping[str, Any]]) -> metadata.Metadata:
    """What a restore did to the tables of one asset."""
    counted = restore_report.sums({"tables": tables})
    return {
        SUMMARY: restore_report.in_words({**document, "tables": tables}),
        **metadata.named(str(document["backup"])),
        "mode": str(document["mode"]),
        **metadata.named(document["safety_backup"] or "", "safety_backup"),
        "tables": ", ".join(str(table["table"]) for table in tables),
        **rows(counted),
    }


def rows(counted: Mapping[str, int]) -> dict[str, int]:
    """How many rows are inserted, updated and so on, by labels that say that it is rows."""
    return {_ROWS[what]: number for what, number in counted.items()}


def _in_words(document: Document) -> str:
    """What was done, or would be, and how long it took, or may take."""
    said = restore_report.in_words(document)
    if document["verified"]:
        return f"{said}; proved, in {span(float(document['seconds']))}"
    guess = float(document["estimated_seconds"])
    planned = f"planned in {span(float(document['seconds']))}"
    return f"{said}; a restore may take {how_long(guess)}; {planned}" if guess else said


def undo_of(system: str, document: Document) -> metadata.Metadata:
    """How what a document tells of is taken back: the command, and the launchpad."""
    if not restore_report.has_changes(document):
        # An undo would take back what was done before this.
        return {"undo": "nothing to undo: no row was changed"}
    if document["safety_backup"] is None:
        return {"undo": "not possible: no safety backup was taken"}
    return {
        "undo": f"backup-pipelines undo {system} --confirm CONFIRM",
        "take_back": dg.MetadataValue.md(link(backup_links.undo(system), "undo")),
    }


def do_it(job: str, config: Mapping[str, object], document: Document, text: str) -> str:
    """The link that does what was planned, if there is anything to do and nothing against it."""
    refused = document.get("refused") or document["hash"] is None
    if refused or not restore_report.has_changes(document):
        return ""
    return link(backup_links.as_planned(job, config, str(document["hash"])), text)


def plan_table(document: Document) -> str:
    """The tables that change, or have something to say, as a markdown table."""
    shown = restore_report.touched(document)
    unchanged = len(document["tables"]) - len(shown)
    lines = [
        "| table | insert | update | delete | unchanged | columns |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for table in shown[:_LINES]:
        numbers = " | ".join(f"{table[n]:,}" for n in restore_report.COUNTS)
        columns = metadata.cell(counts(table["changed_columns"]))
        lines.append(f"| {metadata.cell(table['table'])} | {numbers} | {columns} |")
    if len(shown) > _LINES:
        lines.append(f"\n{len(shown) - _LINES} more are in the result.")
    if unchanged:
        lines.append(f"\n{unchanged} other tables are as in the backup.")
    return "\n".join(lines)


def _table(tables: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    rows = [
        {
            **table,
            "changed_columns": counts(table["changed_columns"]),
            "warnings": "\n".join((*table["refused"], *table["warnings"])),
        }
        for table in tables[:_LINES]
    ]
    return metadata.table(rows, _COLUMNS)
