"""What a record is, for one delimiter, number of values and way to end lines: as patterns."""

import re
from dataclasses import dataclass

from backup_pipelines.csv.problems import Kind

# Possessive throughout: a pattern that fails must not try again, or a missing quote takes hours.
_QUOTED = r'"[^"]*+(?:""[^"]*+)*+"'

# Of CR a file has either none that ends a line without LF, or all of them do.
_LINE_END = r"\r?\n"
_CR_LINE_END = r"\r\n?|\n"

# Four times the columns that a table can have: patterns of a million values would never be done.
_MOST_VALUES = 6_400


@dataclass(frozen=True)
class Record:
    """One record, read for its own sake."""

    cells: tuple[str, ...]
    """As they are written, with their quotes."""
    end: int
    """Where the next one begins."""


@dataclass(frozen=True)
class Broken:
    """A record that cannot be read, and where in the text that shows."""

    reason: str
    place: int
    value: int
    """Which value it is in, from 0."""
    is_open: bool = False
    """Whether more text could make it whole."""
    kind: Kind = "quotes"


class Dialect:
    """The patterns for one delimiter and way to end lines."""

    def __init__(self, delimiter: str, *, cr_ends_lines: bool) -> None:
        """Patterns are compiled once."""
        self.delimiter = delimiter
        self.cr_ends_lines = cr_ends_lines
        self.line_end = re.compile(_CR_LINE_END if cr_ends_lines else _LINE_END)
        self._quoted = re.compile(_QUOTED)
        self._bare = re.compile(rf'[^"\r\n{re.escape(delimiter)}]*+')

    @property
    def terminator(self) -> str:
        """What ends a line that the file's end has cut off."""
        return "\r" if self.cr_ends_lines else "\n"

    def record(self, values: int) -> re.Pattern[str]:
        """A record of so many values, each a group."""
        return re.compile(self._record(values))

    def record_or_line(self, values: int) -> re.Pattern[str]:
        """A record of so many values, or any other line, which is the group after them."""
        line = r"[^\r\n]*+" if self.cr_ends_lines else r"[^\n]*+"
        return re.compile(f"{self._record(values)}|({line}{self._end})")

    def lines(self, text: str, begin: int, end: int) -> int:
        """How many lines end within."""
        if not self.cr_ends_lines:
            return text.count("\n", begin, end)
        return sum(1 for _ in self.line_end.finditer(text, begin, end))

    def boundary(self, text: str) -> int:
        """Where the last record ends in a text that begins with one; 0 if that is nowhere.

        Outside of quotes there is an even number of them before, if all records are whole.
        """
        end = self.terminator
        cut = text.rfind(end) + 1
        odd = text.count('"', 0, cut) % 2
        while odd and cut:
            before = text.rfind(end, 0, cut - 1) + 1
            odd ^= text.count('"', before, cut) % 2
            cut = before
        return cut + 1 if self.cr_ends_lines and cut and text[cut : cut + 1] == "\n" else cut

    def read(self, text: str, begin: int) -> Record | Broken:
        """The record that begins at a place, whatever its number of values."""
        cells: list[str] = []
        place = begin
        while True:
            cell = self._cell(text, place, len(cells))
            if isinstance(cell, Broken):
                return cell
            cells.append(text[place:cell])
            if len(cells) > _MOST_VALUES:
                reason = f"it has more than {_MOST_VALUES:,} values, and no table has such rows"
                return Broken(reason, place, _MOST_VALUES, kind="fields")
            if text.startswith(self.delimiter, cell):
                place = cell + 1
                continue
            ended = self.line_end.match(text, cell)
            assert ended is not None
            return Record(tuple(cells), ended.end())

    @property
    def _end(self) -> str:
        return f"(?:{self.line_end.pattern})"

    def _record(self, values: int) -> str:
        separator = re.escape(self.delimiter)
        # An empty line is no record, also where there is one column.
        bare = rf'[^"\r\n{separator}]' + ("++" if values == 1 else "*+")
        return separator.join([f"({_QUOTED}|{bare})"] * values) + self._end

    def _cell(self, text: str, place: int, number: int) -> int | Broken:
        """Where a value ends, if it ends as it must."""
        is_quoted = text.startswith('"', place)
        found = (self._quoted if is_quoted else self._bare).match(text, place)
        if found is None:
            reason = "the quote that opens its value never closes"
            return Broken(reason, place, number, is_open=True)
        end = found.end()
        if end == len(text):
            return Broken("the line does not end", place, number, is_open=True, kind="fields")
        if text[end] == self.delimiter or self.line_end.match(text, end):
            return end
        if is_quoted:
            reason = (
                "text follows the quote that closes its value: double the quotes that belong to it"
            )
        elif text[end] == '"':
            reason = (
                "a quote is in a value that has none around it: put the value in quotes, and "
                "double this one"
            )
        else:
            reason = (
                "a carriage return without a line feed is in a value that has no quotes around "
                "it: put the value in quotes"
            )
        return Broken(reason, end, number)


def unquoted(cell: str) -> str:
    """What a value says that is written so."""
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
