"""Made-up values: each follows from the true one and the key, and is never equal to it."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from mimesis import Address, Person, Text
from mimesis.locales import Locale

from backup_pipelines.errors import Failed
from backup_pipelines.masking.keyed import derive
from backup_pipelines.postgres.texts import float4_text, float8_text

_TRIES = 50

# 48 bits, and what stands before them differs as well: with a name, of a million values two share
# one with a chance of two in a million.
_MARK_DIGITS = 12

# Country code 999 and the domain example.com are nobody's, so that nobody is ever called.
_COUNTRY = "+999"
_URL_DIGITS = 16

# No number has more than 15 with the country's; those that must differ have to.
_PHONE_DIGITS, _PHONE_DIGITS_MARKED = 12, 18

SHORTEST: dict[str, int] = {
    "email": _MARK_DIGITS + len("@example.com"),
    "username": _MARK_DIGITS,
    "url": len("https://.example.com") + _URL_DIGITS,
}
"""Kinds whose fakes differ wherever the values do, and how much room that takes."""

_MARKED = ("name", "first_name", "last_name", "address", "city", "postal_code", "company", "text")

LONGEST_IP = len("10.255.255.255")

SHORTEST_MARKED: dict[str, int] = {
    **dict.fromkeys(_MARKED, _MARK_DIGITS),
    "phone": len(_COUNTRY) + _PHONE_DIGITS_MARKED,
}
"""Kinds whose fakes are made to differ where no two rows may share one, and how much that takes."""

EMPTY: Mapping[str, str] = {"json": "{}", "jsonb": "{}", "bytea": "\\x", "[]": "{}"}
"""The empty values by type; of texts it is the empty text."""

# The largest value of a type, of which a number with as many digits must stay below.
_LARGEST = {"int2": "32767", "int4": "2147483647", "int8": "9223372036854775807"}

NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
"""What a number can be without being one: like NULL, it stays."""

_NUMBER = re.compile(r"(?P<sign>-?)(?P<whole>\d+)(?P<rest>\.\d+)?(?:e(?P<power>[+-]\d+))?")
_DATE = re.compile(r"(?P<year>\d{4})-\d\d-\d\d(?P<time> \d\d:\d\d:\d\d(?:\.\d+)?)?(?P<zone>\+00)?")
_MIDNIGHT = " 00:00:00"
_ANY_YEAR = "2000"


@dataclass(frozen=True)
class Wanted:
    """What the fakes of a column are to be like."""

    kind: str
    family: str
    """The kind of type: text, or a type's own name."""
    length: int | None = None
    """How many characters it takes."""
    marked: bool = False
    """Whether no two rows may share one."""


