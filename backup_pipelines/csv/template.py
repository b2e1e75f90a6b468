"""Empty files for an import into tables, and beside each what its columns take.

Everything is read from the live catalog in one read-only transaction.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.catalog import ColumnFacts, TableFacts, describe_tables
from backup_pipelines.csv.example import Example, example_row
from backup_pipelines.csv.files import NewFiles, new_files
from backup_pipelines.csv.null import NULL
from backup_pipelines.csv.tables import CsvTable, live_snapshot, with_columns
from backup_pipelines.progress import Report
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.system import System

FOLDER = "columns"
"""The folder beside the empty files that has the descriptions."""

# What is longer is cut, in descriptions only.
_SHOWN_VALUES = 5


@dataclass(frozen=True)
class Described:
    """One table with all that its template says."""

    table: CsvTable
    facts: TableFacts
    example: Example


@dataclass(frozen=True)
class TemplateTable:
    """What was made for one table."""

    table: str
    file: str
    columns: int
    no_example: str
    """Why there is no example row; empty where there is one."""


@dataclass(frozen=True)
class Templated:
    """The files that were made."""

    system: str
    to: Path
    tables: tuple[TemplateTable, ...]
    files: tuple[str, ...]
    seconds: float

    @property
    def in_words(self) -> str:
        """How much that is, and where."""
        tables = f"{len(self.tables):,} table{'' if len(self.tables) == 1 else 's'}"
        files = f"{len(self.files):,} file{'' if len(self.files) == 1 else 's'}"
        return f"templates of {tables}, {files} in {self.to}"

    def document(self) -> dict[str, Any]:
        """What `csv template --json` prints."""
        return {
            "system": self.system,
            "to": str(self.to),
            "files": list(self.files),
            "tables": [asdict(one) for one in self.tables],
            "null": NULL,
            "seconds": self.seconds,
        }


COLUMNS: Mapping[str, Callable[[Described, ColumnFacts], str]] = {
    "column": lambda of, one: one.name,
    "type": lambda of, one: one.column.type,
    "required": lambda of, one: "yes" if one.required else "no",
    "empty or NULL": lambda of, one: NULL if one.nullable else "not allowed",
    "default": lambda of, one: one.default,
    "allowed": lambda of, one: ", ".join(one.allowed),
    "looks up": lambda of, one: ", ".join(name for name, _ in of.facts.lookups_of(one.name)),
    "existing": lambda of, one: _existing(of.facts, one.name),
    "key": lambda of, one: of.facts.key_of(one.name),
    "rules": lambda of, one: "; ".join(one.rules),
    "comment": lambda of, one: one.comment,
    "example": lambda of, one: example_cell(of, one.name),
}
"""What is said of each column, and how."""


def make_template(
    system: System, url: str, selection: Selection, to: Path, *, xlsx: bool, report: Report
) -> Templated:
    """Write the empty files of the selected tables, or one workbook a module.

    Raises Refused when a table is not there or cannot be read, and when a file exists.
    """
    started = time.monotonic()
    with live_snapshot(system, url, selection, "the CSV template") as (moment, tables):
        filled = with_columns(tables)
        by_name = {table.qualified: table for table in moment.tables}
        lives = [by_name[table.qualified] for table in filled]
        described: list[Described] = []
        all_facts = describe_tables(moment.connection, lives, lookups=True)
        for table, facts in zip(filled, all_facts, strict=True):
            report(f"{table.qualified}: {len(facts.columns)} columns")
            described.append(Described(table, facts, example_row(moment.connection, facts)))
    with new_files(to) as files:
        write = _write_workbooks if xlsx else _write_csv
        made = write(files, system, described)
    return Templated(
        system.system, to.absolute(), made, files.names, round(time.monotonic() - started, 3)
    )


def example_cell(of: Described, column: str) -> str:
    """A column's value in the example row, as a file has it."""
    if of.example.problem:
        return ""
    value = of.example.values[column]
    return NULL if value is None else value


def description(of: Described) -> list[list[str]]:
    """What is said of a table's columns, a row for each, below the headings."""
    rows = [[say(of, one) for say in COLUMNS.values()] for one in of.facts.columns]
    return [list(COLUMNS), *rows]


def _existing(facts: TableFacts, column: str) -> str:
    found = [value for _, values in facts.lookups_of(column) for value in values]
    return ", ".join(dict.fromkeys(found[:_SHOWN_VALUES]))


def _write_csv(
    files: NewFiles, system: System, described: Sequence[Described]
) -> tuple[TemplateTable, ...]:
    del system
    names = [of.table.file for of in described]
    files.refuse_existing([*names, *(f"{FOLDER}/{name}" for name in names)])
    for of in described:
        with files.new(of.table.file) as out:
            out.write(csv_form.header([one.name for one in of.facts.columns]))
        with files.new(f"{FOLDER}/{of.table.file}") as out:
            for row in description(of):
                out.write(csv_form.line(row))
    return tuple(_made(of, of.table.file) for of in described)


def _write_workbooks(
    files: NewFiles, system: System, described: Sequence[Described]
) -> tuple[TemplateTable, ...]:
    # XlsxWriter takes a while to import, and few need it.
    from backup_pipelines.csv.xlsx import write_workbook

    modules = dict.fromkeys(of.table.module for of in described)
    names = {module: f"{system.system}_{_safe(module)}.xlsx" for module in modules}
    files.refuse_existing(names.values())
    made: list[TemplateTable] = []
    for module, name in names.items():
        of_module = [of for of in described if of.table.module == module]
        write_workbook(files.path(name), of_module)
        files.made(name)
        made += [_made(of, name) for of in of_module]
    return tuple(made)


def _safe(module: str) -> str:
    return csv_form.file_name("public", module).removesuffix(csv_form.SUFFIX)


def _made(of: Described, file: str) -> TemplateTable:
    return TemplateTable(of.table.qualified, file, len(of.facts.columns), of.example.problem)
