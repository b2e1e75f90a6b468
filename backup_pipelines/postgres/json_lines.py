"""Rows as JSON Lines: how they are printed. `json_reading.py` reads them.

A line is one row: an object with every column by its name, in table order, each value null or a
string with PostgreSQL's text. No reader can round a string. The bytes are those of Python's
`json.dumps(row, ensure_ascii=False, separators=(",", ":"))`.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from backup_pipelines.postgres.texts import as_text

_LARGE = pa.large_string()

# What JSON escapes in a string: a backslash first, since the others bring new ones.
_ESCAPED = ("\\", '"', *map(chr, range(0x20)))

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute


def lines(batch: pa.RecordBatch) -> pa.Buffer:
    """The lines of a batch as a backup holds it."""
    return objects(batch.schema.names, batch.columns)


def objects(
    names: Sequence[str],
    columns: Sequence[pa.Array],
    *,
    bare: Collection[str] = (),
    before: str = "",
    after: str = "\n",
) -> pa.Buffer:
    """Rows as JSON objects, each with a text before and after it, one behind the other.

    The columns named `bare` hold texts that are JSON themselves; they come without quotes.
    """
    pieces: list[pa.Array] = []
    opening = before + "{"
    for name, values in zip(names, columns, strict=True):
        key = f"{opening}{_quoted(name)}:"
        pieces.append(_member(key, as_text(values), bare=name in bare))
        opening = ","
    rows = _joined(*pieces, "}" + after)
    _, ends, data = rows.buffers()
    bounds = pa.Array.from_buffers(pa.int64(), len(rows) + 1, [None, ends], offset=rows.offset)
    first, last = bounds[0].as_py(), bounds[len(rows)].as_py()
    return data.slice(first, last - first) if data is not None else pa.py_buffer(b"")


def _member(key: str, values: pa.Array, *, bare: bool) -> pa.Array:
    """A key with each of its values; strings unless they are bare."""
    quote = "" if bare else '"'
    texts = values.cast(_LARGE) if bare else _escaped(values.cast(_LARGE))
    shown = _joined(key + quote, texts, quote)
    return _compute.fill_null(shown, key + "null") if values.null_count else shown


def _escaped(texts: pa.Array) -> pa.Array:
    data = texts.buffers()[2]
    there = data.to_pybytes() if data is not None else b""
    for character in _ESCAPED:
        # To look for all of them is much faster than to replace one that is nowhere.
        if character.encode() in there:
            texts = _compute.replace_substring(texts, character, _quoted(character)[1:-1])
    return texts


def _joined(*pieces: pa.Array | str) -> pa.Array:
    """Texts joined row by row; null where one of them is."""
    given = [pa.scalar(piece, _LARGE) if isinstance(piece, str) else piece for piece in pieces]
    return _compute.binary_join_element_wise(*given, pa.scalar("", _LARGE))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
