"""The type table: how each PostgreSQL type is read, hashed and held, exactly.

Every choice was tried value by value (test_types.py): a type is read natively where ADBC's
binary reading is exact for every value, or exact within a range that is checked afterwards, and
as PostgreSQL's own text everywhere else. Nothing is ever inferred from the data.
"""

import re
from dataclasses import dataclass, replace

import pyarrow as pa

from backup_pipelines.errors import NewerFormat
from backup_pipelines.manifest import Encoding

_CATALOG = "pg_catalog"

# decimal128 holds no more digits.
_MAX_PRECISION = 38

# PostgreSQL keeps precision and scale of numeric(p,s) above a header of four in the type modifier.
_TYPMOD_HEADER = 4

_DECIMAL = re.compile(r"decimal128\((\d+), (\d+)\)")

_DAY_US = 86_400_000_000

# Years 1 to 9999: what every reader of Parquet can show. ADBC turns an infinity into garbage far
# outside of these ranges, and 24:00 into the first value past the end, so the check finds both.
_DAYS = (-719_162, 2_932_896)
_MICROSECONDS = (-719_162 * _DAY_US, 2_932_897 * _DAY_US - 1)
_TIME_OF_DAY = (0, _DAY_US - 1)


@dataclass(frozen=True)
class Codec:
    """How one column travels: SQL to export it, SQL to hash it, and its Arrow type.

    `export` is applied to the table's column, `hashed` to the exported value; both have one `{}`.
    """

    encoding: Encoding
    arrow: pa.DataType
    export: str = "{}"
    hashed: str = "{}"
    guard: tuple[int, int] | None = None


# Values are hashed by their bytes, where a type's own hash is made for its own "=": that takes
# texts of a nondeterministic collation, bpchar's trailing blanks, -0.0 and 0.0 for equal, and
# folds 64-bit integers (and times) to 32 bits, so that 1 and 4294967296 hash alike.
# Sent in the client's encoding, which is UTF8, so that the server's own does not matter.
_TEXT_HASH = "pg_catalog.textsend({})"


@dataclass(frozen=True)
class Recipe:
    """The SQL of a row's hash, as one server can compute it; the hashes are those of PORTABLE."""

    text: str = _TEXT_HASH
    row: str = "pg_catalog.hash_record_extended(ROW(pg_catalog.int8send({})), 0)"


PORTABLE = Recipe()
"""What every server can compute, and a backup's documents say."""

# What send functions make are copies in buffers of 1 KB. Under the collation "C" a text is hashed
# by its bytes, whatever its own collation; these are what textsend gives where the server keeps
# texts in UTF8.
_IN_PLACE = '{} COLLATE pg_catalog."C"'

# From this version on the hash of a bytea can be called by its name; a record of one value has
# that value's hash.
_HASHES_BYTEA = 18_00_00

# A computed NaN can carry a sign, which nothing shows and no text keeps.
_FLOAT_HASH = "pg_catalog.{0}send(CASE WHEN {{0}} = 'NaN' THEN 'NaN' ELSE {{0}} END)"

_NATIVE: dict[str, Codec] = {
    "bool": Codec("native", pa.bool_()),
    "int2": Codec("native", pa.int16()),
    "int4": Codec("native", pa.int32()),
    "int8": Codec("native", pa.int64(), hashed="pg_catalog.int8send({})"),
    "float4": Codec("native", pa.float32(), hashed=_FLOAT_HASH.format("float4")),
    "float8": Codec("native", pa.float64(), hashed=_FLOAT_HASH.format("float8")),
    "text": Codec("native", pa.string(), hashed=_TEXT_HASH),
    "varchar": Codec("native", pa.string(), hashed=_TEXT_HASH),
    "bpchar": Codec("native", pa.string(), hashed="pg_catalog.bpcharsend({})"),
    "name": Codec("native", pa.string(), export="{}::pg_catalog.text", hashed=_TEXT_HASH),
    "bytea": Codec("native", pa.binary()),
    "uuid": Codec("native", pa.uuid()),
    "date": Codec("native", pa.date32(), guard=_DAYS),
    "time": Codec("native", pa.time64("us"), hashed="pg_catalog.time_send({})", guard=_TIME_OF_DAY),
    "timestamp": Codec(
        "native", pa.timestamp("us"), hashed="pg_catalog.timestamp_send({})", guard=_MICROSECONDS
    ),
    "timestamptz": Codec(
        "native",
        pa.timestamp("us", "UTC"),
        hashed="pg_catalog.timestamptz_send({})",
        guard=_MICROSECONDS,
    ),
}

