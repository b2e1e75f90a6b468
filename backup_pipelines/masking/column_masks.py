"""What a rule means for a column: by its type, by its name where a fake says no kind."""

import re
from collections.abc import Mapping

from backup_pipelines.csv.made_up import length_of
from backup_pipelines.masking.facts import Column
from backup_pipelines.masking.fakes import EMPTY, LONGEST_IP, SHORTEST, SHORTEST_MARKED, Wanted
from backup_pipelines.masking.values import HASH_DIGITS, INTEGER_BITS, ColumnMask

# Of one family: what is equal in one is equal in the others.
_SAME_AS_TEXT = frozenset({"varchar", "name"})
_TEXTS = frozenset({"text", "bpchar", "citext"})
_NUMBERS = frozenset({*INTEGER_BITS, "numeric", "float4", "float8"})
_DATES = frozenset({"date", "timestamp", "timestamptz"})
_HASHED = frozenset({*_TEXTS, *INTEGER_BITS, "uuid"})

_FITTING: Mapping[str, frozenset[str]] = {
    "number": _NUMBERS,
    "date": _DATES,
    "ip": frozenset({"inet", *_TEXTS}),
    "empty": frozenset({*_TEXTS, *EMPTY}),
}
"""The families of types that a kind is for; all others are for texts."""

# PostgreSQL's type for names holds no more.
_NAME_LENGTH = 63

_BY_NAME = (
    (r"e?mail", "email"),
    (r"phone|mobile|fax|telephone", "phone"),
    (r"first_?name|given_?name|forename", "first_name"),
    (r"last_?name|surname|family_?name", "last_name"),
    (r"user_?name|login|nick", "username"),
    (r"company|organi[sz]ation|employer|account_name", "company"),
    (r"(?:^|_)ip(?:_|$)|ip_?addr", "ip"),
    (r"street|address", "address"),
    (r"city|town", "city"),
    (r"postal|postcode|(?:^|_)zip", "postal_code"),
    (r"(?:^|_)ur[li](?:_|$)|website|homepage|(?:^|_)link", "url"),
    (r"name", "name"),
)
"""What the name of a text column makes its fakes; the first that fits."""


def family_of(column: Column) -> str:
    """The kind of type that decides how its values are masked."""
    schema, _, base = column.base_type.partition(".")
    if base.endswith("[]"):
        return "[]"
    if schema == "pg_catalog" and base in _SAME_AS_TEXT:
        return "text"
    return base if schema == "pg_catalog" or base == "citext" else ""


def length(column: Column) -> int | None:
    """How many characters a text column takes."""
    return _NAME_LENGTH if column.base_type == "pg_catalog.name" else length_of(column.type)


def mask_of(rule: str, column: Column, *, marked: bool) -> ColumnMask | str | None:
    """The mask of a column by its rule, None to keep it; or why there is none, in words.

    `marked` says that the column is part of what makes rows unique, or refers to such a one.
    """
    action, _, kind = rule.partition(" ")
    family = family_of(column)
    if action == "keep":
        return None
    if column.generated:
        return "it is computed by the database: mask the columns that it is computed from"
    if action == "null":
        if column.not_null:
            return "it takes no NULL: choose hash or fake"
        return ColumnMask("null", Wanted("", family))
    if family == "bpchar" and length(column) is None:
        return "it is of a domain over character(n), whose n is not known here: keep it, or null"
    if action == "hash":
        return _hashed(column, family)
    return _faked(kind or _guess(column.name, family), column, family, marked)


def _hashed(column: Column, family: str) -> ColumnMask | str:
    if family not in _HASHED:
        return f"{column.type} has no hash: texts, whole numbers and uuid have"
    room = length(column)
    if family in _TEXTS and room is not None and room < HASH_DIGITS:
        return f"{column.type} is too short for a hash, which has {HASH_DIGITS} characters"
    return ColumnMask("hash", Wanted("", family, room if family == "bpchar" else None))


def _faked(kind: str, column: Column, family: str, marked: bool) -> ColumnMask | str:
    if not kind:
        return f"{column.type} has no fake of its own: name a kind, such as fake: empty"
    # A negative scale rounds what is made up.
    if family not in _FITTING.get(kind, _TEXTS) or ",-" in column.type:
        return f"{column.type} takes no fake {kind}"
    room = length(column)
    needed = (SHORTEST | SHORTEST_MARKED if marked else SHORTEST).get(kind, 0)
    room_needed = LONGEST_IP if kind == "ip" else needed
    if room is not None and room < room_needed:
        return f"{column.type} is too short for a fake {kind}, which needs {room_needed} characters"
    if marked and not needed:
        return f"it is part of a key or a unique index, and a fake {kind} may come twice"
    return ColumnMask("fake", Wanted(kind, family, room, marked and kind in SHORTEST_MARKED))


def _guess(name: str, family: str) -> str:
    if family in _TEXTS:
        lower = name.lower()
        return next((kind for sign, kind in _BY_NAME if re.search(sign, lower)), "text")
    kinds = (("number", _NUMBERS), ("date", _DATES), ("ip", frozenset({"inet"})))
    return next((kind for kind, families in kinds if family in families), "")
