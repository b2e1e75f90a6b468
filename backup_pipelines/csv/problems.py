"""What is wrong with files that are to be imported: all of it, however much, in their order."""

import csv
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

Kind = Literal[
    "encoding",
    "quotes",
    "fields",
    "unknown column",
    "missing column",
    "repeated column",
    "type",
    "length",
    "rounded",
    "date form",
    "not allowed",
    "required",
    "check",
    "twice in the file",
    "exists already",
    "no parent",
    "key",
    "spreadsheet",
]
"""What kinds of problems there are, in the words that people read."""

KINDS: tuple[Kind, ...] = get_args(Kind)

HEADER = ("file", "line", "column", "value", "kind", "reason")
"""The columns of the file of problems."""

_ADD = "INSERT INTO problems VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a row, a column or a file from being imported."""

    file: str
    line: int
    """The physical line that the record begins in, from 1, which is the header's."""
    column: str
    """Empty where it is about the whole line."""
    value: str | None
    """As the file has it; None for NULL, and where no value is meant."""
    kind: Kind
    reason: str


class Problems:
    """All problems that were found, on disk, since a wrong file can have one in every row."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Nothing is wrong yet."""
        self._database = database

    def add(self, found: Iterable[Problem]) -> None:
        """Note problems, in any order."""
        # In one transaction; each row would be one of its own.
        self._database.execute("BEGIN")
        self._database.executemany(
            _ADD, ((p.file, p.line, p.column, p.value, p.kind, p.reason) for p in found)
        )
        self._database.execute("COMMIT")

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._database.execute("SELECT count(*) FROM problems").fetchone()[0])

    def lines(self, file: str) -> int:
        """How many lines of a file have problems."""
        asked = "SELECT count(DISTINCT line) FROM problems WHERE file = ?"
        return int(self._database.execute(asked, [file]).fetchone()[0])

    def by_kind(self) -> Mapping[str, int]:
        """How many there are of each kind that occurs."""
        rows = self._database.execute("SELECT kind, count(*) FROM problems GROUP BY kind")
        found = dict(rows.fetchall())
        return {kind: found[kind] for kind in KINDS if kind in found}

    def in_order(self, most: int = -1) -> Iterator[Problem]:
        """By file, line and column; `most` of them, or all."""
        rows = self._database.execute(
            "SELECT * FROM problems ORDER BY file, line, column_name, kind LIMIT ?", [most]
        )
        for file, line, column, value, kind, reason in rows:
            yield Problem(file, line, column, value, cast(Kind, kind), reason)

    def write(self, path: Path) -> None:
        """All of them as a CSV file of UTF-8 for its owner alone; one that is there is replaced."""
        path.unlink(missing_ok=True)
        with open(path, "x", encoding="utf-8", newline="", opener=_private) as out:
            writer = csv.writer(out)
            writer.writerow(HEADER)
            for one in self.in_order():
                writer.writerow((one.file, one.line, one.column, one.value, one.kind, one.reason))


def _private(path: str, flags: int) -> int:
    # It has values of the files.
    return os.open(path, flags, 0o600)


@contextmanager
def problems(folder: Path) -> Generator[Problems]:
    """An empty list of problems, kept in the folder."""
    database = sqlite3.connect(folder / "problems.db", isolation_level=None)
    try:
        # It lives as long as this process: after a crash nobody reads it.
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(
            "CREATE TABLE problems (file TEXT, line INTEGER, column_name TEXT, value TEXT,"
            " kind TEXT, reason TEXT)"
        )
        yield Problems(database)
    finally:
        database.close()
