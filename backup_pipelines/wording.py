"""Numbers and texts as people read them: sizes, ages, counts, one clean line."""

from collections.abc import Mapping
from datetime import UTC, datetime

_SIZE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
# From two of a unit on, since "36 h ago" says more than "1 d ago".
_FROM = 2


def size(count: int) -> str:
    """Bytes for people, in decimal units: `4.1 MB`."""
    amount, unit = float(count), 0
    # What rounds up to 1000 belongs to the next unit.
    while amount >= 999.95 and unit < len(_SIZE_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_SIZE_UNITS[unit]}" if unit else f"{count} B"


def age(at: datetime, now: datetime | None = None) -> str:
    """How long ago a moment was: `3 h ago`."""
    seconds = int(((now or datetime.now(UTC)) - at).total_seconds())
    for length, unit in _AGES:
        if seconds >= _FROM * length:
            return f"{seconds // length} {unit} ago"
    return "just now" if seconds >= 0 else "in the future"


def moment(at: datetime, *, seconds: bool = False) -> str:
    """A time in UTC as all our texts have it: `2026-01-15 02:00 UTC`."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if seconds else f"{at:%Y-%m-%d %H:%M} UTC"


def how_long(seconds: float) -> str:
    """How long something may take: `20 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 100 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """A number and its noun: `1 table`, `2,000 tables`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def counts(numbers: Mapping[str, int]) -> str:
    """Names with their numbers: `name (3), city (1,200)`."""
    return ", ".join(f"{name} ({number:,})" for name, number in numbers.items())


def clean(text: object) -> str:
    """The text on one line without control characters, which could command a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text).replace("\n", " "))
