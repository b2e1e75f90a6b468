"""Differences as one Parquet file, every value as PostgreSQL's text."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.timeline.differences import Differences, RowDifference

_VALUES = pa.map_(pa.string(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("op", pa.string(), nullable=False),
        pa.field("key", _VALUES),
        pa.field("changed", pa.list_(pa.string())),
        pa.field("before", _VALUES),
        pa.field("after", _VALUES),
    ]
)
"""A row for each row that differs; `before` is null of an insert, `after` of a delete."""

# Some MB at most, however wide the rows are.
_ROWS_AT_ONCE = 5000


def refuse_existing(path: Path) -> None:
    """Raise Refused for a file that is there, or whose folder is not."""
    if os.path.lexists(path):
        raise Refused(f"{path} exists: remove it, or choose another file")
    if not path.parent.is_dir():
        raise Refused(f"there is no folder {path.parent} for {path.name}")


def write(found: Differences, path: Path) -> int:
    """Write every row that differs to a new file, and say how many.

    Raises Refused as `refuse_existing`, Failed when it cannot be written; no half of one is left.
    """
    refuse_existing(path)
    unfinished = path.with_name(path.name + ".part")
    try:
        # The rows are nobody else's to read.
        number = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "wb") as out, pq.ParquetWriter(out, SCHEMA) as writer:
            count = sum(map(len, _written(found, writer)))
        refuse_existing(path)
        unfinished.rename(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise Failed(f"{path} cannot be written ({error.strerror})") from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return count


def _written(found: Differences, writer: pq.ParquetWriter) -> Iterator[list[RowDifference]]:
    rows = (row for table in found.tables for row in found.rows(table, None))
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        writer.write_table(pa.Table.from_pylist([_record(row) for row in batch], SCHEMA))
        yield batch


def _record(row: RowDifference) -> dict[str, object]:
    return {
        "table": row.table,
        "op": row.op,
        "key": list(row.key.items()),
        "changed": list(row.changed),
        "before": None if row.before is None else list(row.before.items()),
        "after": None if row.after is None else list(row.after.items()),
    }
