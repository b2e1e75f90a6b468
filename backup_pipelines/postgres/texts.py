"""Values of a backup as PostgreSQL itself prints them, character by character.

What a backup holds as text is that already. The rest is printed here as the output functions of
its types do under the settings of `sql/settings.sql`.
"""

import math
from binascii import unhexlify
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute

from backup_pipelines.postgres.writer import hex_of

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute

# Arrow prints all six digits of a second's fraction.
_ZEROS_AT_THE_END = r"\.?0+$"

_UUID = r"^(.{8})(.{4})(.{4})(.{4})(.{12})$"
_DASHES = r"\1-\2-\3-\4-\5"

# Decimal exponents that PostgreSQL prints without "e", from the first up to before the second.
_PLAIN_FLOAT8 = (-4, 15)
_PLAIN_FLOAT4 = (-4, 6)

# Python writes these as PostgreSQL does but for ".0".
_SAME_FROM, _SAME_BELOW = 1e-4, 1e15

# So many digits tell every float from its neighbours.
_MOST_DIGITS = {8: 17, 4: 9}

# No smaller float has a shortest decimal half-way between two floats: a half-way one has a bit
# more than they have, so that below it needs a digit more than its neighbours do.
_HALVES_FROM = {8: 2.0**53, 4: 2.0**24}


