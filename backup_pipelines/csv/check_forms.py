"""Values that PostgreSQL reads, and that would be stored as other than what is written.

Most are a rounding that nobody asked for: of decimals, of parts of a second, of a float's digits.
Dates must be in ISO order, since in any other two people read two days. Each is a condition over a
text of the file and the value that it was read as; what PostgreSQL prints itself fulfils none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from backup_pipelines.csv import check_reasons as reasons
from backup_pipelines.csv.catalog import ColumnFacts
from backup_pipelines.csv.check_stage import Explain, printed
from backup_pipelines.csv.made_up import TEXTS, length_of

_DATE = r"\d{4,}-\d{1,2}-\d{1,2}"
_TIME = r"\d{1,2}:\d\d(:\d\d([.]\d+)?)?( ?[ap]m)?"
_ZONE = r" ?(z|utc|gmt|[-+]\d{1,2}(:?\d\d(:?\d\d)?)?)"
_END = r"( bc)?\s*$"
_ENDLESS = r"^\s*[-+]?infinity\s*$"

_ISO = {
    "date": rf"^\s*{_DATE}{_END}",
    "time": rf"^\s*{_TIME}\s*$",
    "timetz": rf"^\s*{_TIME}({_ZONE})?\s*$",
    "timestamp": rf"^\s*{_DATE}([ t]{_TIME})?{_END}",
    "timestamptz": rf"^\s*{_DATE}([ t]{_TIME}({_ZONE})?)?{_END}",
}
_WITHOUT_ZONE = {
    "timetz": rf"^\s*{_TIME}\s*$",
    "timestamptz": rf"^\s*{_DATE}([ t]{_TIME})?{_END}",
}

# Dates within arrays and ranges: as people write them, and words that mean another day each day.
_NO_ISO_WITHIN = (
    r"\d[/.]\d+[/.]\d|(^|[^-\d])\d{1,2}-\d{1,2}-\d|now|today|tomorrow|yesterday|[a-z]{3}[ -]\d"
)
_DATES_WITHIN = ("date", "timestamp", "timestamptz", "tsrange", "tstzrange", "daterange",
                 "tsmultirange", "tstzmultirange", "datemultirange")  # fmt: skip

# A digit of a second that PostgreSQL does not keep.
_PAST_MICROSECONDS = r"[.]\d{6}\d*[1-9]"

_PLAIN_NUMBER = r"^\s*[-+]?(\d+[.]?\d*|[.]\d+)(e[-+]?\d{1,3})?\s*$"
# What a float takes and a numeric does not.
_NO_NUMERIC = r"[xp]|e[-+]?\d{4}"
_SCIENTIFIC = r"^\s*[-+]?[\d.]+e"
_FORMULA_ERROR = r"^(#(NAME\?|REF!|VALUE!|DIV/0!|N/A|NUM!|NULL!)|Err:[0-9]+)$"
_LONG_MONEY = r"[.]\d\d\d*[1-9]"
_OCTAL_CHAR = r"^\\[0-3][0-7][0-7]$"

# What takes every value of a type that may have a limit in its column.
_WITHOUT_LIMIT = {
    "numeric": "pg_catalog.numeric",
    "interval": "pg_catalog.interval",
    "time": "pg_catalog.time",
    "timetz": "pg_catalog.timetz",
    "timestamp": "pg_catalog.timestamp",
    "timestamptz": "pg_catalog.timestamptz",
}

_SHORT_NAME = 63


@dataclass(frozen=True)
class Form:
    """A condition that a value must not fulfil, and what to say where it does."""

    broken: sql.Composable
    explain: Explain


def forms_of(
    one: ColumnFacts, text: sql.Composable, value: sql.Composable, hint: str, *, is_accepted: bool
) -> Iterator[Form]:
    """What is asked of the values of a column that its type takes."""
    schema, _, base = one.column.base_type.rpartition(".")
    ask = _Conditions(text, value)
    if base in TEXTS and not is_accepted:
        yield Form(ask.formula_error(), reasons.formula_error(hint))
    if schema != "pg_catalog":
        return
    element = base.removesuffix("[]")
    if base in _ISO:
        yield Form(ask.unprinted(ask.unlike(_ISO[base], _ENDLESS)), reasons.date_form(one))
    elif element in _DATES_WITHIN:
        yield Form(ask.unprinted(ask.like(_NO_ISO_WITHIN)), reasons.date_form(one))
    if base == "numeric" and not is_accepted:
        yield Form(ask.scientific(), reasons.scientific(hint))
    if (rounded := _rounding(one, element, is_array=base != element, ask=ask)) is not None:
        yield Form(rounded, reasons.rounded(one))
    if (cut := _cutting(one, base, ask)) is not None:
        yield Form(cut, reasons.too_long(one))


def is_without_zone(
    one: ColumnFacts, text: sql.Composable, value: sql.Composable
) -> sql.Composable | None:
    """The condition that a value of a column that has a time zone does not say it."""
    base = one.column.base_type.removeprefix("pg_catalog.")
    if base not in _WITHOUT_ZONE:
        return None
    ask = _Conditions(text, value)
    return ask.unprinted(ask.like(_WITHOUT_ZONE[base]))


def _rounding(
    one: ColumnFacts, element: str, *, is_array: bool, ask: "_Conditions"
) -> sql.Composable | None:
    is_limited = "(" in one.written or (
        element == "interval" and one.written.removesuffix("[]") != "interval"
    )
    if element == "money":
        return ask.like(_LONG_MONEY)
    if element in ("float4", "float8"):
        return ask.other_numbers() if is_array else ask.other_number()
    if element == "numeric":
        return ask.other_than("pg_catalog.numeric", is_array) if is_limited else None
    is_range = element in _DATES_WITHIN and element.endswith("range")
    if not is_range and element not in (*_WITHOUT_LIMIT, "date"):
        return None
    found: sql.Composable = ask.like(_PAST_MICROSECONDS)
    if is_limited:
        wide = _WITHOUT_LIMIT[element]
        found = sql.SQL("{} OR {}").format(found, ask.other_text_than(wide, is_array))
    return ask.unprinted(found)


def _cutting(one: ColumnFacts, base: str, ask: "_Conditions") -> sql.Composable | None:
    length = length_of(one.written)
    if base in ("varchar", "bpchar") and length is not None:
        return sql.SQL("pg_catalog.char_length({}) > {}").format(ask.text, sql.Literal(length))
    if base == "name":
        return sql.SQL("pg_catalog.octet_length({}) > {}").format(
            ask.text, sql.Literal(_SHORT_NAME)
        )
    if base == "char":
        return sql.SQL("pg_catalog.octet_length({}) > 1 AND NOT ({})").format(
            ask.text, ask.like(_OCTAL_CHAR)
        )
    # Blanks past the end and what is past a name's end go without a word.
    if base in ("varchar[]", "name[]") and (base == "name[]" or "(" in one.written):
        texts = sql.SQL('({}::pg_catalog.text[] COLLATE pg_catalog."C")')
        return sql.SQL("{} IS DISTINCT FROM {}").format(
            texts.format(ask.value), texts.format(ask.text)
        )
    return None


@dataclass(frozen=True)
class _Conditions:
    """Conditions over one text and its value."""

    text: sql.Composable
    value: sql.Composable

    def like(self, pattern: str) -> sql.Composed:
        """The text is of the pattern."""
        return sql.SQL("{} OPERATOR(pg_catalog.~*) {}").format(self.text, sql.Literal(pattern))

    def unlike(self, *patterns: str) -> sql.Composed:
        """The text is of none of the patterns."""
        return sql.SQL("NOT ({})").format(sql.SQL(" OR ").join(map(self.like, patterns)))

    def unprinted(self, condition: sql.Composable) -> sql.Composed:
        """The condition, but for what PostgreSQL prints: it is quick to tell, patterns are not."""
        return sql.SQL("{} <> {}::pg_catalog.text AND ({})").format(
            self.text, self.value, condition
        )

    def scientific(self) -> sql.Composed:
        """The number has an exponent."""
        return sql.SQL("pg_catalog.strpos(pg_catalog.lower({}), 'e') > 0 AND {}").format(
            self.text, self.like(_SCIENTIFIC)
        )

    def formula_error(self) -> sql.Composed:
        """The text is what a spreadsheet shows for a formula that fails."""
        return sql.SQL(
            "pg_catalog.left({0}, 1) IN ('#', 'E') AND {0} OPERATOR(pg_catalog.~) {1}"
        ).format(self.text, sql.Literal(_FORMULA_ERROR))

    def other_than(self, type_: str, is_array: bool) -> sql.Composed:
        """The value is another than the same text has in a type without a limit."""
        return sql.SQL("{} <> {}::{}").format(self.value, self.text, _type(type_, is_array))

    def other_text_than(self, type_: str, is_array: bool) -> sql.Composed:
        """It prints otherwise than the same text in a type without a limit."""
        return sql.SQL("{}::pg_catalog.text <> ({}::{})::pg_catalog.text").format(
            self.value, self.text, _type(type_, is_array)
        )

    def other_number(self) -> sql.Composed:
        """A float has other digits."""
        number = sql.SQL("CASE WHEN {} THEN {}::pg_catalog.numeric <> ({})::pg_catalog.numeric END")
        text = sql.SQL("{}::pg_catalog.text").format(self.value)
        return self.unprinted(number.format(self.like(_PLAIN_NUMBER), self.text, text))

    def other_numbers(self) -> sql.Composed:
        """One of an array of floats has other digits."""
        numbers = sql.SQL(
            "CASE WHEN {0} OPERATOR(pg_catalog.!~*) {2} THEN {0}::pg_catalog.numeric[] <>"
            " ({1}::pg_catalog.text)::pg_catalog.numeric[] END"
        )
        return self.unprinted(numbers.format(self.text, self.value, _NO_NUMERIC))


def _type(name: str, is_array: bool) -> sql.SQL:
    return printed(name + ("[]" if is_array else ""))
