"""What the command line prints: one JSON document or tables on stdout, progress on stderr."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict

from backup_pipelines import catalog, encryption
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.wording import age, clean, count, size

Tell = Callable[[str], None]


class _Module(TypedDict):
    module: str
    tables_count: int
    records_count: int
    size_bytes: int


_GAP = "  "
_NARROWEST = 8
_ELLIPSIS = "…"


def print_json(value: object) -> None:
    """Print one JSON document; in ASCII, so that no terminal setting can break it."""
    print(json.dumps(value, indent=2, default=str))


def tell(line: str) -> None:
    """Print something that is not the result: on stderr."""
    print(line, file=sys.stderr, flush=True)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Print rows under their headings; a narrow terminal cuts the widest columns.

    `numbers` go to the right; `whole` columns, which people copy, are never cut.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    # Empty columns tell nothing, and take the room of others.
    used = [i for i in range(len(columns)) if not cells or any(row[i] for row in cells)]
    lines = [[columns[i] for i in used], *([row[i] for i in used] for row in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    headings = lines[0]
    _fit(widths, [heading in (*whole, *numbers) for heading in headings], _width())
    for line in lines:
        parts = [
            _cell(text, width, heading in numbers)
            for text, width, heading in zip(line, widths, headings, strict=True)
        ]
        print(_GAP.join(parts).rstrip())


def content(entry: Manifest) -> str:
    """How much a backup holds."""
    tables, rows = count(entry.tables_count, "table"), count(entry.records_count, "row")
    return f"{tables}, {rows}, {size(entry.size_bytes)}"


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
    )


def print_backup(entry: Manifest, known: catalog.States = catalog.NOTHING_KNOWN) -> None:
    """Print everything that people ask of one backup."""
    described = catalog.describe(entry, known)
    verified_at = described.verified_at
    print_facts(
        [
            ("backup", entry.id),
            ("status", described.status),
            ("verified", verified_at and f"{verified_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("pinned", "yes" if described.pinned else ""),
            ("label", entry.label),
            ("created", f"{entry.created_at:%Y-%m-%d %H:%M:%S} UTC, {age(entry.created_at)}"),
            ("snapshot", f"{entry.snapshot_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("by", entry.created_by),
            ("reason", entry.reason),
            ("scope", entry.scope),
            ("content", content(entry)),
            ("sequences", len(entry.sequences)),
            ("encrypted", encryption.in_words(entry)),
            ("copy of", next(reversed(entry.copy_of), "")),
            ("database", f"{entry.database}, PostgreSQL {entry.server_version // 10000}"),
            ("run", entry.run_id),
        ]
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


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Print names and values, without the empty ones."""
    there = [(name, clean(value)) for name, value in facts if value not in ("", None)]
    width = max((len(name) for name, _ in there), default=0)
    for name, value in there:
        print(f"{name:<{width}}{_GAP}{value}")


@contextmanager
def progress(title: str) -> Generator[Tell, None, None]:
    """Show on stderr what is being done: one live line on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        tell(title)
        yield tell
        return
    # Its import takes a tenth of a second, which only those pay who look at it.
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    room = Column(no_wrap=True, overflow="ellipsis")
    bar = Progress(
        SpinnerColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=room),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(clean(title), total=None)
        yield lambda line: bar.update(task, description=clean(line))


def _width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _fit(widths: list[int], whole: Sequence[bool], room: int | None) -> None:
    """Narrow the widest columns that may be cut, until all fit or none is wide."""
    if room is None:
        return
    room -= len(_GAP) * (len(widths) - 1)
    may = [i for i, uncut in enumerate(whole) if not uncut]
    while sum(widths) > room and may:
        widest = max(may, key=lambda i: widths[i])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _cell(text: str, width: int, to_the_right: bool) -> str:
    if len(text) > width:
        text = text[: width - 1] + _ELLIPSIS
    return text.rjust(width) if to_the_right else text.ljust(width)
