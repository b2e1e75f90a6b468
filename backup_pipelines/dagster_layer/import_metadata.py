"""What Dagster shows of an import and of its plan, from the document of the command line."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import metadata
from backup_pipelines.dagster_layer.restore_metadata import changed_columns, listed
from backup_pipelines.restoring import restore_report
from backup_pipelines.restoring.restore_report import Document

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
    by_kind: Mapping[str, int] = document["problems_by_kind"]
    shown: dict[str, metadata.Value] = {
        "problems": int(document["problems"]),
        "problems_by_kind": ", ".join(f"{kind} ({n:,})" for kind, n in by_kind.items()) or "none",
        "problems_file": document["problems_file"] or "none",
        "source": str(document["source"]),
        "mode": str(document["mode"]),
        **{n: c for n, c in restore_report.sums(document).items() if n != "delete"},
        "rejected": sum(int(table["rejected"]) for table in document["tables"]),
        "warnings": dg.MetadataValue.md(listed(document["warnings"])),
        "refused": dg.MetadataValue.md(listed(document["refused"])),
        "hash": document["hash"] or "none",
        "seconds": float(document["seconds"]),
        "files": _table(
            [{**one, "ignored": ", ".join(one["ignored"])} for one in document["files"]], _FILES
        ),
        "tables": _table(
            [{**one, "changed_columns": changed_columns(one)} for one in document["tables"]],
            _TABLES,
        ),
    }
    if document["first_problems"]:
        problems = [{**one, "value": one["value"] or ""} for one in document["first_problems"]]
        shown["first_problems"] = _table(problems, _PROBLEMS)
    return shown


def of_import(document: Document, undo: str) -> metadata.Metadata:
    """What an import did, the safety backup, and how to take it back."""
    return {
        "safety_backup": document["safety_backup"] or "none",
        "undo": undo,
        "tables_verified": int(document["tables_verified"]),
        **of_plan(document),
    }


def of_table(document: Document, table: Mapping[str, Any]) -> metadata.Metadata:
    """What an import did to one table."""
    return {
        "source": str(document["source"]),
        "mode": str(document["mode"]),
        "safety_backup": document["safety_backup"] or "none",
        **{name: int(table[name]) for name in ("insert", "update", "unchanged")},
    }


def _table(rows: list[dict[str, Any]], kinds: Mapping[str, str]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({name: row[name] for name in kinds}) for row in rows],
        dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()]),
    )
