"""Arrow batches as PostgreSQL's binary COPY, whose values the server takes without parsing.

A value goes as its type sends it, whole columns at once. A value that a backup holds as text goes
as the server itself sends that text's value, which it is asked for once for each distinct text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute
from psycopg import sql

from backup_pipelines import layout
from backup_pipelines.errors import Damaged
from backup_pipelines.manifest import Column, Table
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.types import arrow_type

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# What comes with texts that are sent as they are: jsonb has a version.
_TEXTS = dict.fromkeys(("text", "varchar", "bpchar", "name", "bytea", "json"), b"") | {
    "jsonb": b"\x01"
}

# Types whose text the server may be asked to read: a cast from text calls their input function.
_READ = {
    *("numeric", "interval", "inet", "cidr", "macaddr", "macaddr8", "point", "timetz", "money"),
    *("date", "time", "timestamp", "timestamptz"),
}
_READ_ARRAYS = {
    *("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "uuid", "numeric"),
    *("date", "timestamp", "timestamptz"),
}

# More distinct texts than these cost more than their parsing in the COPY.
_MOST_TEXTS = 10_000
_MOST_TEXT_BYTES = 4 * 1024 * 1024
_WORTH_IT_ROWS = 1_000

# Where PostgreSQL counts days and microseconds from, in those of 1970.
_EPOCH_DAYS = 10_957
_EPOCH_US = _EPOCH_DAYS * 86_400_000_000

# A numeric travels in digits of this base, and one of so many decimal digits fits in 64 bits.
_BASE, _BASE_DIGITS, _MOST_DIGITS = 10_000, 4, 18
_NEGATIVE = 0x4000

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class _Form:
    """How a column is sent: values of one width, or texts, perhaps those of a dictionary."""

    width: int = 0
    fixed: Callable[[pa.Array], _Bytes] | None = None
    prefix: bytes = b""
    texts: pa.Array | None = None
    sent: pa.Array | None = None


class BinaryForm:
    """The rows of one table's parts as binary COPY takes them."""

    def __init__(self, forms: Sequence[_Form]) -> None:
        self._forms = tuple(forms)

    def encoded(self, batch: pa.RecordBatch) -> memoryview:
        """The rows of a batch, each a count of fields and every field's length and bytes."""
        rows = batch.num_rows
        block = [_repeated(rows, len(self._forms), ">i2")]
        pieces: list[pa.Array] = []
        for form, column in zip(self._forms, batch.columns, strict=True):
            values = column.storage if isinstance(column, pa.ExtensionArray) else column
            if form.fixed and not values.null_count:
                block += [_repeated(rows, form.width, ">i4"), form.fixed(values)]
                continue
            data = _nullable(form, values) if form.fixed else _texts(form, values)
            lengths = _compute.fill_null(_compute.binary_length(data), -1)
            block.append(_big_endian(_numbers(lengths), ">i4"))
            pieces += [_joined(block), data]
            block = []
        if block:
            pieces.append(_joined(block))
        nothing = pa.scalar(b"", pa.large_binary())
        whole = _compute.binary_join_element_wise(
            *pieces, nothing, null_handling="replace", null_replacement=b""
        )
        return memoryview(whole.buffers()[2] or b"")


def binary_form(
    connection: Connection, table: Table, names: Sequence[str], read: "Reading"
) -> BinaryForm | None:
    """The form in which all rows of a backup's table can be sent; None where some need CSV.

    `read` gives the batches of some columns. Nothing is asked of it where types decide alone.
    """
    parts = table.parts
    if any(layout.is_json_lines(part.key) for part in parts):
        return None
    columns = {column.name: column for column in table.columns}
    wanted = [columns[name] for name in names]
    known = [_known(column) for column in wanted]
    asked = [column for column, form in zip(wanted, known, strict=True) if form is None]
    if (asked and table.rows < _WORTH_IT_ROWS) or not all(map(_is_readable, asked)):
        return None
    # An encrypted part would be decrypted twice.
    if asked and any(layout.is_encrypted(part.key) for part in parts):
        return None
    found = _distinct([column.name for column in asked], read) if asked else {}
    if found is None:
        return None
    forms: list[_Form] = []
    for column, form in zip(wanted, known, strict=True):
        made = form or _as_sent(connection, column, found[column.name])
        if made is None:
            return None
        forms.append(made)
    return BinaryForm(forms)


Reading = Callable[[Sequence[str]], Any]


def _known(column: Column) -> _Form | None:
    """The form of a type whose binary form is made here."""
    schema, _, base = column.base_type.partition(".")
    if schema != "pg_catalog":
        # Native and of another schema: an enum, which is received by its label.
        return _Form() if column.encoding == "native" else None
    if column.encoding == "decimal":
        return _decimal(column)
    if column.encoding == "text" and base not in ("json", "jsonb"):
        return None
    if base in _TEXTS:
        return _Form(prefix=_TEXTS[base])
    return _FIXED.get(base)


def _is_readable(column: Column) -> bool:
    schema, _, base = column.base_type.partition(".")
    element = base.removesuffix("[]")
    readable = _READ if element == base else _READ_ARRAYS
    return schema == "pg_catalog" and column.encoding == "text" and element in readable


