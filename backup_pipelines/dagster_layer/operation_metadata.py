"""How the UI shows who did what: the newest records of the audit trail."""

from collections.abc import Sequence

import dagster as dg

from backup_pipelines.dagster_layer import metadata
from backup_pipelines.trail.audit import Record

# Refused and failed ones are looked for among so many; `backup-pipelines audit` reads all.
_LOOKED_AT = 100
_SHOWN = 25
_BAD_ONES = 5


def newest(system: str, records: Sequence[Record]) -> metadata.Metadata:
    """The newest operations, and the newest that were refused or have failed, as tables."""
    found = records[:_LOOKED_AT]
    bad = [record for record in found if record.outcome != "done"]
    left = len(found) - _SHOWN
    more = f"\n\nOlder ones: `backup-pipelines audit {system}`." if left > 0 else ""
    none = f"none of the last {len(found)} operations"
    return {
        "refused_or_failed": dg.MetadataValue.md(_table(bad[:_BAD_ONES]) if bad else none),
        "who_did_what": dg.MetadataValue.md(_table(found[:_SHOWN]) + more if found else "nothing"),
    }


def _table(records: Sequence[Record]) -> str:
    lines = ["| when (UTC) | what | ended | who | run | said |", "|---|---|---|---|---|---|"]
    for one in records:
        run = f"[{one.run_id[:8]}](/runs/{one.run_id})" if one.run_id else ""
        said = " ".join(part for part in (one.backup, one.message, _why(one)) if part)
        cells = (f"{one.at:%Y-%m-%d %H:%M:%S}", one.operation, one.outcome, one.operator)
        shown = " | ".join([*map(metadata.cell, cells), run, metadata.cell(said)])
        lines.append(f"| {shown} |")
    return "\n".join(lines)


def _why(record: Record) -> str:
    return f"({record.reason})" if record.reason else ""
