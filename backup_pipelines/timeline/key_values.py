"""Values of primary keys as people type them, in the text by which rows are found."""

import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Column
from backup_pipelines.postgres.texts import float4_text, float8_text

if TYPE_CHECKING:
    import duckdb

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_HEX = re.compile(r"\\x(?:[0-9a-fA-F]{2})*")
_BEYOND = re.compile(r" BC$|^24:00")
_SPECIAL_NUMBERS = {"nan": "NaN", "infinity": "Infinity", "-infinity": "-Infinity"}
_BOOLEANS = {"t": "true", "true": "true", "f": "false", "false": "false"}

_TIMES = {
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}


def key_text(
    connection: "duckdb.DuckDBPyConnection", table: str, column: Column, typed: str
) -> str:
    """What `forms.key_sql` gives of the stored value that was meant.

    By the catalog's type: 007 is 7 for an integer, and 007 for a text. Raises Refused for what is
    no value of the type.
    """
    schema, _, base = column.base_type.partition(".")
    if schema != "pg_catalog":
        return typed
    try:
        found = _text(connection, base, typed)
    except (ValueError, InvalidOperation):
        found = None
    if found is None:
        raise Refused(f"{typed} is no {column.type}, which {column.name} of {table} is")
    return found


def _text(connection: "duckdb.DuckDBPyConnection", base: str, typed: str) -> str | None:
    if base in ("int2", "int4", "int8"):
        return str(int(typed)) if _INTEGER.fullmatch(typed) else None
    if base == "numeric":
        return _SPECIAL_NUMBERS.get(typed.strip().lower()) or _numeric(typed)
    if base in ("float4", "float8"):
        return _float(base, float(typed))
    if base == "uuid":
        return str(UUID(typed))
    if base == "bool":
        return _BOOLEANS.get(typed.strip().lower())
    if base == "bytea":
        return typed.lower() if _HEX.fullmatch(typed) else None
    if base == "bpchar":
        return typed.rstrip(" ")
    if base in _TIMES:
        return _moment(connection, _TIMES[base], typed)
    return typed


def _numeric(typed: str) -> str:
    text = format(Decimal(typed), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _float(base: str, number: float) -> str:
    # -0.0 equals 0.0, which is what is looked for.
    number = number or 0.0
    return float4_text(np.float32(number)) if base == "float4" else float8_text(number)


def _moment(connection: "duckdb.DuckDBPyConnection", kind: str, typed: str) -> str | None:
    text = typed
    with suppress(ValueError):
        # DuckDB wants seconds, and people leave them out.
        text = datetime.fromisoformat(typed).isoformat() if kind.startswith("TIMESTAMP") else typed
    row = connection.execute(f"SELECT CAST(TRY_CAST(? AS {kind}) AS VARCHAR)", [text]).fetchone()
    if row and row[0] is not None:
        return str(row[0])
    # What DuckDB does not know PostgreSQL does: such values are stored as its text.
    return typed if _BEYOND.search(typed) else None
