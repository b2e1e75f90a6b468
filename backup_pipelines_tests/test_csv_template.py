"""Templates: empty files, what their columns take, and example rows that import."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import psycopg
import pytest

from backup_pipelines import systems
from backup_pipelines.csv.catalog import in_list
from backup_pipelines.csv.template import Templated, make_template
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Refused
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.csv_reading import load_csv
from backup_pipelines_tests.fix_backup import ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.test_types import fill, table_of

MakeDatabase = Callable[[Server], Database]

ALL = Selection(modules=("all",))

SCHEMA = r"""
    CREATE TYPE mood AS ENUM ('glad', 'it''s, "so"');
    CREATE DOMAIN grade AS text NOT NULL DEFAULT 'b' CHECK (VALUE IN ('a', 'b', 'it''s'));
    CREATE DOMAIN code AS varchar(9) CHECK (VALUE ~ '^[A-Z]{2}-[0-9]{3}$');
    CREATE TABLE areas (country char(2), zip varchar(6), name text, PRIMARY KEY (country, zip));
    CREATE TABLE shops (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        code code NOT NULL UNIQUE,
        mood mood NOT NULL,
        grade grade,
        size text NOT NULL CHECK (size IN ('small', 'large')),
        opens time NOT NULL DEFAULT '09:00', closes time NOT NULL,
        country char(2) NOT NULL, zip varchar(6) NOT NULL,
        twice int GENERATED ALWAYS AS (2) STORED,
        note text,
        "An ""odd"", name" numeric(3,3) NOT NULL,
        FOREIGN KEY (country, zip) REFERENCES areas,
        CHECK (closes > opens),
        CHECK ((size = 'large') = (note IS NOT NULL)));
    COMMENT ON COLUMN shops.note IS 'Anything.';
    CREATE TABLE goods (shop_id bigint NOT NULL REFERENCES shops, name text NOT NULL);
    CREATE TABLE orphans (of int NOT NULL REFERENCES orphans (id), id int PRIMARY KEY);
    INSERT INTO areas VALUES ('DE', '01067', 'Dresden'), ('FR', '75001', 'Paris');
    INSERT INTO shops (code, mood, grade, size, closes, country, zip, "An ""odd"", name")
        VALUES ('XY-007', 'glad', 'a', 'small', '18:00', 'DE', '01067', 0.5);
