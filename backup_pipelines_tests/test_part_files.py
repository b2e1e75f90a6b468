"""Parts in Parquet: small, and read back exactly by whoever reads Parquet."""

import io
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backup_pipelines.postgres.part_files import part_file
from backup_pipelines.storage.store import Store

_ROWS = 5000
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)


def rows() -> pa.RecordBatch:
    """Whole numbers and times that jump from one end of their range to the other, and NULLs."""
    dice = random.Random(7)

    def spread(ends: tuple[Any, Any], bits: int) -> list[Any]:
        half = 1 << (bits - 1)
        found = [dice.choice((None, *ends, dice.randrange(-half, half))) for _ in range(_ROWS)]
        return [None, *ends, *found][:_ROWS]

    numbers = {bits: spread((-(1 << (bits - 1)), (1 << (bits - 1)) - 1), bits) for bits in (16, 64)}
    moments = [dice.choice((None, _FIRST, _LAST)) for _ in range(_ROWS)]
    moments = [datetime.fromtimestamp(n, UTC) for n in range(_ROWS // 2)] + moments
    return pa.RecordBatch.from_arrays(
        [
            pa.array(numbers[16], pa.int16()),
            pa.array(numbers[64], pa.int64()),
            pa.array(range(_ROWS), pa.int64()),
            pa.array(moments[:_ROWS], pa.timestamp("us", "UTC")),
            pa.array([m and m.date() for m in moments[-_ROWS:]], pa.date32()),
            pa.array([n * 17 for n in range(_ROWS)], pa.time64("us")),
            pa.array([UUID(int=n).bytes for n in range(_ROWS)], pa.uuid()),
            pa.array([f"text {n}" for n in range(_ROWS)], pa.string()),
        ],
        names=["small", "big", "key", "moment", "day", "time", "uuid", "text"],
    )


@pytest.fixture
def written(store: Store) -> bytes:
    """The file of those rows, in two row groups."""
    batch = rows()
    with (
        store.writer("part.parquet") as sink,
        part_file("parquet", sink, batch.schema, batch) as write,
    ):
        write(batch.slice(0, _ROWS // 2))
        write(batch.slice(_ROWS // 2))
    return store.get("part.parquet")


def test_ends_of_the_ranges_are_read_back(written: bytes, tmp_path: Path) -> None:
    """Differences between the least and the greatest value wrap, and come back, in any reader."""
    assert pq.read_table(io.BytesIO(written)).equals(pa.Table.from_batches([rows()]))
    file = tmp_path / "part.parquet"
    file.write_bytes(written)
    found = duckdb.connect().execute(
        "SELECT small, big, key, epoch_us(moment), day, time, uuid, text FROM read_parquet(?)",
        [str(file)],
    )
    wanted = duckdb.from_arrow(pa.Table.from_batches([rows()])).project(
        "small, big, key, epoch_us(moment), day, time, uuid, text"
    )
    assert found.fetchall() == wanted.fetchall()


def test_keys_and_times_are_stored_as_differences(written: bytes) -> None:
    """What counts upwards takes next to nothing; texts have no minimum and maximum in the file."""
    group = pq.ParquetFile(io.BytesIO(written)).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    for name in ("big", "key", "moment", "time"):
        assert "DELTA_BINARY_PACKED" in columns[name].encodings, name
    assert columns["key"].total_compressed_size < _ROWS // 10
    assert [name for name, column in columns.items() if not column.is_stats_set] == ["text"]
