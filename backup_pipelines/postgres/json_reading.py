"""Reading parts that are JSON Lines in zstd, some MB at a time, however long a line is."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.json as pajson

# Lines are parsed in blocks of about this size: memory stays flat, and calls are few.
_BLOCK = 4 * 1024 * 1024

# Arrow's parser counts the bytes of a block in 32 bits.
_LONGEST_LINE = 2**31 - 2


class Hashed(io.RawIOBase):
    """A stream that is hashed while it is read."""

    def __init__(self, source: IO[bytes] | io.RawIOBase) -> None:
        super().__init__()
        self._source: Any = source
        self._digest = hashlib.sha256()
        self._size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = bytes(self._source.read(size))
        self._digest.update(data)
        self._size += len(data)
        return data

    def seen(self) -> tuple[int, str]:
        """Size and sha256 of what was read."""
        return self._size, self._digest.hexdigest()


def parsed(
    source: Any, names: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, bytes]]:
    """The named columns of all lines as texts, some MB at a time, with the lines they are of.

    `names` are all columns of the table. Raises ArrowException or OSError for what is no such file.
    """
    schema = pa.schema([pa.field(name, pa.string()) for name in columns])
    options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    is_first = True
    for block in _blocks(source):
        _refuse_other_lines(block)
        if is_first and _names(block) != list(names):
            raise pa.ArrowInvalid("its rows have other columns than the table")
        is_first = False
        for batch in _table(block, options).select(list(columns)).combine_chunks().to_batches():
            # The parser takes any bytes for text.
            batch.validate(full=True)
            yield batch, block


def _refuse_other_lines(block: bytes) -> None:
    """Raise ArrowInvalid unless every line is an object: of `null` the parser dies."""
    rows = block.count(b"\n")
    begun = block.startswith(b'{"') + block.count(b'\n{"')
    if not rows == begun == block.count(b"}\n"):
        raise pa.ArrowInvalid("a line is no JSON object")


def _names(block: bytes) -> list[str]:
    """The columns of the first line."""
    return _table(block[: block.index(b"\n")], pajson.ParseOptions()).schema.names


def _table(block: bytes, options: pajson.ParseOptions) -> pa.Table:
    if len(block) > _LONGEST_LINE:
        raise pa.ArrowInvalid(f"a row of {len(block):,} bytes is longer than can be read")
    # As one block of the parser too: it takes no row that is in two.
    settings = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        return pajson.read_json(pa.BufferReader(block), settings, options)
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"a name is no UTF-8 ({error})") from error


def _blocks(source: Any) -> Iterator[bytes]:
    """Whole lines, some MB of them or one that is longer."""
    left: list[bytes] = []
    with pa.CompressedInputStream(source, "zstd") as plain:
        while piece := plain.read(_BLOCK):
            end = piece.rfind(b"\n") + 1
            if not end:
                left.append(piece)
                continue
            yield b"".join((*left, piece[:end]))
            left = [piece[end:]] if end < len(piece) else []
    if left:
        raise pa.ArrowInvalid("its last line has no end")