class Faker:
    """Makes fakes with one key; not for several threads at once."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._person, self._address = Person(Locale.EN), Address(Locale.EN)
        self._words = Text(Locale.EN, seed=0).words(quantity=400)

    def fake(self, value: str, wanted: Wanted) -> str:
        """The fake for a value; raises Failed when there is none that differs."""
        if wanted.kind == "empty":
            return _padded(EMPTY.get(wanted.family, ""), wanted)
        if wanted.kind == "number" and value in NO_NUMBERS:
            return value
        for number in range(_TRIES):
            seed = derive(self._key, f"fake {wanted.kind} {number}", value)
            made = self._made(value, wanted, seed)
            if made.casefold().rstrip() != value.casefold().rstrip():
                return made
        raise Failed(
            f"no fake {wanted.kind} in so little room differs from the value: choose null or hash"
        )

    def _made(self, value: str, wanted: Wanted, seed: bytes) -> str:
        if wanted.kind == "number":
            return _number(value, wanted.family, random.Random(seed))
        if wanted.kind == "date":
            return _date(value, wanted.family, random.Random(seed))
        if wanted.kind == "ip":
            return _padded(f"10.{seed[0]}.{seed[1]}.{seed[2]}", wanted)
        return _padded(self._text(value, wanted, seed), wanted)

    def _text(self, value: str, wanted: Wanted, seed: bytes) -> str:
        mark = seed[: _MARK_DIGITS // 2].hex()
        if wanted.kind == "phone":
            digits = _PHONE_DIGITS_MARKED if wanted.marked else _PHONE_DIGITS
            number = int.from_bytes(seed[:16], "big") % 10**digits
            return f"{_COUNTRY}{number:0{digits}}"[: wanted.length]
        if wanted.kind == "url":
            return f"https://{seed.hex()[:_URL_DIGITS]}.example.com"
        if wanted.kind == "email":
            return _joined(self._login(seed), ".", f"{mark}@example.com", wanted.length)
        if wanted.kind == "username":
            return _joined(self._login(seed), ".", mark, wanted.length)
        base = self._base(wanted.kind, value, seed)
        if wanted.marked:
            return _joined(base, " ", mark, wanted.length)
        return base[: wanted.length].rstrip() or "x"

    def _base(self, kind: str, value: str, seed: bytes) -> str:
        if kind == "text":
            return self._sentence(len(value), random.Random(seed))
        if kind in ("address", "city", "postal_code"):
            self._address.reseed(_seed(seed))
            return str(getattr(self._address, kind)())
        self._person.reseed(_seed(seed))
        makers: Mapping[str, Callable[[], str]] = {
            "name": self._person.full_name,
            "first_name": self._person.first_name,
            "last_name": self._person.last_name,
            # Those of mimesis are real companies.
            "company": lambda: f"{self._person.last_name()} {self._person.last_name()} Ltd",
        }
        return makers[kind]()

    def _login(self, seed: bytes) -> str:
        self._person.reseed(_seed(seed))
        name = f"{self._person.first_name()}.{self._person.last_name()}".lower()
        return re.sub(r"[^a-z.]", "", name)

    def _sentence(self, length: int, dice: random.Random) -> str:
        """Words of about the same length together, at least one."""
        words: list[str] = []
        left = length
        while left > 0:
            words.append(dice.choice(self._words))
            left -= len(words[-1]) + 1
        return " ".join(words or [dice.choice(self._words)]).capitalize()


def _seed(seed: bytes) -> int:
    """Of what the mark leaves."""
    return int.from_bytes(seed[16:24], "big")


def _padded(text: str, wanted: Wanted) -> str:
    return text.ljust(wanted.length or 0) if wanted.family == "bpchar" else text


def _joined(base: str, between: str, end: str, length: int | None) -> str:
    """The end whole, and before it as much of the base as there is room for."""
    if length is not None:
        base = base[: max(0, length - len(end) - len(between))].rstrip(". ")
    return f"{base}{between}{end}" if base else end


def _number(value: str, family: str, dice: random.Random) -> str:
    """Other digits, as many."""
    found = _NUMBER.fullmatch(value)
    assert found is not None
    whole, rest, power = found["whole"], found["rest"] or "", found["power"]
    if whole == "0" and rest:
        rest = f".{_below_one(rest[1:], dice)}"
    else:
        largest = _LARGEST.get(family, "")
        most = max(1, int(whole[0]) - 1) if len(whole) == len(largest) else 9
        first = dice.randint(1, most) if len(whole) > 1 else dice.randrange(10)
        whole = f"{first}{_digits(len(whole) - 1, dice)}"
        rest = f".{_digits(len(rest) - 1, dice)}" if rest else ""
    sign = found["sign"] if (whole + rest).strip("0.") else ""
    if family in ("float4", "float8"):
        # A step towards 1, so that it does not leave the type's range.
        step = f"e{int(power) + (1 if int(power) < 0 else -1)}" if power else ""
        number = float(f"{sign}{whole}{rest}{step}")
        return float8_text(number) if family == "float8" else float4_text(np.float32(number))
    return f"{sign}{whole}{rest}"


def _below_one(fraction: str, dice: random.Random) -> str:
    """Other digits behind the same zeros: before them the type may have no room."""
    zeros = min(len(fraction) - len(fraction.lstrip("0")), len(fraction) - 1)
    return "0" * zeros + _digits(len(fraction) - zeros, dice)


def _digits(count: int, dice: random.Random) -> str:
    return "".join(str(dice.randrange(10)) for _ in range(count))


def _date(value: str, family: str, dice: random.Random) -> str:
    """Another day of the same year, at another time of the day where the value has one."""
    found = _DATE.fullmatch(value)
    year = found["year"] if found is not None else _ANY_YEAR
    day = f"{year}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
    if family == "date":
        return day
    is_midnight = found is None or found["time"] == _MIDNIGHT
    time = (
        _MIDNIGHT
        if is_midnight
        else f" {dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}"
    )
    return f"{day}{time}{'+00' if family == 'timestamptz' else ''}"
