"""Files that a spreadsheet has rewritten: caught by what is in the database, and explained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines_tests.csv_rows import File, look
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]


@pytest.fixture
def parts(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """Rows whose texts spreadsheets like to change."""
    database = make_database(server)
    database.run(
        """
        CREATE TABLE parts (id int PRIMARY KEY, zip text, serial text, size text, note text);
        INSERT INTO parts VALUES
            (1, '01067', '1230000000000000000', '1-2', '2024-01-05'),
            (2, '0010115', '7', 'MAR1', 'plain'),
            (3, '7', '00', '3/4', '1/5/2024'),
            (4, 'x', 'y', 'z', 'z'),
            (5, 'code-3', '1.5', '1.2.3', '2-1');
        CREATE TABLE codes (id int PRIMARY KEY, code varchar(5));
        INSERT INTO codes VALUES (1, '00123'), (2, '01234'), (3, '12345'), (4, NULL);
        """
    )
    return database


def test_values_that_lost_their_form_are_told(parts: Database, tmp_path: Path) -> None:
    """Leading zeros, long numbers and what is taken for a day, each beside the live value."""
    columns = ("id", "zip", "serial", "size", "note")
    rows = [
        ("1", "1067", "1.23E+18", "2024-02-01", "05.01.2024"),
        ("2", "10115", "7", "1-Mar", "plainer"),
        ("3", "7", "0", "2024-04-03", "2024-05-01"),
        ("4", "#NAME?", "8", "#1", "Err:508"),
        ("5", "DUP3", "1.05", "1.2.4", "1-2"),
    ]
    found = look(parts.owner_url, tmp_path, File("public.parts", columns, rows), mode="upsert")
    assert [(line, column) for line, column, _, kind in found.said if kind == "spreadsheet"] == [
        (2, "note"), (2, "serial"), (2, "size"), (2, "zip"),
        (3, "size"), (3, "zip"),
        (4, "note"), (4, "serial"), (4, "size"),
        (5, "note"), (5, "zip"),
    ]  # fmt: skip
    reasons = {(p.line, p.column): p.reason for p in found.problems}
    assert reasons[2, "zip"] == (
        "is 01067 now: the leading zeros are lost, as spreadsheets do;"
        " if it is meant, say --accept parts.zip"
    )
    assert "is 1230000000000000000 now: it is in scientific notation" in reasons[2, "serial"]
    assert "is 1-2 now: it is the same day or number in another form" in reasons[2, "size"]
    assert "an error in a formula" in reasons[5, "note"]


def test_what_is_meant_can_be_said(parts: Database, tmp_path: Path) -> None:
    """A column that is accepted is taken as it is written, the others are not."""
    file = File("public.parts", ("id", "zip", "size"), [("1", "1067", "2024-02-01")])
    found = look(parts.owner_url, tmp_path, file, mode="upsert", accepted=frozenset({"parts.zip"}))
    assert [(p.column, p.kind) for p in found.problems] == [("size", "spreadsheet")]
    found = look(
        parts.owner_url, tmp_path / "2", file, mode="upsert",
        accepted=frozenset({"public.parts.zip", "parts.size"}),
    )  # fmt: skip
    assert not found.problems
    assert found.counts("public.parts") == (0, 1, 0, 0)


@pytest.mark.parametrize("mode", ["insert", "upsert"])
def test_shorter_than_all_that_are_there(parts: Database, tmp_path: Path, mode: str) -> None:
    """Where all live values have as many digits, fewer are told in both modes."""
    rows = [("11", "123"), ("12", "00456"), ("13", "abc"), ("14", None), ("15", "1.2E4")]
    file = File("public.codes", ("id", "code"), rows)
    found = look(parts.owner_url, tmp_path, file, mode="insert" if mode == "insert" else "upsert")
    assert found.said == [
        (2, "code", "123", "spreadsheet"),
        (6, "code", "1.2E4", "spreadsheet"),
    ]
    assert "all values that are there have 5 digits: were leading zeros lost?" in (
        found.problems[0].reason
    )
