"""Tables and facts as lines: as wide as the terminal, and whole where there is none."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from backup_pipelines.wording import clean

GAP = "  "
_NARROWEST = 8
_ELLIPSIS = "…"

# A value stands below its name where there is less room beside it.
_LEAST_ROOM = 16

_GREEN, _YELLOW, _RED = "32", "33", "31"
_COLOURS = {
    "completed": _GREEN,
    "done": _GREEN,
    "healthy": _GREEN,
    "ok": _GREEN,
    "ready": _GREEN,
    "refused": _YELLOW,
    "remove": _YELLOW,
    "unknown": _YELLOW,
    "warning": _YELLOW,
    "damaged": _RED,
    "error": _RED,
    "failed": _RED,
    "lost": _RED,
    "NOT healthy": _RED,
    "NOT ready": _RED,
    "unreadable": _RED,
    "wrong": _RED,
}


@dataclass(frozen=True)
class Screen:
    """What lines are for: the columns of a terminal, or None; and whether it shows colours."""

    columns: int | None = None
    colours: bool = False

    def painted(self, text: str, status: str) -> str:
        """The text in the colour of a status, if it has one."""
        colour = _COLOURS.get(status)
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self.colours and text else text


@dataclass(frozen=True)
class Form:
    """How the columns of a table are shown, by their headings."""

    numbers: Collection[str] = ()
    """To the right, and never cut."""
    whole: Collection[str] = ()
    """Never cut, since people copy them."""
    statuses: Collection[str] = ()
    """In the colour of what they say."""
    spare: Sequence[str] = ()
    """Left out where there is no room, the first one first."""


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], form: Form, screen: Screen
) -> list[str]:
    """Rows under their headings.

    A narrow terminal cuts the widest columns; then it does without the spare ones, and says so;
    and at last each row is a paragraph. Everywhere else all is whole.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    # Empty columns tell nothing, and take the room of others.
    used = [i for i in range(len(columns)) if not cells or any(row[i] for row in cells)]
    gone: list[str] = []
    for _ in range(len(form.spare) + 1):
        headings = [columns[i] for i in used]
        picked = [[row[i] for i in used] for row in cells]
        widths = _fitting(headings, picked, form, screen.columns)
        if widths is not None:
            lines = [_line(line, headings, widths, form, screen) for line in (headings, *picked)]
            left_out = f"No room here for: {', '.join(gone)}; --json has all."
            return [*lines, *_wrapped(left_out, screen.columns)] if gone else lines
        spare = next((name for name in form.spare if name in headings), None)
        if spare is None:
            break
        gone.append(spare)
        used.remove(columns.index(spare))
    return _paragraphs(columns, cells, form, screen)


def facts(pairs: Sequence[tuple[str, object]], screen: Screen, *, status: str = "") -> list[str]:
    """Names and values, without the empty ones; `status` names the one that has a colour."""
    there = [(name, clean(value)) for name, value in pairs if value not in ("", None)]
    width = max((wide(name) for name, _ in there), default=0) + len(GAP)
    columns = screen.columns
    lines: list[str] = []
    for name, value in there:
        longest = max(wide(word) for word in value.split(" "))
        below = (
            columns is not None and max(longest, min(_LEAST_ROOM, wide(value))) > columns - width
        )
        indent = len(GAP) if below else width
        values = _wrapped(value, None if columns is None else columns - indent)
        if name == status:
            values = [screen.painted(one, value) for one in values]
        # A long word, such as an id or a place, is not parted: it goes below its name.
        first = name if below else _padded(name, width) + values.pop(0)
        lines += [first, *(" " * indent + one for one in values)]
    return lines


def wide(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _paragraphs(
    columns: Sequence[str], cells: Sequence[Sequence[str]], form: Form, screen: Screen
) -> list[str]:
    """Each row by itself, a column a line."""
    status = next((name for name in columns if name in form.statuses), "")
    lines: list[str] = []
    for row in cells:
        lines += [""] if lines else []
        lines += facts(list(zip(columns, row, strict=True)), screen, status=status)
    return lines


def _fitting(
    headings: Sequence[str], cells: Sequence[Sequence[str]], form: Form, room: int | None
) -> list[int] | None:
    """The widths of the columns, the widest narrowed until all fit; None where they cannot."""
    widths = [
        max(wide(heading), *(wide(row[i]) for row in cells), 0)
        for i, heading in enumerate(headings)
    ]
    if room is None:
        return widths
    room -= len(GAP) * (len(widths) - 1)
    uncut = (*form.whole, *form.numbers)
    may = [i for i, heading in enumerate(headings) if heading not in uncut]
    for i in may:
        # None is ever wider than the room; a cell may be a whole article.
        widths[i] = min(widths[i], max(room, _NARROWEST))
    while sum(widths) > room:
        widest = max(may, key=lambda i: widths[i], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return None
        widths[widest] -= 1
    return widths


def _line(
    texts: Sequence[str],
    headings: Sequence[str],
    widths: Sequence[int],
    form: Form,
    screen: Screen,
) -> str:
    parts: list[str] = []
    for text, heading, width in zip(texts, headings, widths, strict=True):
        shown = _padded(_cut(text, width), width, to_the_right=heading in form.numbers)
        parts.append(screen.painted(shown, text) if heading in form.statuses else shown)
    return GAP.join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    if wide(text) <= width:
        return text
    used = 0
    for number, character in enumerate(text):
        used += wide(character)
        if used >= width:
            return text[:number] + _ELLIPSIS
    return text


def _padded(text: str, width: int, *, to_the_right: bool = False) -> str:
    padding = " " * (width - wide(text))
    return padding + text if to_the_right else text + padding


def _wrapped(text: str, room: int | None) -> list[str]:
    """The text in lines of so many columns; words are never parted."""
    if room is None or wide(text) <= room:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and wide(lines[-1]) + 1 + wide(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
