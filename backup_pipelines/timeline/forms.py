"""The forms in which stored values meet in DuckDB: their types, and their text as PostgreSQL's.

Two values are the same when their texts are: 1.0 and 1.00, or -0.0 and 0.0, are not. A value is
therefore the same value whether one backup holds it natively and another as text.
"""

import re

from backup_pipelines.errors import NewerFormat
from backup_pipelines.manifest import Column

_TYPES = {
    "bool": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "extension<arrow.uuid>": "UUID",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "timestamp[us]": "TIMESTAMP",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
}
_DECIMAL = re.compile(r"decimal128\((\d+), (\d+)\)")

FLOAT_TEXT = {"FLOAT": "postgres_float4_text", "DOUBLE": "postgres_float8_text"}
"""The functions that `engine.connect` adds, since DuckDB prints floats in another way."""

_NUMERIC, _BPCHAR = "pg_catalog.numeric", "pg_catalog.bpchar"
_FLOATS = ("pg_catalog.float4", "pg_catalog.float8")


def duck_type(column: Column) -> str:
    """DuckDB's type of a stored column; raises NewerFormat for one this version does not write."""
    found = _DECIMAL.fullmatch(column.arrow_type)
    if found:
        return f"DECIMAL({found[1]},{found[2]})"
    if column.arrow_type not in _TYPES:
        raise NewerFormat(f"column {column.name} is stored as {column.arrow_type}: upgrade")
    return _TYPES[column.arrow_type]


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def text_sql(value: str, kind: str) -> str:
    """SQL of a stored value's text, as PostgreSQL prints it under the settings of format.md."""
    if kind == "VARCHAR":
        return value
    if kind == "BLOB":
        return f"'\\x' || lower(hex({value}))"
    if kind in FLOAT_TEXT:
        return f"{FLOAT_TEXT[kind]}({value})"
    return f"CAST({value} AS VARCHAR)"


def compared_sql(value: str, kind: str) -> str:
    """SQL of what differs exactly when two values of the same DuckDB type do."""
    # DuckDB takes -0.0 for 0.0; its text of a float is another for another value.
    return f"CAST({value} AS VARCHAR)" if kind in FLOAT_TEXT else value


def key_sql(text: str, base_type: str) -> str:
    """SQL of the text of a key value, the same for values that are equal to PostgreSQL."""
    if base_type == _NUMERIC:
        return (
            f"CASE WHEN contains({text}, '.') THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
        )
    if base_type == _BPCHAR:
        return f"rtrim({text}, ' ')"
    if base_type in _FLOATS:
        return f"CASE WHEN {text} = '-0' THEN '0' ELSE {text} END"
    return text


def is_by_value(column: Column) -> bool:
    """Whether the `=` of a key's type is that of its stored form, so that no text is needed."""
    return column.base_type not in (_BPCHAR, *_FLOATS) and (
        column.base_type != _NUMERIC or column.encoding == "decimal"
    )