def as_text(values: pa.Array) -> pa.Array:
    """The values in PostgreSQL's text form; NULL stays null."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values
    if pa.types.is_boolean(kind):
        return _compute.if_else(values, "t", "f")
    if pa.types.is_floating(kind):
        return _floats(values)
    if pa.types.is_decimal(kind):
        return _decimals(values)
    if pa.types.is_fixed_size_binary(kind):
        digits = hex_of(values.cast(pa.binary()), prefix="")
        return _compute.replace_substring_regex(digits, _UUID, _DASHES)
    if pa.types.is_binary(kind):
        return hex_of(values, prefix="\\x")
    if pa.types.is_time(kind):
        return _without_zeros(values.cast(pa.string()))
    if pa.types.is_timestamp(kind):
        return _timestamps(values)
    return values.cast(pa.string())


def from_text(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """The values that `as_text` prints so; raises ArrowException or ValueError for other texts."""
    if isinstance(kind, pa.BaseExtensionType):
        return cast(Any, kind).wrap_array(from_text(texts, kind.storage_type))
    if pa.types.is_boolean(kind):
        # Arrow would take more words than these two.
        is_true = _compute.equal(texts, "t")
        known = _compute.or_(is_true, _compute.equal(texts, "f"))
        if not _compute.all(known, min_count=0).as_py():
            raise pa.ArrowInvalid("a boolean is neither t nor f")
        return is_true
    if pa.types.is_fixed_size_binary(kind):
        digits = _compute.replace_substring(texts, "-", "")
        return _unhexed(digits).cast(kind)
    if pa.types.is_binary(kind):
        return _unhexed(_compute.utf8_slice_codeunits(texts, 2))
    if pa.types.is_time(kind):
        # Arrow reads no time of day; of the first day it is the microseconds since then.
        stamps = _compute.binary_join_element_wise("1970-01-01", texts, " ")
        return stamps.cast(pa.timestamp("us")).cast(pa.int64()).cast(kind)
    if pa.types.is_timestamp(kind) and cast(Any, kind).tz:
        local = _compute.replace_substring_regex(texts, r"\+00$", "")
        return local.cast(pa.timestamp("us")).cast(pa.int64()).cast(kind)
    return texts if kind == texts.type else texts.cast(kind)


def _unhexed(digits: pa.Array) -> pa.Array:
    return pa.array([None if d is None else unhexlify(d) for d in digits.to_pylist()], pa.binary())


def _without_zeros(texts: pa.Array) -> pa.Array:
    return _compute.replace_substring_regex(texts, _ZEROS_AT_THE_END, "")


def _timestamps(values: pa.Array) -> pa.Array:
    zone = cast(Any, values.type).tz
    # They are kept in UTC, and the sessions are in it.
    shown = _without_zeros(values.cast(pa.timestamp("us")).cast(pa.string()))
    return _compute.binary_join_element_wise(shown, "+00", "") if zone else shown


def _decimals(values: pa.Array) -> pa.Array:
    """All digits; Arrow prints small ones with an exponent."""
    kind: Any = values.type
    plain = values.view(pa.decimal128(kind.precision, 0)).cast(pa.string())
    if not kind.scale:
        return plain
    sign = _compute.if_else(_compute.starts_with(plain, "-"), "-", "")
    digits = _compute.utf8_lpad(_compute.utf8_ltrim(plain, "-"), kind.scale + 1, "0")
    point = rf"^(.*)(.{{{kind.scale}}})$"
    return _compute.binary_join_element_wise(
        sign, _compute.replace_substring_regex(digits, point, r"\1.\2"), ""
    )


def _floats(values: pa.Array) -> pa.Array:
    if values.type == pa.float64():
        printed = [None if v is None else float8_text(v) for v in values.to_pylist()]
    else:
        is_null = values.is_null().to_pylist()
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        printed = [
            None if null else float4_text(number)
            for number, null in zip(numbers, is_null, strict=True)
        ]
    return pa.array(printed, pa.string())


def float8_text(value: float) -> str:
    """A double precision number as PostgreSQL prints it with extra_float_digits 1."""
    if _SAME_FROM <= abs(value) < _SAME_BELOW:
        return repr(value).removesuffix(".0")
    shown = repr(value)
    if math.isfinite(value) and abs(value) >= _HALVES_FROM[8]:
        shown = _not_half_way(shown, value, 8)
    return _special(value) or _arranged(shown, _PLAIN_FLOAT8)


def float4_text(value: np.float32) -> str:
    """A real number as PostgreSQL prints it with extra_float_digits 1."""
    number = float(value)
    if special := _special(number):
        return special
    shown = np.format_float_scientific(value, unique=True, trim="-")
    if abs(number) >= _HALVES_FROM[4]:
        shown = _not_half_way(shown, number, 4)
    return _arranged(shown, _PLAIN_FLOAT4)


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    return ""


def _not_half_way(shown: str, value: float, size: int) -> str:
    """The shortest decimal that is not exactly between two floats: readers differ in those."""
    if Fraction(shown) not in _half_ways(value, size):
        return shown
    for digits in range(len(_digits(shown)[0]), _MOST_DIGITS[size]):
        longer = f"{value:.{digits - 1}e}"
        if Fraction(longer) not in _half_ways(value, size) and _reads_as(longer, value, size):
            return longer
    return f"{value:.{_MOST_DIGITS[size] - 1}e}"


def _reads_as(shown: str, value: float, size: int) -> bool:
    return (float(shown) if size == 8 else float(np.float32(shown))) == value


def _half_ways(value: float, size: int) -> set[Fraction]:
    """The numbers half-way to the floats on both sides."""
    kind = np.float64 if size == 8 else np.float32
    number = kind(value)
    # Past the largest float the next step is as wide as the last.
    steps = [abs(Fraction(float(number)) - Fraction(float(other))) for other in _beside(number)]
    return {Fraction(value) + steps[0] / 2, Fraction(value) - steps[1] / 2}


def _beside(number: Any) -> tuple[Any, Any]:
    up = np.nextafter(number, type(number)(np.inf))
    down = np.nextafter(number, type(number)(-np.inf))
    if not np.isfinite(up):
        up = down
    return up, down if np.isfinite(down) else up


def _digits(shown: str) -> tuple[str, int]:
    """The digits of a decimal without zeros around them, and the exponent of the first one."""
    mantissa, _, power = shown.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    leading = len(digits) - len(digits.lstrip("0"))
    return digits.strip("0"), len(whole) - 1 - leading + int(power or 0)


def _arranged(shown: str, plain: tuple[int, int]) -> str:
    sign = "-" if shown.startswith("-") else ""
    digits, exponent = _digits(shown)
    if not plain[0] <= exponent < plain[1]:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{exponent:+03d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
