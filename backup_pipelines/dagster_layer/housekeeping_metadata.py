"""What Dagster shows of a prune, a comparison or a rebuild, from the document also printed."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import metadata
from backup_pipelines.retention.housekeeping_report import Document

# What is left out here is in the JSON of the run's output.
_LINES = 500

_VERDICTS = {"backup": "string", "verdict": "string", "bytes": "int", "why": "string"}
_REBUILT = {
    "backup": "string",
    "status": "string",
    "pinned": "string",
    "verified_at": "string",
    "done": "string",
}
_FOUND = {"what": "string", "which": "string", "how": "string"}


def of_prune(document: Document) -> metadata.Metadata:
    """Every backup's verdict with its reasons, what went, and what stood against it."""
    done: dict[str, metadata.Value] = {}
    if not document["dry_run"]:
        done = {
            "removed": len(document["removed"]),
            "refused": _listed([f"{r['backup']}: {r['problem']}" for r in document["refused"]]),
        }
    frozen = [f"{one['guard']} since {one['at']}: {one['message']}" for one in document["frozen"]]
    unfinished = [f"{name}: {far}" for name, far in document["unfinished"].items()]
    rows = [_verdict(verdict) for verdict in document["verdicts"][:_LINES]]
    return {
        "dry_run": dg.MetadataValue.bool(document["dry_run"]),
        "planned": len(document["remove"]),
        **done,
        "kept": int(document["kept"]),
        "size_bytes": int(document["bytes"]),
        "frozen": _listed(frozen),
        "unfinished": _listed(unfinished),
        "plan": dg.MetadataValue.md(_markdown(_VERDICTS, rows)),
        "verdicts": _table(_VERDICTS, rows),
    }


def of_reconcile(document: Document) -> metadata.Metadata:
    """Counts of what does not agree, and the list of it."""
    repaired = document["repaired"]
    rows = _disagreements(document)[:_LINES]
    return {
        "agrees": dg.MetadataValue.bool(document["agrees"]),
        "orphans": len(document["orphans"]),
        "orphan_bytes": int(document["orphan_bytes"]),
        "lost": len(document["lost"]),
        "unknown_to_catalog": len(document["unknown_to_catalog"]),
        "missing_from_store": len(document["missing_from_store"]),
        "unreadable": len(document["unreadable"]),
        "marked_damaged": ", ".join(document["marked_damaged"]) or "none",
        "repaired_objects": repaired["objects"] if repaired else 0,
        "found": dg.MetadataValue.md(_markdown(_FOUND, rows) if rows else "nothing"),
        "rows": _table(_FOUND, rows),
    }


def of_rebuild(document: Document) -> metadata.Metadata:
    """Counts of what was brought back, and the list of all backups."""
    done = dict.fromkeys(document["updated"], "put right")
    done |= dict.fromkeys(document["added"], "brought back")
    rows = [
        {
            "backup": str(one["backup"]),
            "status": f"{one['status']}: {one['error']}" if one["error"] else str(one["status"]),
            "pinned": "pinned" if one["pinned"] else "",
            "verified_at": str(one["verified_at"]),
            "done": done.get(one["backup"], ""),
        }
        for one in document["backups"][:_LINES]
    ]
    names = ("backups", "added", "updated", "offered", "dropped", "unsealed", "damaged", "pinned")
    return {
        **{name: len(document[name]) for name in names},
        "newest": document["newest"] or "none",
        "catalog": dg.MetadataValue.md(_markdown(_REBUILT, rows)),
    }


def _verdict(verdict: Mapping[str, Any]) -> dict[str, str | int]:
    return {
        "backup": verdict["backup"],
        "verdict": "keep" if verdict["keep"] else "remove",
        "bytes": verdict["size_bytes"] or 0,
        "why": "; ".join(verdict["reasons"]),
    }


def _disagreements(document: Document) -> list[dict[str, str | int]]:
    found = [
        ("backup with lost objects", backup_id, problem)
        for backup_id, problems in document["lost"].items()
        for problem in problems
    ]
    found += [("manifest that cannot be read", "", problem) for problem in document["unreadable"]]
    found += [("backup that the store lacks", name, "") for name in document["missing_from_store"]]
    found += [
        ("backup that the catalog lacked", name, "") for name in document["unknown_to_catalog"]
    ]
    found += [
        ("object of no backup", one["key"], f"{one['size_bytes']:,} bytes")
        for one in document["orphans"]
    ]
    return [{"what": what, "which": which, "how": how} for what, which, how in found]


def _table(
    columns: Mapping[str, str], rows: Sequence[Mapping[str, str | int]]
) -> dg.TableMetadataValue:
    # Without a schema Dagster refuses a list of no records.
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema)


def _markdown(columns: Mapping[str, str], rows: Sequence[Mapping[str, str | int]]) -> str:
    lines = [
        f"| {' | '.join(columns)} |",
        f"|{'|'.join('--:' if kind == 'int' else '---' for kind in columns.values())}|",
    ]
    for row in rows:
        cells = [f"{v:,}" if isinstance(v, int) else _cell(v) for v in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _listed(lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in lines) or "none")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
