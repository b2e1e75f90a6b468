"""Values for example rows: made up by type, or of the shape of one that exists."""

import random
import re
from collections.abc import Mapping

_LENGTH = re.compile(r"^(?:character varying|character|bit varying|bit)\((\d+)\)$")

_WHOLE = ("1", "0", "2", "10", "100")
MADE_UP: Mapping[str, tuple[str, ...]] = {
    "bool": ("f", "t"),
    "int2": _WHOLE,
    "int4": _WHOLE,
    "int8": _WHOLE,
    "oid": _WHOLE,
    "float4": ("1", "0", "0.5", "10"),
    "float8": ("1", "0", "0.5", "10"),
    "numeric": ("1", "0", "0.5", "10", "100"),
    "money": ("$1.00", "$0.00"),
    "date": ("2026-01-31", "2026-02-28", "2025-12-31"),
    "time": ("12:00:00", "08:00:00", "17:00:00"),
    "timetz": ("12:00:00+00", "08:00:00+00", "17:00:00+00"),
    "timestamp": ("2026-01-31 12:00:00", "2026-02-28 12:00:00", "2025-12-31 12:00:00"),
    "timestamptz": ("2026-01-31 12:00:00+00", "2026-02-28 12:00:00+00", "2025-12-31 12:00:00+00"),
    "interval": ("01:00:00", "00:00:00", "1 day"),
    "json": ("{}", "[]", '""'),
    "jsonb": ("{}", "[]", '""'),
    "bytea": ("\\x", "\\x00"),
    "inet": ("192.0.2.1", "2001:db8::1"),
    "cidr": ("192.0.2.0/24",),
    "macaddr": ("00:00:5e:00:53:01",),
    "macaddr8": ("00:00:5e:ff:fe:00:53:01",),
    "xml": ("<example/>",),
    "tsvector": ("'example'",),
    "point": ("(0,0)",),
}
"""By the base type what is likely to pass, the plainest first; several, because rules compare
columns."""

ANYTHING = ("example", "1", "{}", "[]", "()", "")
"""What some types take that are not above."""

TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext"})
"""The base types of free text."""


def length_of(type_: str) -> int | None:
    """How many characters or bits a type takes at most; None for one without a limit."""
    found = _LENGTH.match(type_)
    return int(found[1]) if found else None


def disguised(value: str, dice: random.Random) -> str:
    """A value of the same shape: other digits, and the value's own letters in another order."""
    pools = {
        is_upper: [c for c in value if c.isalpha() and c.isupper() == is_upper]
        for is_upper in (True, False)
    }

    def other(char: str) -> str:
        if char.isdecimal():
            return str(dice.randrange(10))
        return dice.choice(pools[char.isupper()]) if char.isalpha() else char

    return "".join(map(other, value))