_AS_TEXT = Codec("text", pa.string(), export="{}::pg_catalog.text", hashed=_TEXT_HASH)

# A cast to text that is a function need not print what the type's output function prints, and
# format() answers NULL with '' (num_nulls, because a composite of NULLs "IS NULL" too).
_BY_OUTPUT_FUNCTION = Codec(
    "text",
    pa.string(),
    export=(
        "CASE WHEN pg_catalog.num_nulls({0}) = 0 THEN pg_catalog.format('%s', {0}) "
        "END::pg_catalog.text"
    ),
    hashed=_TEXT_HASH,
)


def codec_for(
    *,
    base_schema: str,
    base_name: str,
    base_kind: str,
    type_mod: int,
    is_domain: bool = False,
    has_text_cast_function: bool = False,
    as_text: bool = False,
) -> Codec:
    """The codec of a column by its base type as pg_catalog describes it.

    `base_kind` is pg_type.typtype; `as_text` asks for the text form of a type whose native form
    turned out not to hold every value of the column.
    """
    text = _BY_OUTPUT_FUNCTION if has_text_cast_function else _AS_TEXT
    if base_kind == "e":
        # An enum's label is exact, and its hash, unlike that of its oid, the same anywhere.
        return Codec("native", pa.string(), export=text.export, hashed=_TEXT_HASH)
    if as_text or base_schema != _CATALOG:
        return text
    if base_name == "numeric":
        return _numeric(type_mod) or text
    codec = _NATIVE.get(base_name)
    if codec is None:
        return text
    if is_domain and codec.export == "{}":
        return Codec(
            codec.encoding,
            codec.arrow,
            f"{{}}::pg_catalog.{base_name}",
            codec.hashed,
            codec.guard,
        )
    return codec


def recipe_for(server_version: int, encoding: str | None) -> Recipe:
    """The cheapest recipe that a server of this version and encoding of its texts has."""
    named = "pg_catalog.hashbyteaextended(pg_catalog.int8send({}), 0)"
    return Recipe(
        _IN_PLACE if encoding == "UTF8" else PORTABLE.text,
        named if server_version >= _HASHES_BYTEA else PORTABLE.row,
    )


def stored_codec(base_type: str, encoding: Encoding) -> Codec:
    """The codec by which a manifest's column was hashed, from the manifest alone.

    It fits a column of a domain as well, and one whose type has a cast to text that is a function.
    """
    schema, _, base = base_type.partition(".")
    codec = _NATIVE.get(base) if (schema, encoding) == (_CATALOG, "native") else None
    if codec is None:
        return _BY_OUTPUT_FUNCTION
    return replace(codec, export=f"{{}}::pg_catalog.{base}") if codec.export == "{}" else codec


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type that a manifest names; raises NewerFormat for one that is not written here."""
    found = _DECIMAL.fullmatch(name)
    if found:
        return pa.decimal128(int(found[1]), int(found[2]))
    kinds = {str(codec.arrow): codec.arrow for codec in _NATIVE.values()}
    if name not in kinds:
        raise NewerFormat(
            f"a column is stored as {name}, which this version does not know: upgrade"
        )
    return kinds[name]


def _numeric(type_mod: int) -> Codec | None:
    if type_mod < _TYPMOD_HEADER:
        return None
    precision = ((type_mod - _TYPMOD_HEADER) >> 16) & 0xFFFF
    # Eleven bits, signed: a scale may be negative or exceed the precision since PostgreSQL 15.
    scale = (((type_mod - _TYPMOD_HEADER) & 0x7FF) ^ 1024) - 1024
    if precision > _MAX_PRECISION or not 0 <= scale <= precision:
        return None
    return Codec(
        "decimal",
        pa.decimal128(precision, scale),
        export="{}::pg_catalog.text",
        hashed=_TEXT_HASH,
    )
