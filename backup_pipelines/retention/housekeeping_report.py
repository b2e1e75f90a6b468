"""The JSON documents of prune, delete, reconcile and rebuild: runs keep, commands print them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backup_pipelines.retention.prune import Pruned, PrunePlan
    from backup_pipelines.retention.reconcile import Reconciled, Repaired
    from backup_pipelines.retention.removal import Removed

Document = Mapping[str, Any]


def plan_document(plan: "PrunePlan") -> Document:
    """What a prune would do."""
    return {
        "system": plan.system,
        "dry_run": True,
        "remove": list(plan.remove),
        "kept": len(plan.verdicts) - len(plan.remove),
        "bytes": plan.bytes,
        "frozen": [
            {"guard": one.guard, "at": one.at.isoformat(), "message": one.message}
            for one in plan.frozen
        ],
        "unfinished": dict(plan.unfinished),
        "verdicts": [
            {
                "backup": verdict.id,
                "keep": verdict.keep,
                "size_bytes": plan.sizes.get(verdict.id),
                "reasons": list(verdict.reasons),
            }
            for verdict in plan.verdicts
        ],
    }


def pruned_document(done: "Pruned") -> Document:
    """What a prune did, with the plan that it followed."""
    return {
        **plan_document(done.plan),
        "dry_run": False,
        "kept": done.kept,
        "bytes": sum(one.bytes for one in done.removed),
        "frozen": [
            {"guard": one.guard, "at": one.at.isoformat(), "message": one.message}
            for one in done.frozen
        ],
        "removed": [removed_document(one) for one in done.removed],
        "refused": [removed_document(one) for one in done.refused],
    }


def removed_document(removed: "Removed") -> Document:
    """What became of the removal of one backup."""
    return {
        "backup": removed.id,
        "objects": removed.objects,
        "bytes": removed.bytes,
        "problem": removed.problem,
        "kept": removed.kept,
    }


def reconciled_document(
    system: str, found: "Reconciled", marked: Iterable[str], repaired: "Repaired | None"
) -> Document:
    """What does not agree, what was marked as damaged, and what a repair has removed."""
    return {
        "system": system,
        "agrees": found.agrees,
        "orphans": [{"key": key, "size_bytes": size} for key, size in found.orphans],
        "orphan_bytes": sum(size for _, size in found.orphans),
        "lost": {backup_id: list(problems) for backup_id, problems in found.lost.items()},
        "unknown_to_catalog": list(found.unknown_to_catalog),
        "missing_from_store": list(found.missing_from_store),
        "unreadable": list(found.unreadable),
        "marked_damaged": list(marked),
        "repaired": None
        if repaired is None
        else {"objects": repaired.objects, "bytes": repaired.bytes},
    }


def plan_in_words(document: Document) -> str:
    """A prune plan in a sentence."""
    frozen = ", ".join(one["guard"] for one in document["frozen"])
    would = f"{len(document['remove'])} of {len(document['verdicts'])} backups would be removed"
    would += f", {document['bytes']:,} bytes"
    return would + (f", were it not frozen by {frozen}" if frozen else "")


def pruned_in_words(document: Document) -> str:
    """What a prune did, in a sentence."""
    said = f"{len(document['removed'])} removed, {document['bytes']:,} bytes; "
    said += f"{document['kept']} kept"
    if document["refused"]:
        said += f"; {len(document['refused'])} could not be removed"
    frozen = ", ".join(one["guard"] for one in document["frozen"])
    return said + (f"; frozen by {frozen}" if frozen else "")


def reconciled_in_words(document: Document) -> str:
    """What a comparison found, in a sentence."""
    counts = {
        "objects of no backup": len(document["orphans"]),
        "backups with lost objects": len(document["lost"]),
        "backups that the catalog lacked": len(document["unknown_to_catalog"]),
        "backups that the store lacks": len(document["missing_from_store"]),
        "manifests that cannot be read": len(document["unreadable"]),
    }
    found = [f"{number} {what}" for what, number in counts.items() if number]
    return ", ".join(found) or "store, manifests and catalog agree"


def rebuilt_in_words(document: Document) -> str:
    """What a rebuild of the catalog did, in a sentence."""
    backups = f"{len(document['backups'])} backups in the store"
    counts = {
        "brought back": len(document["added"]),
        "put right": len(document["updated"]),
        "taken from the drop-down": len(document["dropped"]),
    }
    done = [f"{number} {what}" for what, number in counts.items() if number]
    return f"{backups}: {', '.join(done) or 'the catalog has them all'}"
