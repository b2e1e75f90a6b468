"""The files that parts are: Parquet, or JSON Lines in zstd, written batch by batch."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from backup_pipelines.layout import Format
from backup_pipelines.postgres.json_lines import lines
from backup_pipelines.storage.encrypting import EncryptingWriter
from backup_pipelines.storage.object_writer import ObjectWriter

# More takes several times as long, for a tenth of the bytes where there is much to gain.
_ZSTD_LEVEL = 1

# Dictionaries pay for columns with few values only: told from the head of the first batch.
_SAMPLE_ROWS = 4096
_FEW_VALUES = 0.05

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute


@contextmanager
def part_file(
    format: Format,
    sink: ObjectWriter | EncryptingWriter,
    schema: pa.Schema,
    head: pa.RecordBatch | None,
) -> Generator[Callable[[pa.RecordBatch], object]]:
    """What appends rows to a new file in the sink, which is whole when the block was left.

    `head` are its first rows, None where it has none. Rows are as the manifest describes their
    columns; a batch becomes a row group of Parquet, or a frame of zstd.
    """
    if format == "parquet":
        few = _few_valued(schema, head)
        with pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=few,  # pyright: ignore[reportArgumentType]
            column_encoding=_encodings(schema, few),
            # Of texts they cost the most, and prune nothing: rows are not in their order.
            write_statistics=_ordered(schema) or False,  # pyright: ignore[reportArgumentType]
            # A restore that reads other bytes than the verification before it must notice.
            write_page_checksum=True,
        ) as writer:
            yield writer.write_batch
        return
    zstd = pa.Codec("zstd", compression_level=_ZSTD_LEVEL)

    def append(batch: pa.RecordBatch) -> None:
        sink.write(zstd.compress(lines(batch)))

    yield append
    if head is None:
        # A file without a byte is none of zstd's, and its tool says so.
        sink.write(zstd.compress(pa.py_buffer(b"")))


def _few_valued(schema: pa.Schema, batch: pa.RecordBatch | None) -> list[str]:
    if batch is None:
        return []
    head = batch.slice(0, _SAMPLE_ROWS)
    found: list[str] = []
    for number, named in enumerate(schema):
        values = head.column(number)
        if not pa.types.is_nested(values.type) and not isinstance(
            values.type, pa.BaseExtensionType
        ):
            distinct = _compute.count_distinct(values).as_py()
            if distinct <= max(2, len(head) * _FEW_VALUES):
                found.append(named.name)
    return found


def _encodings(schema: pa.Schema, few: list[str]) -> dict[str, str] | None:
    """Whole numbers and times go as differences, unless they have a dictionary."""
    found = {
        named.name: "DELTA_BINARY_PACKED"
        for named in schema
        if named.name not in few and _is_whole(named.type)
    }
    return found or None


def _ordered(schema: pa.Schema) -> list[str]:
    """The columns in whose order rows often lie: keys and times."""
    return [
        named.name
        for named in schema
        if _is_whole(named.type) or isinstance(named.type, pa.UuidType)
    ]


def _is_whole(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_temporal(kind)
