"""Why a value is not taken, in words that say what to write instead."""

import difflib
import re
from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache

from backup_pipelines.csv.catalog import ColumnFacts, in_list
from backup_pipelines.csv.check_stage import Explain, Texts
from backup_pipelines.csv.made_up import length_of
from backup_pipelines.csv.problems import Kind
from backup_pipelines.wording import count

# SQLSTATEs that input functions raise.
_TOO_LONG = ("22001", "22026")
_BEYOND = "22003"
_NO_SUCH_TIME = ("22008", "22007")
_CHECK = "23514"

_WHOLE: Mapping[str, str] = {
    "int2": "-32768 to 32767",
    "int4": "-2147483648 to 2147483647",
    "int8": "-9223372036854775808 to 9223372036854775807",
    "oid": "0 to 4294967295",
}
_DECIMAL = ("numeric", "float4", "float8", "money")
_MOMENTS: Mapping[str, str] = {
    "date": "YYYY-MM-DD",
    "time": "HH:MM:SS",
    "timetz": "HH:MM:SS+HH:MM",
    "timestamp": "YYYY-MM-DD HH:MM:SS",
    "timestamptz": "YYYY-MM-DD HH:MM:SS+HH:MM",
}
_FORMATS: Mapping[str, str] = {
    "uuid": "write 32 hexadecimal digits in groups of 8-4-4-4-12",
    "bytea": r"write \x and two hexadecimal digits for each byte",
    "json": "write JSON, with texts and names in double quotes",
    "jsonb": "write JSON, with texts and names in double quotes",
    "inet": "write an address like 192.0.2.1 or 2001:db8::1, with /bits for a network",
    "cidr": "write a network like 192.0.2.0/24, with no bits set past the /",
}

_SCIENTIFIC = re.compile(r"\s*[-+]?\d+([.,]\d+)?[eE][-+]?\d+\s*")
_NUMBER = re.compile(r"[-+]?[\d.,'\u2019 \u00a0\u202f]*\d[\d.,'\u2019 \u00a0\u202f]*")
_BLANKS = re.compile(r"['\u2019 \u00a0\u202f]")
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?")
_ISO_DAY = re.compile(r"\s*\d{4,}-\d{1,2}-\d{1,2}(?=\D|$)")
_DAY = re.compile(r"\s*(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?=[\sT]|$)(.*)", re.DOTALL)
_SERIAL = re.compile(r"\s*(\d{4,5})([.,]\d+)?\s*")
_ZONE = re.compile(
    r".*\d ?([zZ]|[uU][tT][cC]|[gG][mM][tT]|[-+]\d\d(:?\d\d)?)(?: BC)?\s*", re.DOTALL
)
_TIME = re.compile(r".*\d:\d\d.*", re.DOTALL)

# How many of the values of a list are named.
_LISTED = 20

# Wrong values of a column are often the same few.
_REMEMBERED = 10_000

# The day 0 of spreadsheets.
_DAY_0 = date(1899, 12, 30)
_CENTURY = 100


def refused(one: ColumnFacts, null: str) -> Explain:
    """Of a value that a column's input function refuses; said are SQLSTATE, message and more."""
    base = one.column.base_type.removeprefix("pg_catalog.")

    @lru_cache(_REMEMBERED)
    def explained(value: str, said: tuple[str | None, ...]) -> tuple[Kind, str]:
        state, message, detail, broken = (text or "" for text in said)
        if state == _CHECK:
            return _broken_domain(one, value, broken, message)
        if not value.strip():
            kind = "an empty text" if not value else "a blank text"
            return "type", f"{kind} is no {_type(one)}: NULL is written {null} without quotes"
        if one.labels:
            return "not allowed", none_of(value, one.allowed)
        if state in _TOO_LONG and (length := length_of(one.written)) is not None:
            return "length", _length(one, value, length)
        if base in _WHOLE or base in _DECIMAL:
            return _no_number(one, base, value, state)
        if base in _MOMENTS:
            return _no_moment(base, value, state)
        if base == "bool":
            return "type", "is no boolean: write true or false (t, f, yes, no, on, off, 1, 0)"
        reason = f"PostgreSQL does not take it as {_type(one)} ({_plain(message, detail)})"
        more = _FORMATS.get(base)
        return "type", f"{reason}: {more}" if more else reason

    return lambda values, said: explained(values[0] or "", tuple(said))


