"""What Dagster shows of an import and of its plan, from the document of the command line."""

from collections.abc import Mapping
from typing import Any

from backup_pipelines.dagster_layer import metadata
from backup_pipelines.dagster_layer.labels import SUMMARY
from backup_pipelines.dagster_layer.restore_metadata import rows
from backup_pipelines.restoring import restore_report
from backup_pipelines.restoring.restore_report import Document
from backup_pipelines.wording import count, counts

_PROBLEMS = {
    "file": "string",
    "line": "int",
    "column": "string",
    "value": "string",
    "kind": "string",
    "reason": "string",
}
_FILES = {"file": "string", "table": "string", "rows": "int", "form": "string", "ignored": "string"}
_TABLES = {
    "table": "string",
    "insert": "int",
    "update": "int",
    "unchanged": "int",
    "rejected": "int",
    "changed_columns": "string",
}


def rejected(document: Document) -> metadata.Shown:
    """The refusal of files with problems: the first of them, and where all are."""
    from backup_pipelines.csv import import_report

    return metadata.Shown(import_report.refusal(document), of_plan(document))


def of_plan(document: Document) -> metadata.Metadata:
    """What an import would write, and everything that stands against it."""
    from backup_pipelines.csv import import_report

    counted = {n: c for n, c in restore_report.sums(document).items() if n != "delete"}
    tables = [
        {**one, "changed_columns": counts(one["changed_columns"])} for one in document["tables"]
    ]
    shown: dict[str, metadata.Value] = {
        SUMMARY: import_report.in_words(document),
        "problems": int(document["problems"]),
        "problems_by_kind": counts(document["problems_by_kind"]) or "none",
        "problems_file": document["problems_file"] or "none",
        "source": str(document["source"]),
        "mode": str(document["mode"]),
        **rows(counted),
        "rows_rejected": sum(int(table["rejected"]) for table in document["tables"]),
        "warnings": metadata.bullets(document["warnings"]),
        "refused": metadata.bullets(document["refused"]),
        "plan_hash": document["hash"] or "none",
        "seconds": float(document["seconds"]),
        "files": metadata.table(
            [{**one, "ignored": ", ".join(one["ignored"])} for one in document["files"]], _FILES
        ),
        "tables": metadata.table(tables, _TABLES),
    }
    if document["first_problems"]:
        problems = [{**one, "value": one["value"] or ""} for one in document["first_problems"]]
        shown["first_problems"] = metadata.table(problems, _PROBLEMS)
    return shown


def of_import(document: Document, undo: metadata.Metadata) -> metadata.Metadata:
    """What an import did, the safety backup, and how to take it back."""
    shown = of_plan(document)
    return {
        SUMMARY: shown[SUMMARY],
        **metadata.named(document["safety_backup"] or "", "safety_backup"),
        **undo,
        "tables_verified": int(document["tables_verified"]),
        **shown,
    }


def of_table(document: Document, table: Mapping[str, Any]) -> metadata.Metadata:
    """What an import did to one table."""
    counted = {name: int(table[name]) for name in ("insert", "update", "unchanged")}
    return {
        SUMMARY: f"{count(counted['insert'], 'row')} inserted, {counted['update']:,} updated",
        "source": str(document["source"]),
        "mode": str(document["mode"]),
        **metadata.named(document["safety_backup"] or "", "safety_backup"),
        **rows(counted),
    }
