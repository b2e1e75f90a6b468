"""What the command line prints: one JSON document or tables on stdout, progress on stderr."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict

from backup_pipelines import catalog, encryption
from backup_pipelines.cli import tables
from backup_pipelines.cli.tables import Form, Screen
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.wording import age, clean, count, moment, size

Tell = Callable[[str], None]


class _Module(TypedDict):
    module: str
    tables_count: int
    records_count: int
    size_bytes: int


def print_json(value: object) -> None:
    """Print one JSON document; in ASCII, so that no terminal setting can break it."""
    print(json.dumps(value, indent=2, default=str))


def tell(line: str) -> None:
    """Print something that is not the result: on stderr."""
    print(line, file=sys.stderr, flush=True)


def screen() -> Screen:
    """What stdout is: its width on a terminal, and whether colours may be used."""
    if not sys.stdout.isatty():
        return Screen()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"
    return Screen(shutil.get_terminal_size().columns, not plain)


def painted(text: str, status: str) -> str:
    """The text in the colour of a status, where stdout shows colours."""
    return screen().painted(text, status)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
    statuses: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print rows under their headings, as wide as the terminal; `tables.Form` tells the rest."""
    form = Form(numbers, whole, statuses, spare)
    for line in tables.table(columns, rows, form, screen()):
        print(line)


def content(entry: Manifest) -> str:
    """How much a backup holds."""
    tables, rows = count(entry.tables_count, "table"), count(entry.records_count, "row")
    return f"{tables}, {rows}, {size(entry.size_bytes)}"


def _new_in(entry: Manifest) -> str:
    """What was written for this backup, where it names parts of earlier ones."""
    if entry.reuse is None:
        return ""
    parts = count(entry.reuse.parts, "part")
    return (
        f"{size(entry.added_bytes)}; {parts} of earlier backups, compared with {entry.reuse.backup}"
    )


def print_backups(found: Sequence[Manifest], known: catalog.States = catalog.NOTHING_KNOWN) -> None:
    """Print backups as a table."""
    print_table(
        ("backup", "status", "pinned", "age", "tables", "rows", "size", "module", "by", "label"),
        [
            (
                entry.id,
                catalog.describe(entry, known).status,
                "pinned" if entry.id in known.pinned else "",
                age(entry.created_at),
                entry.tables_count,
                f"{entry.records_count:,}",
                size(entry.size_bytes),
                # Single tables are less than their modules.
                f"{entry.module} (part)" if entry.scope == "tables" else entry.module,
                entry.created_by,
                entry.label,
            )
            for entry in found
        ],
        numbers=("tables", "rows", "size"),
        whole=("backup",),
        statuses=("status",),
        spare=("label", "by", "module", "pinned", "tables"),
    )


def print_backup(entry: Manifest, known: catalog.States = catalog.NOTHING_KNOWN) -> None:
    """Print everything that people ask of one backup."""
    described = catalog.describe(entry, known)
    verified_at = described.verified_at
    print_facts(
        [
            ("backup", entry.id),
            ("status", described.status),
            ("verified", verified_at and moment(verified_at, seconds=True)),
            ("pinned", "yes" if described.pinned else ""),
            ("label", entry.label),
            ("created", f"{moment(entry.created_at, seconds=True)}, {age(entry.created_at)}"),
            ("snapshot", moment(entry.snapshot_at, seconds=True)),
            ("by", entry.created_by),
            ("reason", entry.reason),
            ("scope", entry.scope),
            ("content", content(entry)),
            ("new in it", _new_in(entry)),
            ("sequences", len(entry.sequences)),
            ("encrypted", encryption.in_words(entry)),
            ("copy of", next(reversed(entry.copy_of), "")),
            ("database", f"{entry.database}, PostgreSQL {entry.server_version // 10000}"),
            ("run", entry.run_id),
        ],
        status="status",
    )
    print()
    print_table(
        ("module", "tables", "rows", "size"),
        [
            (
                module["module"],
                module["tables_count"],
                f"{module['records_count']:,}",
                size(module["size_bytes"]),
            )
            for module in _modules(entry)
        ],
        numbers=("tables", "rows", "size"),
    )
    print()
    print_table(
        ("table", "module", "rows", "size", "digest"),
        [
            (t.qualified, t.module, f"{t.rows:,}", size(t.size_bytes), t.digest)
            for t in entry.tables
        ],
        numbers=("rows", "size"),
        whole=("digest",),
    )
    if entry.excluded:
        print()
        print_table(("left out", "reason"), [(left.name, left.reason) for left in entry.excluded])
    for warning in entry.warnings:
        print(f"warning: {clean(warning)}")


def backup_document(
    entry: Manifest, known: catalog.States = catalog.NOTHING_KNOWN
) -> Mapping[str, object]:
    """What `show --json` prints: the catalog row, the tables, and what is not in them."""
    return {
        **catalog.row(entry, known),
        "reason": entry.reason,
        "run_id": entry.run_id,
        "database": entry.database,
        "server_version": entry.server_version,
        "modules": _modules(entry),
        "tables": [_table(table) for table in entry.tables],
        "excluded": [{"table": left.name, "reason": left.reason} for left in entry.excluded],
        "encryption": _encryption(entry),
        "sequences_count": len(entry.sequences),
        "warnings": list(entry.warnings),
    }


def _encryption(entry: Manifest) -> Mapping[str, object] | None:
    """To whom a backup is encrypted, and whether it opens here; None without an identity."""
    if entry.encryption is None:
        return None
    found = encryption.closed([entry])
    opens = None if found is None or isinstance(found, str) else not found
    return {"recipients": list(entry.encryption.recipients), "opens": opens}


def _modules(entry: Manifest) -> list[_Module]:
    """What each module holds, in the order of the YAML."""
    made: dict[str, _Module] = {}
    order = {module: position for position, module in enumerate(entry.modules)}
    for table in sorted(entry.tables, key=lambda table: order.get(table.module, len(order))):
        module = made.setdefault(
            table.module,
            {"module": table.module, "tables_count": 0, "records_count": 0, "size_bytes": 0},
        )
        module["tables_count"] += table.partition_of is None
        module["records_count"] += table.rows
        module["size_bytes"] += table.size_bytes
    return list(made.values())


def _table(table: Table) -> Mapping[str, object]:
    return {
        "table": table.qualified,
        "module": table.module,
        "rows": table.rows,
        "size_bytes": table.size_bytes,
        "digest": table.digest,
        "parts": len(table.parts),
        "partition_of": table.partition_of,
    }


def print_facts(facts: Sequence[tuple[str, object]], *, status: str = "") -> None:
    """Print names and values, without the empty ones; that of `status` in its colour."""
    for line in tables.facts(facts, screen(), status=status):
        print(line)


@contextmanager
def progress(title: str) -> Generator[Tell, None, None]:
    """Show on stderr what is being done: one live line on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        tell(title)
        yield tell
        return
    # Its import takes a tenth of a second, which only those pay who look at it.
    from backup_pipelines.cli.live import shown

    with shown(title) as show:
        yield show
