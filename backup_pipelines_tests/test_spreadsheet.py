"""What LibreOffice makes of our files: a template that it saved imports, a mangled one does not."""

from pathlib import Path

import openpyxl
import pytest

from backup_pipelines.csv.template import make_template
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.csv_importing import (
    export,
    import_,
    plan_of,
    problems_of,
    told,
    write,
)
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_restore import MakeSite, Site
from backup_pipelines_tests.fix_spreadsheet import AS_IT_LIKES, AS_TEXT, Resave

_PARTS = """
CREATE TABLE parts (
    code text PRIMARY KEY,
    serial bigint,
    built date,
    price numeric(10,2),
    note text,
    seen timestamptz);
INSERT INTO parts VALUES
    ('00123', 9007199254740993, '2024-03-05', 12.50, 'a, "b"', '2024-03-05 10:00:00.123456+00'),
    ('00456', NULL, NULL, 0.10, NULL, NULL),
    ('00789', 1, '1999-12-31', 3, E'two\\nlines', '1999-12-31 23:59:59+00');
"""

_HEADER = "code,serial,built,price,note,seen\r\n"


@pytest.fixture
def site(server: EmbeddedServer, make_site: MakeSite) -> Site:
    """A table of what spreadsheets like to change."""
    return make_site(server, _PARTS)


def test_an_export_that_was_opened_as_text_and_saved_is_unchanged(
    site: Site, resave: Resave, tmp_path: Path
) -> None:
    """All zeros, digits, lines and times are there; NULL stays NULL without quotes around texts."""
    folder = export(site, tmp_path / "out")
    saved = resave(folder / "parts.csv", tmp_path / "saved", AS_TEXT).parent
    plan = plan_of(site, saved, mode="upsert")
    assert (plan.rows, [t.unchanged for t in plan.tables]) == (0, [3])


def test_a_null_that_got_quotes_is_told(site: Site, resave: Resave, tmp_path: Path) -> None:
    """With all texts quoted, NULL would become a text of two characters."""
    folder = export(site, tmp_path / "out")
    saved = resave(folder / "parts.csv", tmp_path / "saved", AS_TEXT, quoted=True).parent
    found = problems_of(site, saved, mode="upsert")
    assert {(one.line, one.column, one.value) for one in found} == {
        *((3, "serial", "\\N"), (3, "built", "\\N")),
        *((3, "note", "\\N"), (3, "seen", "\\N")),
    }


def test_a_filled_in_workbook_is_saved_and_imported(
    site: Site, resave: Resave, tmp_path: Path
) -> None:
    """The template's cells are texts, so that what is typed into them stays what it is."""
    make_template(
        site.system,
        site.database.reader_url,
        Selection(tables=("parts",)),
        tmp_path / "template",
        xlsx=True,
        report=ignore,
    )
    [book] = (tmp_path / "template").glob("*.xlsx")
    workbook = openpyxl.load_workbook(book)
    sheet = workbook["parts"]
    row = ["00042", "9007199254740993", "2026-01-31", "7.25", "typed", "2026-01-31 08:00:00+00"]
    for place, value in enumerate(row, 1):
        sheet.cell(2, place).value = value
    # One sheet is saved as CSV: the one that is shown.
    workbook.active = workbook.index(sheet)
    for other in workbook.sheetnames:
        if other != "parts":
            del workbook[other]
    filled = tmp_path / "parts.xlsx"
    workbook.save(filled)
    saved = resave(filled, tmp_path / "saved").parent
    import_(site, saved)
    assert site.rows("SELECT p::text FROM parts p WHERE code = '00042'") == [
        ('(00042,9007199254740993,2026-01-31,7.25,typed,"2026-01-31 08:00:00+00")',)
    ]


def test_a_filled_in_template_is_saved_and_imported(
    site: Site, resave: Resave, tmp_path: Path
) -> None:
    """A CSV file that was opened as text, whatever a spreadsheet would rather make of it."""
    folder = write(
        tmp_path / "in",
        parts=_HEADER + '"00042","12345678901234567","2026-01-31","7.10","x","2026-01-31 08:00+00"',
    )
    saved = resave(folder / "parts.csv", tmp_path / "saved", AS_TEXT).parent
    import_(site, saved)
    assert site.rows("SELECT serial::text, price::text FROM parts WHERE code = '00042'") == [
        ("12345678901234567", "7.10")
    ]


def test_a_mangled_export_is_caught_and_explained(
    site: Site, resave: Resave, tmp_path: Path
) -> None:
    """Leading zeros and digits that it took away are told, each with what was there."""
    folder = export(site, tmp_path / "out")
    saved = resave(folder / "parts.csv", tmp_path / "saved", AS_IT_LIKES).parent
    found = problems_of(site, saved)
    by_place = {(one.line, one.column): one for one in found}
    assert by_place[2, "code"].kind == "spreadsheet"
    assert "leading zeros" in by_place[2, "code"].reason
    assert by_place[2, "serial"].kind == "spreadsheet"
    assert "digits" in by_place[2, "serial"].reason
    assert {place for place in by_place if place[1] == "code"} == {(n, "code") for n in (2, 3, 4)}


def test_dates_as_a_spreadsheet_writes_them_are_caught(
    site: Site, resave: Resave, tmp_path: Path
) -> None:
    """What was typed as people write dates is saved in the order of the country, and refused."""
    folder = write(tmp_path / "in", parts=_HEADER + '00042,1,3/5/24,1,x,"3/5/2024 10:00"\r\n')
    saved = resave(folder / "parts.csv", tmp_path / "saved", AS_IT_LIKES).parent
    found = [one for one in problems_of(site, saved) if one.column in ("built", "seen")]
    assert [(line, column, kind) for line, column, _, kind in told(found)] == [
        (2, "built", "date form"),
        (2, "seen", "date form"),
    ]
    assert all("2024-03-05" in one.reason or "YYYY-MM-DD" in one.reason for one in found)
