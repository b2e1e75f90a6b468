"""JSON Lines: what is written is plain JSON of PostgreSQL's texts, and reads back the same."""

import io
import json
import math
import random
import struct
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines.postgres.json_lines import lines, objects
from backup_pipelines.postgres.json_reading import Hashed, parsed
from backup_pipelines.postgres.texts import as_text, from_text
from backup_pipelines.postgres.types import arrow_type

# All that PostgreSQL's texts can hold.
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


def zstd(*blocks: bytes) -> bytes:
    """Each block as a frame of its own, as a part has them."""
    codec = pa.Codec("zstd")
    return b"".join(codec.compress(block, asbytes=True) for block in blocks)


def read(stored: bytes, names: Sequence[str], columns: Sequence[str] = ()) -> pa.Table:
    """The rows of a part."""
    wanted = list(columns or names)
    batches = [batch for batch, _ in parsed(io.BytesIO(stored), names, wanted)]
    schema = pa.schema([(name, pa.string()) for name in wanted])
    return pa.Table.from_batches(batches, schema)


@given(
    names=st.lists(_NAMES, min_size=1, max_size=4, unique=True),
    data=st.data(),
    first=st.integers(0, 3),
)
def test_lines_are_what_any_program_would_write(
    names: list[str], data: st.DataObject, first: int
) -> None:
    """Whatever the texts and the names of columns: the bytes of Python's json, and back again."""
    rows = st.lists(st.lists(_TEXTS | st.none(), min_size=len(names), max_size=len(names)))
    values = data.draw(rows)
    arrays = [pa.array([row[n] for row in values], pa.string()) for n in range(len(names))]
    # Of a slice only what it shows.
    batch = pa.RecordBatch.from_arrays(arrays, names=names).slice(first)
    expected = [dict(zip(names, row, strict=True)) for row in values[first:]]
    printed = lines(batch).to_pybytes()
    assert printed == "".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in expected
    ).encode("utf-8")
    assert read(zstd(printed), names).to_pylist() == expected
    backwards = list(reversed(names))
    assert read(zstd(printed), names, backwards).column_names == backwards


def test_bare_values_and_what_is_around_a_row() -> None:
    """The document that people download has numbers, and commas between its rows."""
    columns = [pa.array([1, None], pa.int32()), pa.array(["1", None])]
    made = objects(["n", "t"], columns, bare={"n"}, before=",\n", after="")
    assert made.to_pybytes() == b',\n{"n":1,"t":"1"},\n{"n":null,"t":null}'


def test_lines_longer_than_a_block_and_many_frames() -> None:
    """A row of 20 MB between small ones, and frames that end in the middle of a line."""
    rows = [{"a": "x", "b": None}, {"a": '"\n' * 5_000_000, "b": "y"}, {"a": "z", "b": ""}]
    printed = "".join(json.dumps(row) + "\n" for row in rows).encode()
    frames = [printed[at : at + 3_000_001] for at in range(0, len(printed), 3_000_001)]
    source = Hashed(io.BytesIO(zstd(*frames)))
    found = [batch for batch, _ in parsed(source, ["a", "b"], ["b", "a"])]
    assert pa.Table.from_batches(found).select(["a", "b"]).to_pylist() == rows
    assert source.seen()[0] == len(zstd(*frames))


def test_a_file_without_rows() -> None:
    """An empty frame is a file of no rows."""
    assert read(zstd(b""), ["a"]).num_rows == 0


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":"x","b":1}\n',
        b'{"a":"x","b":"y"',
        b'{"a":"x","b":"y"}',
        b'{"a":"x","b":"y"}\n[1]\n',
        b'{"a":"x","c":"y"}\n',
        b'{"b":"x","a":"y"}\n',
        b'{"a":"x"}\n',
        b'{"a":"x","b":"y","c":"z"}\n',
        b'{"a":"x","b":"y","b":"z"}\n',
        b'{"a":"x","b":"\xff"}\n',
        b'{"a":"x","b":"\n"}\n',
        b"\n",
        b"null\n",
    ],
)
def test_what_is_no_such_file_is_an_error(content: bytes) -> None:
    """Other columns, other values than texts, a line that was cut: nothing is read."""
    with pytest.raises(pa.ArrowException):
        read(zstd(content), ["a", "b"])