def required(one: ColumnFacts) -> Explain:
    """Of a NULL in a column that takes none."""
    reason = "must not be NULL"
    if one.default:
        reason += f"; leave the column out of the file to get its default, {one.default}"
    return lambda values, said: ("required", reason)


def date_form(one: ColumnFacts) -> Explain:
    """Of a day or time that is not written in ISO order, though PostgreSQL reads it."""
    base = one.column.base_type.removeprefix("pg_catalog.")
    return lambda values, said: ("date form", _form(base, values[0] or ""))


def scientific(hint: str) -> Explain:
    """Of a number with an exponent where all digits are wanted."""
    reason = (
        "is in scientific notation, as spreadsheets shorten long numbers: digits may be lost;"
        f" write all digits, or {hint}"
    )
    return lambda values, said: ("spreadsheet", reason)


def formula_error(hint: str) -> Explain:
    """Of a text that stands for a formula that failed."""
    reason = f"is how a spreadsheet shows an error in a formula; {hint}"
    return lambda values, said: ("spreadsheet", reason)


def rounded(one: ColumnFacts) -> Explain:
    """Of a value that would be stored with fewer digits."""
    reason = f"{_type(one)} would keep fewer digits than are written: write what it is to be"
    return lambda values, said: ("rounded", reason)


def too_long(one: ColumnFacts) -> Explain:
    """Of a text that would be cut, if only by its last blanks."""
    limits = {"name": "63 bytes", "char": "1 byte"}
    base = one.column.base_type.removeprefix("pg_catalog.").removesuffix("[]")
    length = length_of(one.written)

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        del said
        value = values[0] or ""
        if length is not None:
            return "length", _length(one, value, length)
        return "length", f"would be cut: {_type(one)} takes {limits.get(base, 'less')}"

    return explained


def none_of(value: str, allowed: tuple[str, ...]) -> str:
    """That a value is not in a list, and which of the list is near it."""
    more = f" and {len(allowed) - _LISTED:,} more" if len(allowed) > _LISTED else ""
    reason = f"is none of {', '.join(allowed[:_LISTED])}{more}"
    folded = {text.strip().casefold(): text for text in reversed(allowed)}
    near = difflib.get_close_matches(value.strip().casefold(), list(folded), 1)
    return f"{reason}; did you mean {folded[near[0]]}?" if near else reason


def _broken_domain(one: ColumnFacts, value: str, name: str, message: str) -> tuple[Kind, str]:
    definition = one.domain_rules.get(name)
    if definition is None:
        return "check", f"a rule of its type does not hold: {message}"
    if in_list(definition):
        return "not allowed", none_of(value, one.allowed)
    return "check", f"{definition} does not hold"


def _length(one: ColumnFacts, value: str, length: int) -> str:
    is_bits = "bit" in one.written
    what = count(len(value), "bit" if is_bits else "character")
    exactly = "" if "varying" in one.written or not is_bits else "exactly "
    return f"has {what}, {_type(one)} takes {exactly}{length:,}"


def _no_number(one: ColumnFacts, base: str, value: str, state: str) -> tuple[Kind, str]:
    type_ = _type(one)
    stripped = value.strip()
    if _SCIENTIFIC.fullmatch(value) and base in _WHOLE:
        return (
            "spreadsheet",
            "is in scientific notation, as spreadsheets shorten long numbers: digits may be lost;"
            " write all digits",
        )
    if state == _BEYOND:
        takes = f", which takes {_WHOLE[base]}" if base in _WHOLE else ""
        return "type", f"is beyond {type_}{takes}"
    if base in _WHOLE and re.fullmatch(r"[-+]?\d+\.\d*", stripped):
        whole, _, decimals = stripped.partition(".")
        instead = f": write {whole}" if not decimals.strip("0") else ""
        return "type", f"has decimals, {type_} has none{instead}"
    if stripped.startswith("#") or stripped.startswith("Err:"):
        return "spreadsheet", "is how a spreadsheet shows an error in a formula"
    # An amount's sign of currency or of percent is about the number, not in it.
    if _NUMBER.fullmatch(stripped) and (written := _numbers(stripped)):
        fitting = [number for number in written if base in _DECIMAL or "." not in number]
        if fitting:
            return "type", (
                f"is no {type_}, which has a point before its decimals and nothing between"
                f" thousands: write {' or '.join(fitting)}"
            )
    return "type", f"is no {type_}: write digits, with a point before decimals"


