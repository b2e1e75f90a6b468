"""What the header of a file names, and which of the table's columns that is.

A name is a column's when it is exactly that, or when somebody says so; one that is nearly a
column's is only suggested. In mode upsert a required column may be missing here, since only rows
that would be inserted need it: whoever checks the rows says so of those.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backup_pipelines.csv.catalog import TableFacts
from backup_pipelines.csv.incoming import LINE, AskedImport
from backup_pipelines.csv.problems import Kind, Problem
from backup_pipelines.csv.source import near
from backup_pipelines.errors import Refused

_EXCEL_MARK = "sep="


@dataclass(frozen=True)
class Matched:
    """The columns of one file, and what is wrong with them."""

    file: str
    facts: TableFacts
    names: tuple[str, ...]
    """As the file has them."""
    columns: Mapping[str, int]
    """Which value of a record each column's is, in the file's order."""
    ignored: tuple[str, ...]
    problems: tuple[Problem, ...]


def match(
    file: str, names: Sequence[str], line: int, facts: TableFacts, asked: AskedImport
) -> Matched:
    """The table's columns that a header names, in its line of the file."""
    matcher = _Matcher(file, line, facts, asked)
    for place, name in enumerate(names):
        matcher.add(place, name)
    matcher.add_missing()
    return Matched(
        file,
        facts,
        tuple(names),
        matcher.columns,
        tuple(matcher.ignored),
        tuple(matcher.problems),
    )


def known_names(file: str, facts: TableFacts, asked: AskedImport) -> frozenset[str]:
    """The names that a header of the table can have, by which its delimiter is found."""
    said = [*asked.renamed, *asked.ignored]
    own = [name.removeprefix(f"{file}:") for name in said]
    return frozenset([*(column.name for column in facts.table.columns), *own])


def refuse_unfitting(asked: AskedImport, files: Sequence[Matched]) -> None:
    """Raise Refused for anything said of columns that fits no file: it would pass unnoticed."""
    names = {name for one in files for name in one.names}
    names |= {f"{one.file}:{name}" for one in files for name in one.names}
    for kind, said in (("--map", asked.renamed.keys()), ("--ignore", asked.ignored)):
        for name in sorted(said):
            if name not in names:
                raise Refused(
                    f"{kind} {name!r}: no file has a column of that name{_like(name, names)}"
                )
    for name in sorted(asked.ignored & asked.renamed.keys()):
        raise Refused(f"{name!r} is both mapped and ignored: say one of them")
    for one in files:
        if LINE in one.columns:
            raise Refused(
                f"{one.facts.table.qualified} has a column {LINE!r}, which an import "
                "needs for itself: leave it out of the file"
            )
    _refuse_accepted(asked, files)
    _refuse_keys(asked, {one.facts.table.qualified: one for one in files})


def _refuse_accepted(asked: AskedImport, files: Sequence[Matched]) -> None:
    known = {
        f"{table}.{column}"
        for one in files
        for table in _names_of(one.facts)
        for column in one.columns
    }
    for name in sorted(asked.accepted):
        if name not in known:
            raise Refused(
                f"--accept {name!r}: no file has that column of that table{_like(name, known)}"
            )


def _refuse_keys(asked: AskedImport, files: Mapping[str, Matched]) -> None:
    if asked.keys and asked.mode != "upsert":
        raise Refused(
            "rows are matched by a key in mode upsert only: choose it, or leave the key out"
        )
    for table, columns in asked.keys.items():
        if (one := files.get(table)) is None:
            raise Refused(f"a key is said of {table}, which has no file{_like(table, files)}")
        known = [column.name for column in one.facts.columns]
        for name in columns:
            if name not in known:
                raise Refused(
                    f"{table} has no column {name!r} to match rows by{_like(name, known)}"
                )
    if asked.mode == "upsert":
        for table, one in files.items():
            if not asked.keys.get(table, one.facts.table.primary_key):
                raise Refused(
                    f"{table} has no primary key: say which unique columns its rows are matched "
                    "by, or choose mode insert"
                )


def _names_of(facts: TableFacts) -> tuple[str, ...]:
    """How people may name a table."""
    table = facts.table
    return (table.qualified, table.name) if table.schema == "public" else (table.qualified,)


def _like(name: str, known: Iterable[str]) -> str:
    meant = near(name, known)
    return f"; did you mean {meant}?" if meant else ""


class _Matcher:
    """Goes through one header."""

    def __init__(self, file: str, line: int, facts: TableFacts, asked: AskedImport) -> None:
        self._file = file
        self._line = line
        self._facts = facts
        self._asked = asked
        self._known = {column.name for column in facts.columns}
        self._generated = {c.name for c in facts.table.columns if c.generated}
        self.columns: dict[str, int] = {}
        self.ignored: list[str] = []
        self.problems: list[Problem] = []

    def add(self, place: int, name: str) -> None:
        """Find the column of one name."""
        own = f"{self._file}:{name}"
        if own in self._asked.ignored or (
            name in self._asked.ignored and own not in self._asked.renamed
        ):
            self.ignored.append(name)
            return
        meant = self._asked.renamed.get(own, self._asked.renamed.get(name, name))
        if meant in self.columns:
            self._note(
                name,
                "repeated column",
                f"column {meant} is in the header before: name each column once",
            )
        elif meant in self._known:
            self.columns[meant] = place
        else:
            self._note(name, "unknown column", self._why_unknown(place, name, meant))

    def add_missing(self) -> None:
        """Note the columns that every row needs."""
        table = self._facts.table
        if self._asked.mode == "insert":
            needed: Collection[str] = [c.name for c in self._facts.columns if c.required]
            why = "every row must say it: it may not be NULL, and has no default"
        else:
            needed = self._asked.keys.get(table.qualified, table.primary_key)
            why = "rows are matched by it"
        for name in needed:
            if name not in self.columns:
                self._note(name, "missing column", f"the header does not name it, and {why}")
        if not self.columns and not self.problems:
            self._note("", "missing column", f"no column of {table.qualified} is left")

    def _why_unknown(self, place: int, name: str, meant: str) -> str:
        table = self._facts.table.qualified
        if meant in self._generated:
            return f"it is computed by the database: leave it out (--ignore {name})"
        if meant != name:
            hint = _like(meant, self._known)
            return f"it is said to be {meant}, and {table} has no such column{hint}"
        if not name.strip():
            return f"column {place + 1} has no name: name it, or leave it out (--ignore {name!r})"
        if place == 0 and name.lower().startswith(_EXCEL_MARK):
            return "it is Excel's mark of the delimiter, not a header: remove this line"
        near_by = near(name, self._known)
        if near_by:
            return (
                f"{table} has no such column; did you mean {near_by}? then say that it is "
                f"(--map {name}={near_by}), or leave it out (--ignore {name})"
            )
        return (
            f"{table} has no such column: say which it is (--map {name}=COLUMN), or leave it out "
            f"(--ignore {name}); its columns are {', '.join(sorted(self._known))}"
        )

    def _note(self, name: str, kind: Kind, reason: str) -> None:
        self.problems.append(Problem(self._file, self._line, name, None, kind, reason))
