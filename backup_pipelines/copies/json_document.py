"""One JSON document with all rows of a backup, for programs that want no more than the rows.

It is no backup: it has no DDL, no digests, and nothing reads it back.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute

from backup_pipelines import encryption
from backup_pipelines.csv.files import new_files
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.pace import Amount
from backup_pipelines.postgres.json_lines import objects
from backup_pipelines.postgres.texts import as_text
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.progress import Meter, Report
from backup_pipelines.storage.reading import read_back
from backup_pipelines.storage.store import Store
from backup_pipelines.timeline.sources import Holding, roots

BEGINS = b'{"system":'
"""The first bytes of every such document."""

_BOOL = "pg_catalog.bool"

# What every reader of JSON takes for what it is. Larger and broken numbers it may round.
_BARE = frozenset((_BOOL, "pg_catalog.int2", "pg_catalog.int4"))

# Of rows without columns, which need no memory.
_AT_ONCE = 10_000

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class Written:
    """The document that was made."""

    file: Path
    tables: int
    rows: int
    bytes: int


class _Out(Protocol):
    def write(self, data: bytes) -> None: ...


def write(store: Store, entry: Manifest, to: Path, *, report: Report) -> Written:
    """Make the document of a backup, each of whose objects is read back before.

    A partitioned table comes with the rows of its partitions. Raises Refused when `to` exists and
    for a backup that no identity here opens, Damaged when an object is not as it was written; no
    file is left then.
    """
    if not to.name:
        raise Refused(f"{to} is no file that can be made: name one, such as {entry.system}.json")
    encryption.refuse_closed(entry)
    tables = roots(entry.tables)
    with new_files(to.absolute().parent) as files:
        files.refuse_existing([to.name])
        with files.new(to.name) as out:
            rows = _document(store, entry, tables, out, report)
    return Written(to, len(tables), rows, out.size_bytes)


def _document(
    store: Store, entry: Manifest, tables: Mapping[str, Holding], out: _Out, report: Report
) -> int:
    out.write(BEGINS + _json(entry.system))
    out.write(b',"backup":' + _json(entry.id))
    out.write(b',"snapshot_at":' + _json(entry.snapshot_at.isoformat()) + b',"tables":{')
    total = 0
    whole = Amount(sum(holding.rows for holding in tables.values()))
    with Meter(f"{entry.system}: downloading", report, whole) as meter:
        for number, (name, holding) in enumerate(tables.items()):
            columns = [{"name": c.name, "type": c.type} for c in holding.table.columns]
            out.write((b"," if number else b"") + b"\n" + _json(name))
            out.write(b':{"columns":' + _json(columns) + b',"rows":[')
            rows = _rows(store, holding, out, meter) if columns else _empty_rows(holding.rows, out)
            out.write(b"\n]}")
            total += rows
    out.write(b"\n}}\n")
    return total


def _rows(store: Store, holding: Holding, out: _Out, meter: Meter) -> int:
    types = {column.name: column.base_type for column in holding.table.columns}
    bare = {name for name, kind in types.items() if kind in _BARE}
    rows = 0
    for leaf in holding.leaves:
        for part in leaf.parts:
            read_back(store, part.key, part.size_bytes, part.sha256)
        for batch in stored_batches(store, leaf, list(types)):
            pairs = zip(batch.columns, types.values(), strict=True)
            values = [_words(column) if kind == _BOOL else column for column, kind in pairs]
            made = memoryview(objects(list(types), values, bare=bare, before=",\n", after=""))
            # The very first has none before it.
            out.write(bytes(made if rows else made[1:]))
            rows += batch.num_rows
            meter.add(batch.num_rows, what=holding.table.qualified)
    return rows


def _words(values: pa.Array) -> pa.Array:
    return _compute.if_else(_compute.equal(as_text(values), "t"), "true", "false")


def _empty_rows(rows: int, out: _Out) -> int:
    """Rows of a table that has no columns."""
    for start in range(0, rows, _AT_ONCE):
        made = ",\n{}" * min(_AT_ONCE, rows - start)
        out.write(made.removeprefix("" if start else ",").encode())
    return rows


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