"""


@pytest.fixture
def shops(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """Tables with every kind of rule."""
    database = make_database(server)
    database.run(SCHEMA)
    return database


def made(
    database: Database, to: Path, selection: Selection = ALL, *, xlsx: bool = False
) -> Templated:
    """The templates of a database of one module, by the read-only role."""
    return make_template(
        whole_system(), database.reader_url, selection, to, xlsx=xlsx, report=ignore
    )


def described(to: Path, name: str) -> dict[str, dict[str, str]]:
    """What a description says, by column."""
    with (to / "columns" / name).open(newline="", encoding="utf-8") as opened:
        return {row["column"]: row for row in csv.DictReader(opened)}


def write_with_example(to: Path, name: str, file: Path) -> list[str]:
    """A template with its example row filled in, as people do; gives the columns."""
    rows = described(to, name)
    cells = [row["example"] for row in rows.values()]
    shown = (c if c == "\\N" else '"' + c.replace('"', '""') + '"' for c in cells)
    file.write_bytes((to / name).read_bytes() + ",".join(shown).encode() + b"\r\n")
    return list(rows)


def test_a_template_imports_as_no_rows(shops: Database, tmp_path: Path) -> None:
    """The file is its header, without generated columns."""
    done = made(shops, tmp_path)
    header = (
        b'"id","code","mood","grade","size","opens","closes","country","zip","note",'
        b'"An ""odd"", name"\r\n'
    )
    assert (tmp_path / "shops.csv").read_bytes() == header
    assert sorted(done.files) == sorted(
        f"{folder}{name}.csv"
        for name in ("areas", "shops", "goods", "orphans")
        for folder in ("", "columns/")
    )
    with psycopg.connect(shops.owner_url) as connection:
        load_csv(
            connection, "public.shops", list(described(tmp_path, "shops.csv")),
            tmp_path / "shops.csv",
        )  # fmt: skip
        assert connection.execute("SELECT count(*) FROM shops").fetchone() == (1,)


def test_columns_are_described(shops: Database, tmp_path: Path) -> None:
    """Type, whether it is required, default, allowed values, look-ups, key, rules and comment."""
    made(shops, tmp_path)
    found = described(tmp_path, "shops.csv")
    assert {name for name, row in found.items() if row["required"] == "yes"} == {
        *("code", "mood", "size", "closes", "country", "zip", 'An "odd", name')
    }
    assert found["id"]["default"] == "the next number (always)"
    assert found["grade"]["default"] == "'b'::text"
    assert (found["note"]["empty or NULL"], found["grade"]["empty or NULL"]) == (
        "\\N",
        "not allowed",
    )
    assert found["mood"]["allowed"] == 'glad, it\'s, "so"'
    assert found["grade"]["allowed"] == "a, b, it's"
    assert found["size"]["allowed"] == "small, large"
    assert (found["zip"]["looks up"], found["zip"]["existing"]) == (
        "public.areas.zip",
        "75001, 01067",
    )
    assert (found["id"]["key"], found["code"]["key"]) == ("primary key", "unique")
    assert found["closes"]["rules"] == "CHECK ((closes > opens))"
    assert found["note"]["comment"] == "Anything."
    assert found['An "odd", name']["type"] == "numeric(3,3)"


def test_example_rows_import(shops: Database, tmp_path: Path) -> None:
    """Each is accepted by COPY, with what triggers, keys and rules ask; where no row can be made,
    the reason is said."""
    done = made(shops, tmp_path)
    without = {one.table: one.no_example for one in done.tables if one.no_example}
    assert without == {"public.orphans": "of needs a row of public.orphans, which has none to read"}
    with psycopg.connect(shops.owner_url) as connection:
        for name in ("areas", "shops", "goods"):
            columns = write_with_example(tmp_path, f"{name}.csv", tmp_path / "filled")
            load_csv(connection, f"public.{name}", columns, tmp_path / "filled")
        row = connection.execute("SELECT code, size FROM shops WHERE code <> 'XY-007'").fetchone()
    # It has the shape of the one that is there, and is another.
    assert row is not None
    assert len(row[0]) == len("XY-007")


@pytest.mark.parametrize("name", ["crm", "dcim"])
def test_example_rows_of_the_demo_import(name: str, demo: Demo, tmp_path: Path) -> None:
    """Of every table of every module; those without one have every value of a key in use."""
    demo.ensure_system(name)
    system = systems.load_system(name)
    selection = Selection(modules=tuple(system.modules))
    done = make_template(
        system, demo.reader_url(name), selection, tmp_path, xlsx=False, report=ignore
    )
    without = {one.table: one.no_example for one in done.tables if one.no_example}
    assert (
        set(without)
        == {
            "crm": {"public.deal_stages"},
            "dcim": {
                *("public.device_glossary", "public.device_power_specs", "public.power_specs"),
                "public.profiles",
            },
        }[name]
    )
    assert all("is taken, and must not be there twice" in why for why in without.values())
    with psycopg.connect(demo.server.url(name)) as connection:
        for one in done.tables:
            if one.table in without:
                continue
            columns = write_with_example(tmp_path, one.file, tmp_path / "filled")
            with connection.transaction(force_rollback=True):
                load_csv(connection, one.table, columns, tmp_path / "filled")
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_every_type_has_an_example_that_imports(
    server: EmbeddedServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Over the type matrix; NULL where none was thought of, and a value for the usual types."""
    database = make_database(server)
    variants = fill(database)
    assert [one for one in made(database, tmp_path).tables if one.no_example] == []
    without: set[str] = set()
    with psycopg.connect(database.owner_url) as connection:
        for variant in variants:
            name = f"{table_of(variant)}.csv"
            columns = write_with_example(tmp_path, name, tmp_path / "filled")
            load_csv(connection, f"public.{table_of(variant)}", columns, tmp_path / "filled")
            if described(tmp_path, name)["v"]["example"] == "\\N":
                without.add(variant.type)
    usual = {"text", "int8", "numeric(10,2)", "timestamptz", "date", "jsonb", "uuid", "bytea"}
    assert not without & {*usual, "mood", "d_bpchar", "ddd_money2", "int4range", "citext", "hstore"}


