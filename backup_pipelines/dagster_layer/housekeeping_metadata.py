"""What Dagster shows of a prune, a comparison or a rebuild, from the document also printed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import metadata
from backup_pipelines.dagster_layer.labels import SUMMARY
from backup_pipelines.retention import housekeeping_report
from backup_pipelines.retention.housekeeping_report import Document
from backup_pipelines.wording import count, moment, size

# What is left out here is in the JSON of the run's output.
_LINES = 500

_VERDICTS = {"backup": "string", "verdict": "string", "size": "string", "why": "string"}
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
            "backups_removed": len(document["removed"]),
            "refused": metadata.bullets(
                [f"{r['backup']}: {r['problem']}" for r in document["refused"]]
            ),
        }
    frozen = [
        f"{one['guard']} since {_moment(one['at'])}: {one['message']}" for one in document["frozen"]
    ]
    unfinished = [f"{name}: {far}" for name, far in document["unfinished"].items()]
    rows = [_verdict(verdict) for verdict in document["verdicts"][:_LINES]]
    return {
        SUMMARY: _pruned(document),
        "dry_run": dg.MetadataValue.bool(document["dry_run"]),
        "backups_to_remove": len(document["remove"]),
        **done,
        "backups_kept": int(document["kept"]),
        "removed_bytes": int(document["bytes"]),
        "frozen": metadata.bullets(frozen),
        "unfinished": metadata.bullets(unfinished),
        "plan": dg.MetadataValue.md(_markdown(_VERDICTS, rows)),
        "verdicts": metadata.table(rows, _VERDICTS),
    }


def of_reconcile(document: Document) -> metadata.Metadata:
    """Counts of what does not agree, and the list of it."""
    repaired = document["repaired"]
    rows = _disagreements(document)[:_LINES]
    return {
        SUMMARY: _reconciled(document),
        "agrees": dg.MetadataValue.bool(document["agrees"]),
        "orphan_objects": len(document["orphans"]),
        "orphan_bytes": int(document["orphan_bytes"]),
        "backups_with_lost_objects": len(document["lost"]),
        "backups_unknown_to_catalog": len(document["unknown_to_catalog"]),
        "backups_missing_from_store": len(document["missing_from_store"]),
        "manifests_unreadable": len(document["unreadable"]),
        "marked_damaged": metadata.listed(document["marked_damaged"]) or "none",
        "objects_repaired": repaired["objects"] if repaired else 0,
        "found": dg.MetadataValue.md(_markdown(_FOUND, rows) if rows else "nothing"),
        "disagreements": metadata.table(rows, _FOUND),
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
            "verified_at": _moment(one["verified_at"]),
            "done": done.get(one["backup"], ""),
        }
        for one in document["backups"][:_LINES]
    ]
    names = ("added", "updated", "offered", "dropped", "unsealed", "damaged", "pinned")
    return {
        SUMMARY: housekeeping_report.rebuilt_in_words(document),
        "backups": len(document["backups"]),
        **{f"backups_{name}": len(document[name]) for name in names},
        **metadata.named(document["newest"] or "", "newest_backup"),
        "catalog": dg.MetadataValue.md(_markdown(_REBUILT, rows)),
    }


def _pruned(document: Document) -> str:
    """What a prune did, or would do, with its size in words."""
    stored, kept = size(int(document["bytes"])), count(int(document["kept"]), "backup")
    if document["dry_run"]:
        would = count(len(document["remove"]), "backup")
        return f"{would} would be removed, {stored}; {kept} would stay; nothing was removed"
    return f"{count(len(document['removed']), 'backup')} removed, {stored}; {kept} kept"


def _reconciled(document: Document) -> str:
    """What a comparison found, with the size of what belongs to no backup in words."""
    said = housekeeping_report.reconciled_in_words(document)
    orphans = int(document["orphan_bytes"])
    return f"{said} ({size(orphans)} of no backup)" if orphans else said


def _moment(iso: str) -> str:
    return moment(datetime.fromisoformat(iso)) if iso else ""


def _verdict(verdict: Mapping[str, Any]) -> dict[str, str | int]:
    return {
        "backup": verdict["backup"],
        "verdict": "keep" if verdict["keep"] else "remove",
        "size": size(verdict["size_bytes"] or 0),
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
        ("object of no backup", one["key"], size(one["size_bytes"])) for one in document["orphans"]
    ]
    return [{"what": what, "which": which, "how": how} for what, which, how in found]


def _markdown(columns: Mapping[str, str], rows: Sequence[Mapping[str, str | int]]) -> str:
    lines = [
        f"| {' | '.join(columns)} |",
        f"|{'|'.join('--:' if kind == 'int' else '---' for kind in columns.values())}|",
    ]
    for row in rows:
        cells = [f"{v:,}" if isinstance(v, int) else metadata.cell(v) for v in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
