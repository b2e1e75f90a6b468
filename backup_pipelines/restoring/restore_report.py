"""What a plan and a restore say, as one JSON document: in the run, and on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from backup_pipelines.manifest import Manifest
from backup_pipelines.plan import Plan, TablePlan
from backup_pipelines.restore import LiveRestored, RestoreResult
from backup_pipelines.wording import count

Document = Mapping[str, Any]

COUNTS = ("insert", "update", "delete", "unchanged")

_TO_DO = {name: f"to {name}" for name in COUNTS} | {"unchanged": "unchanged"}
_DONE = {"insert": "inserted", "update": "updated", "delete": "deleted", "unchanged": "unchanged"}


def plan_document(plan: Plan, seconds: float, into: str | None) -> Document:
    """What a restore would do, `into` another database or the live one; nothing is proved yet."""
    return {
        "backup": plan.backup_id,
        "mode": plan.mode,
        "hash": plan.hash,
        "selection": plan.selection,
        "into": into or None,
        "tables": [_table(table) for table in plan.tables],
        "objects": list(plan.objects),
        "dropped": [],
        "estimated_seconds": plan.estimated_seconds,
        "refused": list(plan.refused),
        "closure": list(plan.closure),
        "safety_backup": None,
        "verified": False,
        "seconds": round(seconds, 3),
    }


def restored_document(done: LiveRestored, seconds: float, into: str | None) -> Document:
    """What a restore did; every table was proved before the commit."""
    return {
        **plan_document(done.plan, seconds, into),
        "safety_backup": done.safety.id if done.safety is not None else None,
        "verified": True,
        "tables_verified": done.verified,
        "dropped": list(done.dropped),
    }


def sums(document: Document) -> Mapping[str, int]:
    """Rows to insert, update, delete and leave, over all tables of a document."""
    tables: Sequence[Mapping[str, int]] = document["tables"]
    return {what: sum(table[what] for table in tables) for what in COUNTS}


def in_words(document: Document) -> str:
    """The sums that are not zero: `5 rows inserted, 1,200 unchanged`, or `5 rows to insert ...`."""
    words = _DONE if document["verified"] else _TO_DO
    found = [(rows, words[what]) for what, rows in sums(document).items() if rows]
    said: list[str] = []
    if created := len(created_tables(document)):
        verb = "created" if document["verified"] else "to create"
        said.append(f"{count(created, 'table')} {verb}")
    if dropped := len(document.get("dropped", ())):
        said.append(f"{count(dropped, 'table')} dropped")
    if found:
        (first, what), *others = found
        said.append(f"{count(first, 'row')} {what}")
        said += [f"{rows:,} {word}" for rows, word in others]
    return ", ".join(said) or "no rows at all"


def has_changes(document: Document) -> bool:
    """Whether any row is written or deleted, any table created or dropped."""
    rows = any(rows for what, rows in sums(document).items() if what != "unchanged")
    return rows or bool(created_tables(document) or document.get("dropped"))


def created_tables(document: Document) -> Sequence[str]:
    """The tables that do not exist any more and are created."""
    if "objects" not in document:
        # Into an empty database everything is created, which needs no saying.
        return []
    return [table["table"] for table in document["tables"] if table.get("creates")]


def creations(document: Document) -> Sequence[str]:
    """What is created with tables that do not exist any more, and what is dropped."""
    verb = "created" if document["verified"] else "to create"
    lines = [f"{verb}: {text}" for text in document.get("objects", ())]
    return [*lines, *(f"dropped: table {name}" for name in document.get("dropped", ()))]


def touched(document: Document) -> Sequence[Mapping[str, Any]]:
    """The tables of a document that change, or that cannot."""
    worth = ("insert", "update", "delete", "refused", "creates")
    return [table for table in document["tables"] if any(table.get(what) for what in worth)]


def warnings(document: Document) -> Sequence[str]:
    """What is to be known of the tables that change, each with its table's name."""
    return [f"{t['table']}: {text}" for t in touched(document) for text in t["warnings"]]


def whole_document(entry: Manifest, into: str, seconds: float) -> Document:
    """What a restore of a whole backup into an empty database would do: inserts only."""
    nothing = {"update": 0, "delete": 0, "unchanged": 0, "changed_columns": {}}
    return {
        "backup": entry.id,
        "mode": "replace",
        "hash": None,
        "selection": "everything",
        "into": into,
        "tables": [
            {
                "table": table.qualified,
                "module": table.module,
                "insert": table.rows,
                **nothing,
                "creates": True,
                "warnings": [],
                "refused": [],
            }
            for table in entry.tables
        ],
        "refused": [],
        "closure": [],
        "safety_backup": None,
        "verified": False,
        "seconds": round(seconds, 3),
    }


def whole_restored_document(entry: Manifest, into: str, done: RestoreResult) -> Document:
    """What such a restore did, and the DDL that it left out, with the reasons."""
    return {
        **whole_document(entry, into, done.seconds),
        "verified": True,
        "skipped": list(done.skipped),
    }


def _table(table: TablePlan) -> Mapping[str, object]:
    return {
        "table": table.table,
        "module": table.module,
        "insert": table.insert,
        "update": table.update,
        "delete": table.delete,
        "unchanged": table.unchanged,
        "creates": table.creates,
        "changed_columns": dict(table.changed_columns),
        "warnings": list(table.warnings),
        "refused": list(table.refused),
    }
