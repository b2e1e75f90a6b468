"""A workbook for an import: a sheet a table, and beside it what its columns take.

Cells are text, so that a spreadsheet keeps leading zeros, long numbers and dates as they are typed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.utility import xl_rowcol_to_cell

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.null import NULL
from backup_pipelines.csv.template import Described, description

FIRST_SHEET = "tables"
"""The sheet that says which sheet is which table."""

_LISTS = "lists"

# What Excel takes for the name of a sheet.
_LONGEST_NAME = 31
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\']")

# The last row of a sheet: the texts' format and the drop-downs go so far.
_LAST_ROW = 1_048_575

_WIDTH = 18


def write_workbook(path: Path, described: Sequence[Described]) -> None:
    """Write the workbook of some tables."""
    # Nothing is taken for a formula, a number or a link.
    options = {
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(str(path), options) as book:
        _Writer(book, described).write()


class _Writer:
    def __init__(self, book: Any, described: Sequence[Described]) -> None:
        self._book = book
        self._described = described
        self._taken = {FIRST_SHEET, _LISTS, "history"}
        self._text = book.add_format({"num_format": "@"})
        self._bold = book.add_format({"num_format": "@", "bold": True})
        self._lists: Any = None
        self._list_count = 0

    def write(self) -> None:
        """All sheets."""
        index = self._book.add_worksheet(FIRST_SHEET)
        rows = [["sheet", "table", "columns described in", "example row", f"NULL: {NULL}"]]
        data = [
            (of, self._add_sheet(of.table.file.removesuffix(csv_form.SUFFIX)))
            for of in self._described
        ]
        for of, sheet in data:
            about = self._add_sheet(f"{sheet.get_name()} columns")
            self._fill(about, description(of))
            self._fill_data(of, sheet)
            problem = of.example.problem or f"in {about.get_name()}"
            rows.append([sheet.get_name(), of.table.qualified, about.get_name(), problem, ""])
        self._fill(index, rows)

    def _add_sheet(self, wanted: str) -> Any:
        base = _NOT_IN_NAMES.sub("_", wanted)
        name, number = base[:_LONGEST_NAME], 1
        # Excel does not tell names by their case.
        while name.lower() in self._taken:
            number += 1
            end = f" {number}"
            name = base[: _LONGEST_NAME - len(end)] + end
        self._taken.add(name.lower())
        return self._book.add_worksheet(name)

    def _fill(self, sheet: Any, rows: Sequence[Sequence[str]]) -> None:
        sheet.set_column(0, len(rows[0]) - 1, _WIDTH, self._text)
        sheet.freeze_panes(1, 1)
        for number, row in enumerate(rows):
            for place, cell in enumerate(row):
                sheet.write_string(number, place, cell, self._text if number else self._bold)

    def _fill_data(self, of: Described, sheet: Any) -> None:
        self._fill(sheet, [[one.name for one in of.facts.columns]])
        for place, one in enumerate(of.facts.columns):
            if not one.allowed:
                continue
            # NULL is a value to choose where it is allowed.
            values = [*one.allowed, NULL] if one.nullable else list(one.allowed)
            sheet.data_validation(
                1,
                place,
                _LAST_ROW,
                place,
                {
                    "validate": "list",
                    "source": self._list_of(values),
                    "error_title": one.name[:_LONGEST_NAME],
                    "error_message": "Choose one of the list.",
                },
            )

    def _list_of(self, values: Sequence[str]) -> str:
        """Where the values of a drop-down are: within the rule itself only short ones fit."""
        if self._lists is None:
            self._lists = self._book.add_worksheet(_LISTS)
            self._lists.hide()
        place = self._list_count
        self._list_count += 1
        for number, value in enumerate(values):
            self._lists.write_string(number, place, value, self._text)
        first = xl_rowcol_to_cell(0, place, row_abs=True, col_abs=True)
        last = xl_rowcol_to_cell(len(values) - 1, place, row_abs=True, col_abs=True)
        return f"={_LISTS}!{first}:{last}"
