"""The files that parts are: Parquet, or JSON Lines in zstd, written batch by batch."""

from types import TracebackType
from typing import Any, Protocol

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


class PartFile(Protocol):
    """A file of rows that is being written; whole when its block was left."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows, which are as the manifest describes their columns."""
        ...

    def __enter__(self) -> "PartFile": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def part_file(
    format: Format,
    sink: ObjectWriter | EncryptingWriter,
    schema: pa.Schema,
    head: pa.RecordBatch | None,
) -> PartFile:
    """A new file in the sink; `head` are its first rows, if it has any."""
    return JsonLinesFile(sink) if format == "jsonl" else ParquetFile(sink, schema, head)


class ParquetFile:
    """Rows as Parquet."""

    def __init__(
        self,
        sink: ObjectWriter | EncryptingWriter,
        schema: pa.Schema,
        head: pa.RecordBatch | None,
    ) -> None:
        self._writer = pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=_few_valued(schema, head),  # pyright: ignore[reportArgumentType]
            # A restore that reads other bytes than the verification before it must notice.
            write_page_checksum=True,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a row group."""
        self._writer.write_batch(batch)

    def __enter__(self) -> "ParquetFile":
        self._writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)


class JsonLinesFile:
    """Rows as JSON Lines, a frame of zstd for each batch."""

    def __init__(self, sink: ObjectWriter | EncryptingWriter) -> None:
        self._sink = sink
        self._zstd = pa.Codec("zstd", compression_level=_ZSTD_LEVEL)
        self._is_empty = True

    def write(self, batch: pa.RecordBatch) -> None:
        """Append lines."""
        self._append(lines(batch))

    def __enter__(self) -> "JsonLinesFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A file without a byte is none of zstd's, and its tool says so.
        if kind is None and self._is_empty:
            self._append(pa.py_buffer(b""))

    def _append(self, data: pa.Buffer) -> None:
        self._sink.write(self._zstd.compress(data))
        self._is_empty = False


def _few_valued(schema: pa.Schema, batch: pa.RecordBatch | None) -> list[str] | bool:
    if batch is None:
        return False
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