def test_a_workbook_opens_with_its_drop_downs(shops: Database, tmp_path: Path) -> None:
    """A sheet a table, its columns' cells as text, drop-downs for lists of values, and beside it
    what the CSV template says."""
    done = made(shops, tmp_path, xlsx=True)
    made(shops, tmp_path / "csv")
    assert done.files == ("sample_all.xlsx",)
    assert (tmp_path / "sample_all.xlsx").stat().st_mode & 0o777 == 0o600
    book = openpyxl.load_workbook(tmp_path / "sample_all.xlsx")
    assert book.sheetnames[0] == "tables"
    listed = {row[1]: (row[0], row[2]) for row in book["tables"].iter_rows(2, values_only=True)}
    sheet, about = listed["public.shops"]
    data = book[sheet]
    header = [cell.value for cell in data[1]]
    found = described(tmp_path / "csv", "shops.csv")
    assert header == list(found)
    assert data.max_row == 1
    columns = data.column_dimensions["A"]
    assert (columns.min, columns.max, columns.number_format) == (1, len(header), "@")
    drops = {
        header[next(iter(rule.sqref.ranges)).min_col - 1]: [
            cell.value for (cell,) in _area(book, rule)
        ]
        for rule in data.data_validations.dataValidation
    }
    assert drops == {
        "mood": ["glad", 'it\'s, "so"'],
        "grade": ["a", "b", "it's"],
        "size": ["small", "large"],
    }
    texts = [[cell or "" for cell in row] for row in book[about].iter_rows(values_only=True)]
    assert texts[0] == list(next(iter(found.values())))
    assert texts[2][0] == "code"
    assert [row[1] for row in texts[1:]] == [row["type"] for row in found.values()]


def _area(
    book: openpyxl.Workbook, rule: openpyxl.worksheet.datavalidation.DataValidation
) -> Iterator[tuple[openpyxl.cell.Cell, ...]]:
    sheet, _, area = rule.formula1.lstrip("=").partition("!")
    return iter(book[sheet][area.replace("$", "")])


def test_a_file_that_exists_is_refused(shops: Database, tmp_path: Path) -> None:
    """No file is written then, and the one that is there stays."""
    (tmp_path / "columns").mkdir()
    (tmp_path / "columns" / "goods.csv").write_text("mine")
    with pytest.raises(Refused, match=r"has columns/goods\.csv already"):
        made(shops, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["columns"]
    assert (tmp_path / "columns" / "goods.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("definition", "values"),
    [
        ("CHECK ((x = ANY (ARRAY['a'::text, 'b''c'::text])))", ("a", "b'c")),
        (
            "CHECK (((x)::text = ANY ((ARRAY['a'::character varying, 'b, ''::text'::character "
            "varying])::text[])))",
            ("a", "b, '::text"),
        ),
        ("CHECK ((n = ANY (ARRAY[1, 2])))", ("1", "2")),
        ('CHECK (("Odd n" = ANY (ARRAY[1.5, 2])))', ("1.5", "2")),
        ("CHECK ((x <> ALL (ARRAY['a'::text, 'b'::text])))", ()),
        ("CHECK ((lower(x) = ANY (ARRAY['a'::text, 'b'::text])))", ()),
        ("CHECK (((x = ANY (ARRAY['a'::text, 'b'::text])) OR (n > 1)))", ()),
    ],
)
def test_lists_are_read_from_checks(definition: str, values: tuple[str, ...]) -> None:
    """Only from those that are such a list and nothing else."""
    assert in_list(definition) == values
