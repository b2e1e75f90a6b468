"""The rows of a CSV file as texts, with the line of the file that each begins in.

NULL is the bare token, and a quoted one is a text. Python's csv (before 3.12) and pandas cannot
tell them apart; pyarrow can, but takes records with wrong quotes for something silently, and tells
no lines. So the records are read here: whole pieces by one pattern, and those with anything wrong
record by record, so that every wrong one is told.

Lines end in CR LF or LF; in a file whose header ends in CR alone, in that too. Empty lines are no
rows: a row whose only value is empty has it in quotes. After a record that cannot be read, reading
goes on in the line after the one that it began in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from backup_pipelines.csv import decoding
from backup_pipelines.csv.dialect import Broken, Dialect, Record, unquoted
from backup_pipelines.csv.problems import Kind, Problem, Problems

_PIECE = decoding.PIECE_BYTES

# A quote that never closes makes one value of the rest of a file, which must not fill the memory.
LONGEST_RECORD = 64 * 1024 * 1024
"""Characters of one record."""

# Rows are made Arrow arrays in portions that stay small in memory.
_MOST_AT_ONCE = 4 * _PIECE
_ROWS_AT_ONCE = 10_000

# Problems that are noted at once.
_NOTED = 10_000

# Its functions are made when it is imported, so that no type checker knows them.
_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class Rows:
    """Some rows in the order of the file, by column."""

    lines: pa.Array
    """Where each begins: the physical line, from 1."""
    columns: tuple[pa.Array, ...]
    """Texts and NULLs."""


@dataclass(frozen=True)
class Header:
    """The first record of a file."""

    names: tuple[str, ...]
    line: int
    dialect: Dialect
    end: int
    """Where in the text the rows begin."""
    next_line: int


def read_header(text: str, delimiter: str) -> Header | Broken | None:
    """The header that a text begins with, after empty lines; None where there is nothing else."""
    begin = len(text) - len(text.lstrip("\r\n"))
    if begin == len(text):
        return None
    dialect = Dialect(delimiter, cr_ends_lines=False)
    found = dialect.read(text, begin)
    if isinstance(found, Broken) and text.startswith("\r", found.place):
        dialect = Dialect(delimiter, cr_ends_lines=True)
        found = dialect.read(text, begin)
    if isinstance(found, Broken):
        return found
    line = 1 + dialect.lines(text, 0, begin)
    names = tuple(unquoted(cell) for cell in found.cells)
    return Header(names, line, dialect, found.end, 1 + dialect.lines(text, 0, found.end))


class Records:
    """One file, read once from its beginning."""

    def __init__(
        self,
        file: str,
        pieces: Iterator[str],
        delimiter: str,
        null: str,
        problems: Problems,
    ) -> None:
        """Read the header; there is none in a file without any, which is noted as a problem."""
        self._file = file
        self._pieces = pieces
        self._null = null
        self._problems = problems
        self._noted: list[Problem] = []
        self._is_last = False
        self._text = self._more(0)
        self.empty_lines = 0
        """Lines between the rows that had nothing in them, and were passed over."""
        self.header = self._read_header(delimiter)

    def rows(self) -> Iterator[Rows]:
        """The rows that are whole; the others are noted as problems."""
        if self.header is None:
            return
        reader = _Reader(self, self.header)
        text = self._text[self.header.end :]
        self._text = ""
        while True:
            yield from reader.take(text, self._is_last)
            if self._is_last or reader.has_stopped:
                break
            text = reader.left + self._more(len(reader.left))
        self.flush()

    def note(self, line: int, column: str, value: str | None, kind: Kind, reason: str) -> None:
        """Note a problem."""
        self._noted.append(Problem(self._file, line, column, value, kind, reason))
        if len(self._noted) >= _NOTED:
            self.flush()

    def flush(self) -> None:
        """Hand the noted problems on."""
        self._problems.add(self._noted)
        self._noted.clear()

    @property
    def null(self) -> str:
        """What stands for NULL without quotes."""
        return self._null

    def _more(self, at_least: int) -> str:
        """More text: so much, since a record that is longer is looked at from its beginning."""
        pieces: list[str] = []
        size = 0
        while size <= max(at_least, _PIECE // 2):
            piece = next(self._pieces, None)
            if piece is None:
                self._is_last = True
                break
            pieces.append(piece)
            size += len(piece)
        return "".join(pieces)

    def _read_header(self, delimiter: str) -> Header | None:
        while True:
            # What the file's end has cut off ends there.
            text = self._text + ("\n" if self._is_last else "")
            found = read_header(text, delimiter)
            is_short = found is None or (isinstance(found, Broken) and found.is_open)
            if not is_short or self._is_last or len(self._text) > LONGEST_RECORD:
                break
            self._text += self._more(len(self._text))
        if isinstance(found, Header):
            return self._checked(found)
        reason = f"the header cannot be read: {found.reason}" if found else "the file is empty"
        kind: Kind = found.kind if found else "missing column"
        self.note(1, "", None, kind, f"{reason}; the first line must name the columns")
        self.flush()
        return None

    def _checked(self, header: Header) -> Header:
        """The header with names that can be shown."""
        for name in header.names:
            if decoding.has_marks(name):
                reason = _undecoded(name)
                self.note(header.line, decoding.shown(name), None, "encoding", reason)
        return replace(header, names=tuple(map(decoding.shown, header.names)))


class _Reader:
    """Takes rows from the text of one file."""

    def __init__(self, records: Records, header: Header) -> None:
        self._records = records
        self._names = header.names
        self._dialect = header.dialect
        self._line = header.next_line
        self._record = header.dialect.record(len(header.names))
        self._record_or_line = header.dialect.record_or_line(len(header.names))
        self.has_stopped = False
        self.left = ""

    def take(self, text: str, is_last: bool) -> Iterator[Rows]:
        """The rows that the text has; what is not whole yet is `left`."""
        if is_last and text and self._dialect.line_end.search(text, len(text) - 1) is None:
            text += self._dialect.terminator
        cut = len(text) if is_last else self._dialect.boundary(text)
        clean = not (decoding.has_marks(text) or "\0" in text)
        # After a long record there is more text than should be in memory as rows.
        if clean and 0 < cut <= _MOST_AT_ONCE and (found := self._take_whole(text[:cut])):
            self.left = text[cut:]
            yield found
        else:
            yield from self._take_singly(text, is_last, clean)

    def _take_whole(self, text: str) -> Rows | None:
        """The rows of a text with nothing wrong in it; None for any other."""
        found = self._record_or_line.findall(text)
        *columns, others = zip(*found, strict=True)
        if any(others):
            return None
        ended = self._dialect.lines(text, 0, len(text))
        first, self._line = self._line, self._line + ended
        if ended == len(found):
            lines = np.arange(first, first + ended, dtype=np.int64)
        else:
            lines = first + self._lines_before(columns)
        return Rows(pa.array(lines), tuple(map(self._values, columns)))

    def _lines_before(self, columns: Sequence[Sequence[str]]) -> Any:
        """How many lines end before each record, some of which have several."""
        within = np.ones(len(columns[0]), dtype=np.int64)
        for values in columns:
            # Patterns are looked for in UTF-8.
            pattern = self._dialect.line_end.pattern
            counted = _compute.count_substring_regex(pa.array(values, pa.string()), pattern)
            within += counted.to_numpy(zero_copy_only=False)
        return np.concatenate(([0], np.cumsum(within)[:-1]))

    def _take_singly(self, text: str, is_last: bool, clean: bool) -> Iterator[Rows]:
        """As `take`, record by record, with a look at every one that is not as it must be."""
        found: list[tuple[str, ...]] = []
        lines: list[int] = []
        place = 0
        while place < len(text) and not self.has_stopped:
            whole = self._record.match(text, place)
            if whole is not None:
                if clean or self._is_clean(whole):
                    found.append(whole.groups())
                    lines.append(self._line)
                end = whole.end()
            else:
                end = self._look(text, place, is_last)
                if end == place:
                    break
            self._line += self._dialect.lines(text, place, end)
            place = end
            if len(found) == _ROWS_AT_ONCE:
                yield self._rows(found, lines)
                found, lines = [], []
        self.left = text[place:]
        if found:
            yield self._rows(found, lines)

    def _rows(self, found: Sequence[tuple[str, ...]], lines: Sequence[int]) -> Rows:
        columns = tuple(map(self._values, zip(*found, strict=True)))
        return Rows(pa.array(lines, pa.int64()), columns)

    def _look(self, text: str, place: int, is_last: bool) -> int:
        """Say what is wrong with a record; returns where to go on, `place` to wait for more."""
        if (empty := self._dialect.line_end.match(text, place)) is not None:
            self._records.empty_lines += 1
            return empty.end()
        found = self._dialect.read(text, place)
        if isinstance(found, Record):
            self._note_number(len(found.cells))
            return found.end
        is_endless = len(text) - place > LONGEST_RECORD
        ended = self._dialect.line_end.search(text, place)
        if ((found.is_open and not is_last) or ended is None) and not is_endless:
            return place
        column = self._names[found.value] if found.value < len(self._names) else ""
        line = self._line + self._dialect.lines(text, place, found.place)
        reason = found.reason
        if found.is_open and is_endless:
            reason += f" within {LONGEST_RECORD:,} characters, and no record can be longer"
        if found.is_open or line != self._line:
            reason += f" (line {line})"
        if ended is None or (found.is_open and not self._goes_on(text, ended.end())):
            reason += "; nothing after it could be read"
            self.has_stopped = True
        self._records.note(self._line, column, None, found.kind, reason)
        return len(text) if ended is None else ended.end()

    def _goes_on(self, text: str, place: int) -> bool:
        """Whether rows follow; what is left of one long text would all be wrong."""
        return place == len(text) or self._record.match(text, place) is not None

    def _note_number(self, values: int) -> None:
        wanted = len(self._names)
        has = f"{values:,} value{'' if values == 1 else 's'}"
        names = f"the header names {wanted:,} column{'' if wanted == 1 else 's'}"
        self._records.note(self._line, "", None, "fields", f"the line has {has}, and {names}")

    def _is_clean(self, whole: Any) -> bool:
        """Whether a record has only characters; what else it has is noted."""
        if "\0" not in whole[0] and not decoding.has_marks(whole[0]):
            return True
        for name, cell in zip(self._names, whole.groups(), strict=True):
            value = unquoted(cell)
            if decoding.has_marks(value):
                reason = _undecoded(value)
            elif "\0" in value:
                reason = "a NUL byte, which no text of PostgreSQL can have"
            else:
                continue
            self._records.note(self._line, name, decoding.shown(value), "encoding", reason)
            break
        return False

    def _values(self, cells: Sequence[str]) -> pa.Array:
        """A column's values as they are meant."""
        written = pa.array(cells, pa.string())
        quoted = _compute.starts_with(written, '"')
        is_null = _compute.and_not(_compute.equal(written, self._records.null), quoted)
        values = written
        if _compute.any(quoted).as_py():
            # As bytes: where a character begins need not be looked for.
            whole = written.cast(pa.binary())
            inner = _compute.binary_slice(whole, 1, -1)
            if _compute.any(_compute.match_substring(inner, '""')).as_py():
                inner = _compute.replace_substring(inner, '""', '"')
            values = _compute.if_else(quoted, inner, whole).cast(pa.string())
        return _compute.if_else(is_null, pa.scalar(None, pa.string()), values)


def _undecoded(text: str) -> str:
    return f"bytes that are not of the encoding: {', '.join(decoding.marked_bytes(text))} in hex"