def _numbers(text: str) -> list[str]:
    """What a number with commas, points or blanks may mean."""
    bare = _BLANKS.sub("", text)
    point, comma = bare.rfind("."), bare.rfind(",")
    if point >= 0 and comma >= 0:
        decimal = "." if point > comma else ","
        other = "," if decimal == "." else "."
        readings = [bare.replace(other, "").replace(decimal, ".")]
    elif bare.count(",") == 1:
        # Three digits after it may be thousands as well as decimals.
        readings = [bare.replace(",", ".")]
        if len(bare) - comma == len(",000"):
            readings.append(bare.replace(",", ""))
    elif bare.count(".") == 1:
        readings = [bare]
    else:
        readings = [bare.replace(",", "") if comma >= 0 else bare.replace(".", "")]
    return [number for number in readings if _PLAIN.fullmatch(number) and number != text]


def _no_moment(base: str, value: str, state: str) -> tuple[Kind, str]:
    if base in ("time", "timetz") and not _DAY.match(value):
        return "type", f"is no time of day: write {_MOMENTS[base]}"
    if _ISO_DAY.match(value) and base not in ("time", "timetz"):
        if state in _NO_SUCH_TIME:
            return "type", f"there is no such day or time: write {_MOMENTS[base]}"
        return "type", f"is no {base}: write {_MOMENTS[base]}"
    if _DAY.match(value) or _SERIAL.fullmatch(value):
        return "date form", _form(base, value)
    return "type", f"is no {base}: write {_MOMENTS[base]}"


def _form(base: str, value: str) -> str:
    written = _MOMENTS.get(base, "every day as YYYY-MM-DD")
    if base in ("date", "timestamp") and _ISO_DAY.match(value):
        if base == "date" and _TIME.fullmatch(value):
            return f"has a time of day, which a date does not keep: write {written}"
        if base == "timestamp" and _TIME.fullmatch(value) and _ZONE.fullmatch(value):
            return f"has a time zone, which this column does not keep: write {written}"
    if (day := _DAY.match(value)) and (read := _days(day[1], day[3], day[4])):
        if len(read) > 1:
            said = f"can be read as {' or '.join(read)}"
            return f"{said}: write the one that is meant, as {written}"
        return f"is not in the order of {written}: write {read[0]}{day[5]}"
    if (serial := _SERIAL.fullmatch(value)) and base in ("date", "timestamp", "timestamptz"):
        meant = _DAY_0 + timedelta(days=int(serial[1]))
        return f"is how a spreadsheet counts days, where it is {meant}: write {written}"
    return f"is not in the form of {written}: write it so"


def _days(first: str, second: str, third: str) -> list[str]:
    """The days that three numbers can be."""
    if len(first) > len("31"):
        orders = [(first, second, third)]
    else:
        orders = [(third, second, first), (third, first, second)]
        if len(third) < len("2024"):
            orders.append((first, second, third))
    found: list[str] = []
    for year, month, day in orders:
        try:
            full = int(year) if len(year) > len("99") else _full_year(int(year))
            found.append(date(full, int(month), int(day)).isoformat())
        except ValueError:
            continue
    return list(dict.fromkeys(found))


def _full_year(year: int) -> int:
    # As PostgreSQL and spreadsheets read two digits.
    return year + (2000 if year < 70 else 1900) if year < _CENTURY else year


def _type(one: ColumnFacts) -> str:
    return one.column.type.removeprefix("public.")


def _plain(message: str, detail: str) -> str:
    return " ".join(f"{message} {detail}".split())