def test_a_cut_or_foreign_file_is_an_error() -> None:
    """What zstd did not write, or not to its end, is told as pyarrow tells it."""
    whole = zstd(b'{"a":"x"}\n' * 1000)
    for stored in (whole[:-1], whole[: len(whole) // 2], whole + b"more", b'{"a":"x"}\n'):
        with pytest.raises((pa.ArrowException, OSError)):
            read(stored, ["a"])


def _bits(size: str, count: int) -> list[float]:
    """Floats of any bits, the special ones first."""
    chance = random.Random(3)
    kind, digits = ("d", "Q") if size == "double" else ("f", "I")
    width = 64 if size == "double" else 32
    made = [struct.unpack(kind, struct.pack(digits, chance.getrandbits(width)))[0]
            for _ in range(count)]  # fmt: skip
    return [-0.0, 0.0, math.nan, math.inf, -math.inf, *made]


_DAY_US = 86_400_000_000
_FIRST, _LAST = -719_162, 2_932_896


def _values(name: str) -> list[object]:
    chance = random.Random(name)
    stamps = [_FIRST * _DAY_US, (_LAST + 1) * _DAY_US - 1, -1, 0, 1, 100_000]
    many = range(2000)
    made: dict[str, list[object]] = {
        "bool": [True, False],
        "string": ["", "t", "\\x00"],
        "binary": [b"", b"\0\xff", *(chance.randbytes(n % 30) for n in many)],
        "extension<arrow.uuid>": [chance.randbytes(16) for _ in many],
        "date32[day]": [_FIRST, _LAST, -1, *(chance.randint(_FIRST, _LAST) for _ in many)],
        "time64[us]": [0, _DAY_US - 1, *(chance.randrange(_DAY_US) for _ in many)],
        "float": [np.float32(value) for value in _bits("float", 2000)],
        "double": list(_bits("double", 2000)),
    }
    for bits in (16, 32, 64):
        made[f"int{bits}"] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0, -1]
    for kind in ("timestamp[us]", "timestamp[us, tz=UTC]"):
        made[kind] = [*stamps, *(chance.randint(stamps[0], stamps[1]) for _ in many)]
    for precision, scale in ((38, 38), (38, 0), (12, 2), (1, 0)):
        top = 10**precision - 1
        digits = [top, -top, 1, -1, 0, *(chance.randint(-top, top) for _ in many)]
        made[f"decimal128({precision}, {scale})"] = [
            Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -scale)) for n in digits
        ]
    return made[name]


@pytest.mark.parametrize(
    "name",
    [
        *("bool", "int16", "int32", "int64", "float", "double", "string", "binary"),
        *("extension<arrow.uuid>", "date32[day]", "time64[us]"),
        *("timestamp[us]", "timestamp[us, tz=UTC]"),
        *("decimal128(38, 38)", "decimal128(38, 0)", "decimal128(12, 2)", "decimal128(1, 0)"),
    ],
)
def test_texts_are_the_values_that_print_so(name: str) -> None:
    """Of every Arrow type that a manifest names, a text becomes the value it was printed from."""
    kind = arrow_type(name)
    assert str(kind) == name
    values = [None, *_values(name)]
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    stored = pa.array(values, storage)
    native = kind.wrap_array(stored) if isinstance(kind, pa.BaseExtensionType) else stored
    texts = as_text(native).cast(pa.string())
    back = from_text(texts, kind)
    assert back.type == kind
    assert as_text(back).cast(pa.string()).equals(texts)
    if name not in ("float", "double"):
        # A NaN is not equal to itself; its text is.
        assert back.equals(native)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bool", "true"),
        ("int32", "1.0"),
        ("int32", ""),
        ("int16", "32768"),
        ("extension<arrow.uuid>", "aa"),
        ("binary", "\\xa"),
        ("date32[day]", "infinity"),
        ("timestamp[us, tz=UTC]", "infinity"),
        ("decimal128(5, 2)", "1.234"),
        ("decimal128(5, 2)", "NaN"),
    ],
)
def test_other_texts_are_no_values(name: str, text: str) -> None:
    """A text that the type does not print is an error, never another value."""
    with pytest.raises((pa.ArrowException, ValueError)):
        from_text(pa.array([text]), arrow_type(name))