def _distinct(names: Sequence[str], read: Reading) -> dict[str, pa.Array] | None:
    """The distinct texts of some columns; None if they are too many."""
    found = {name: pa.array([], pa.string()) for name in names}
    for batch in read(names):
        for name, values in zip(names, batch.columns, strict=True):
            both = pa.concat_arrays([found[name], _compute.drop_null(_compute.unique(values))])
            one = found[name] = _compute.unique(both)
            if len(one) > _MOST_TEXTS or one.nbytes > _MOST_TEXT_BYTES:
                return None
    return found


def _as_sent(connection: Connection, column: Column, texts: pa.Array) -> _Form | None:
    """The distinct values as the server sends them; None if it cannot read one."""
    base = column.base_type.partition(".")[2]
    element = base.removesuffix("[]")
    kind = sql.Identifier("pg_catalog", element) + sql.SQL("[]" if element != base else "")
    asking = sql.SQL(
        "SELECT v::{} FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY AS u (v, n)"
        " ORDER BY n"
    ).format(kind)
    try:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute(asking, [texts.to_pylist()])
            result = cursor.pgresult
            assert result is not None
            sent = [result.get_value(row, 0) for row in range(result.ntuples)]
    except psycopg.DataError:
        # The COPY of the whole rows says which row it is.
        return None
    return _Form(texts=texts, sent=pa.array(sent, pa.large_binary()))


def _texts(form: _Form, values: pa.Array) -> pa.Array:
    if form.sent is not None:
        places = _compute.index_in(values, value_set=form.texts)
        if places.null_count != values.null_count:
            raise Damaged("a part gives other values when it is read again")
        return form.sent.take(places)
    data = values.cast(pa.large_binary())
    if not form.prefix:
        return data
    kind = pa.large_binary()
    return _compute.binary_join_element_wise(
        pa.scalar(form.prefix, kind), data, pa.scalar(b"", kind)
    )


def _nullable(form: _Form, values: pa.Array) -> pa.Array:
    assert form.fixed is not None
    data = _joined([form.fixed(values)])
    return _compute.if_else(values.is_valid(), data, pa.scalar(None, pa.large_binary()))


def _joined(block: Sequence[_Bytes]) -> pa.Array:
    """Columns of bytes side by side, as one value a row."""
    data = np.concatenate(block, axis=1)
    rows, width = data.shape
    ends = np.arange(rows + 1, dtype=np.int64) * width
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), rows, buffers)


def _repeated(rows: int, number: int, kind: str) -> _Bytes:
    return _big_endian(np.full(rows, number), kind)


def _big_endian(numbers: np.ndarray[Any, Any], kind: str) -> _Bytes:
    return numbers.astype(kind).view(np.uint8).reshape(len(numbers), np.dtype(kind).itemsize)


def _numbers(values: pa.Array) -> np.ndarray[Any, Any]:
    """An array of numbers without its NULLs, which stand for anything."""
    filled = _compute.fill_null(values, 0) if values.null_count else values
    return filled.to_numpy(zero_copy_only=False)


def _integers(kind: str, arrow: pa.DataType | None = None, epoch: int = 0) -> _Form:
    def fixed(values: pa.Array) -> _Bytes:
        numbers = _numbers(values.cast(arrow) if arrow is not None else values)
        return _big_endian(numbers - epoch if epoch else numbers, kind)

    return _Form(np.dtype(kind).itemsize, fixed)


def _bytes_of(values: pa.Array, width: int) -> _Bytes:
    first = values.offset * width
    data = np.frombuffer(cast(Any, values.buffers()[1]), np.uint8)
    return data[first : first + len(values) * width].reshape(len(values), width)


def _uuids(values: pa.Array) -> _Bytes:
    return _bytes_of(values, 16)


def _decimal(column: Column) -> _Form | None:
    kind = cast(Any, arrow_type(column.arrow_type))
    precision, scale = kind.precision, kind.scale
    # Whole digits of the base before the point and after it.
    after = -(-scale // _BASE_DIGITS)
    digits = max(1, -(-(precision - scale) // _BASE_DIGITS) + after)
    filling = after * _BASE_DIGITS - scale
    if precision + filling > _MOST_DIGITS:
        return None

    def fixed(values: pa.Array) -> _Bytes:
        # Its lower half holds all of it, the upper one only its sign again.
        numbers = _bytes_of(values, 16).view("<i8")[:, 0]
        fields = np.empty((len(numbers), 4 + digits), ">i2")
        fields[:, 0], fields[:, 1], fields[:, 3] = digits, digits - after - 1, scale
        fields[:, 2] = np.where(numbers < 0, _NEGATIVE, 0)
        left = np.abs(numbers) * 10**filling
        for place in range(digits):
            left, fields[:, 3 + digits - place] = np.divmod(left, _BASE)
        return fields.view(np.uint8)

    return _Form(8 + 2 * digits, fixed)


_FIXED = {
    "bool": _integers("u1", pa.uint8()),
    "int2": _integers(">i2"),
    "int4": _integers(">i4"),
    "int8": _integers(">i8"),
    "float4": _integers(">f4"),
    "float8": _integers(">f8"),
    "date": _integers(">i4", pa.int32(), _EPOCH_DAYS),
    "time": _integers(">i8", pa.int64()),
    "timestamp": _integers(">i8", pa.int64(), _EPOCH_US),
    "timestamptz": _integers(">i8", pa.int64(), _EPOCH_US),
    "uuid": _Form(16, _uuids),
}
