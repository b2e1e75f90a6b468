"""Validating rows against odd tables: expressions that raise, odd names, values nobody knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines_tests.csv_rows import File, look
from backup_pipelines_tests.exactness import connect
from backup_pipelines_tests.fix_postgres import Database, DebianServer, Server

MakeDatabase = Callable[[Server], Database]


@pytest.fixture
def database(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """An empty database."""
    return make_database(server)


def test_twenty_kinds_of_errors_are_all_told(
    any_server: Server, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A file with many different errors gives each with its line, and changes nothing."""
    database = make_database(any_server)
    database.run(
        """
        CREATE TYPE mood AS ENUM ('new', 'open');
        CREATE TABLE parents (code text PRIMARY KEY);
        CREATE TABLE t (
            id int PRIMARY KEY, code char(4), name varchar(5) NOT NULL, mood mood, n numeric(5,2),
            day date, at timestamp, ok bool, u uuid, j jsonb, ip inet, bits bit(2), f real,
            b bytea, parent text REFERENCES parents, big bigint, phone text UNIQUE,
            CHECK (n > 0), CHECK (ok IN (true)));
        INSERT INTO parents VALUES ('007');
        INSERT INTO t (id, name, phone) VALUES (1, 'a', '0123'), (2, 'b', '0456'), (3, 'c', '0789');
        """
    )
    good: dict[str, str | None] = {"id": "", "name": "x"}
    wrong: list[tuple[str, str | None, str]] = [
        ("id", "1", "exists already"), ("name", None, "required"), ("name", "toolong", "length"),
        ("mood", "opn", "not allowed"), ("n", "1,5", "type"), ("n", "1.555", "rounded"),
        ("n", "-1", "check"), ("n", "1E+2", "spreadsheet"), ("day", "1/2/24", "date form"),
        ("day", "2024-13-01", "type"), ("at", "1.2.2024 10:00", "date form"), ("ok", "ja", "type"),
        ("u", "123", "type"), ("j", "{a:1}", "type"), ("ip", "1.2.3", "type"),
        ("bits", "1", "length"), ("f", "1.23456789", "rounded"), ("b", "\\xZZ", "type"),
        ("parent", "7", "no parent"), ("big", "1.2E+19", "spreadsheet"),
        ("phone", "123", "spreadsheet"), ("phone", "0456", "exists already"),
        ("big", "99999999999999999999", "type"), ("code", "12345", "length"), ("big", "", "type"),
    ]  # fmt: skip
    columns = tuple(dict.fromkeys(["id", "name", *(row[0] for row in wrong)]))
    rows: list[list[str | None]] = []
    for number, (column, value, _) in enumerate(wrong, 100):
        row = good | {"id": str(number)} | {column: value}
        rows.append([row.get(name) for name in columns])
    before = _content(database)
    found = look(database.owner_url, tmp_path, File("public.t", columns, rows))
    assert found.said == [(n, *row) for n, row in enumerate(wrong, 2)]
    assert all(problem.reason for problem in found.problems)
    assert found.counts("public.t") == (0, 0, 0, len(wrong))
    assert _content(database) == before


def test_an_expression_that_raises_ends_nothing(database: Database, tmp_path: Path) -> None:
    """CHECKs and computed columns that raise for a row are told for it, and asked of the others."""
    database.run(
        "CREATE TABLE t (a int, b int, c int GENERATED ALWAYS AS (100 / b) STORED,"
        " CHECK (10 / a > 1))"
    )
    rows = [("0", "1"), ("20", "1"), ("5", "0"), ("5", "1"), (None, None)]
    found = look(database.owner_url, tmp_path, File("public.t", ("a", "b"), rows))
    assert found.said == [(2, "a", "0", "check"), (3, "a", "20", "check"), (4, "b", "0", "check")]
    assert "cannot be evaluated: division by zero" in found.reason(2, "check")
    assert found.reason(3, "check") == "CHECK (((10 / a) > 1)) does not hold"
    assert found.reason(4, "check").startswith("the computed column c cannot be evaluated")


def test_names_that_collide_with_ours(database: Database, tmp_path: Path) -> None:
    """Tables and columns may be called as anything that the validation calls its own."""
    columns = ("line", "Line_", "s", "v0", "said", "what was found", 'a "b"', "ü", "100%")
    listed = ", ".join('"' + name.replace('"', '""') + '" int' for name in columns)
    database.run(
        f'CREATE TABLE "m" (k int PRIMARY KEY, {listed}, CHECK (s > v0), CHECK ("100%" % 2 = 0))',
        'CREATE UNIQUE INDEX ON m (("line" + said)) WHERE "a ""b""" > 0',
        'CREATE TABLE f (line int REFERENCES m, "m" int)',
        "INSERT INTO m (k) VALUES (1)",
    )
    file = File("public.m", ("k", *columns), [
        ("1", "1", "1", "2", "1", "1", "1", "1", "1", "2"),
        ("2", "0", "1", "2", "1", "2", "1", "1", "1", "2"),
        ("3", "9", "1", "1", "1", "9", "1", "1", "1", "3"),
    ])  # fmt: skip
    child = File("public.f", ("m", "line"), [("1", "3"), ("1", "4")])
    found = look(database.owner_url, tmp_path, file, child)
    assert found.said == [
        (3, "line", "4", "no parent"),
        (2, "k", "1", "exists already"),
        (2, 'line, said, a "b"', "1, 1, 1", "twice in the file"),
        (3, 'line, said, a "b"', "0, 2, 1", "twice in the file"),
        (4, "100%", "3", "check"),
        (4, "s, v0", "1, 1", "check"),
    ]
    upsert = look(database.owner_url, tmp_path / "u", file, mode="upsert")
    assert [row[3] for row in upsert.said] == ["twice in the file"] * 2 + ["check"] * 2


def test_values_that_the_database_makes_are_not_guessed(database: Database, tmp_path: Path) -> None:
    """A rule that needs a sequence's or a random value is warned of, and left to the write."""
    database.run(
        """
        CREATE TABLE t (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u uuid DEFAULT gen_random_uuid(),
            n int DEFAULT 5, name text NOT NULL, at timestamptz DEFAULT now(),
            CHECK (id > n), CHECK (n < 10), UNIQUE (u, name), CHECK (at > '2020-01-01'),
            EXCLUDE USING gist (int8range(id, id, '[]') WITH &&))
        """
    )
    found = look(database.owner_url, tmp_path, File("public.t", ("name",), [("a",), ("a",)]))
    assert not found.problems
    assert found.counts("public.t") == (2, 0, 0, 0)
    assert [line.split(" was not")[0] for line in found.warnings("public.t")] == [
        "the index t_u_name_key"
    ]
    more = look(database.owner_url, tmp_path / "n", File("public.t", ("name", "n"), [("a", "50")]))
    assert more.said == [(2, "n", "50", "check")]
    assert "CHECK ((id > n)) of new rows" in more.warnings("public.t")[0]
    given = look(
        database.owner_url, tmp_path / "id", File("public.t", ("id", "name"), [("9", "a")])
    )
    assert any("t_int8range_excl" in line for line in given.warnings("public.t"))


def test_nulls_not_distinct(database: Database, tmp_path: Path) -> None:
    """Where an index takes NULLs for equal, so does the validation."""
    database.run(
        "CREATE TABLE t (a int, b text, UNIQUE NULLS NOT DISTINCT (a, b))",
        "INSERT INTO t VALUES (1, NULL), (NULL, NULL), (2, 'x')",
    )
    rows = [("1", None), (None, None), ("2", "x"), ("3", None), ("3", None), (None, "y")]
    found = look(database.owner_url, tmp_path, File("public.t", ("a", "b"), rows))
    assert [(line, kind) for line, _, _, kind in found.said] == [
        (2, "exists already"), (3, "exists already"), (4, "exists already"),
        (5, "twice in the file"), (6, "twice in the file"),
    ]  # fmt: skip


def test_collations_and_case_decide_what_is_twice(
    debian_server: DebianServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """An index over a collation that folds case takes what differs by case for equal."""
    database = make_database(debian_server)
    database.run(
        "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2',"
        " deterministic = false)",
        "CREATE TABLE t (a text COLLATE folding PRIMARY KEY, b text,"
        " c varchar(3)[] COLLATE folding, d text COLLATE folding REFERENCES t)",
        "CREATE UNIQUE INDEX ON t (b COLLATE public.folding)",
        "INSERT INTO t VALUES ('One', 'Uno')",
    )
    rows = [("ONE", "1", "{a}", "TWO"), ("two", "2", "{b}", "oNE"), ("TWO", "UNO", "{}", "3")]
    file = File("public.t", ("a", "b", "c", "d"), rows)
    found = look(database.owner_url, tmp_path, file)
    assert found.said == [
        (2, "a", "ONE", "exists already"),
        (3, "a", "two", "twice in the file"),
        (4, "a", "TWO", "twice in the file"),
        (4, "b", "UNO", "exists already"),
        (4, "d", "3", "no parent"),
    ]
    file = File("public.t", ("a", "b", "c", "d"), rows[:2])
    changed = look(database.owner_url, tmp_path / "u", file, mode="upsert")
    assert changed.counts("public.t") == (1, 1, 0, 0)


def test_tables_without_keys_and_unreadable_parents(database: Database, tmp_path: Path) -> None:
    """Rows without any key are inserted; a parent that may not be read is warned of."""
    database.run(
        "CREATE TABLE secret (id int PRIMARY KEY); INSERT INTO secret VALUES (1);"
        "CREATE TABLE t (n int REFERENCES secret, t text)"
    )
    database.run(f"REVOKE ALL ON secret FROM {database.name}_owner", as_admin=True)
    file = File("public.t", ("n", "t"), [("5", "a"), ("5", "a")])
    found = look(database.owner_url, tmp_path, file)
    assert not found.problems
    assert found.counts("public.t") == (2, 0, 0, 0)
    (warning,) = found.warnings("public.t")
    assert "the foreign key t_n_fkey to public.secret was not checked" in warning


def test_domains_of_domains_keep_their_limits(database: Database, tmp_path: Path) -> None:
    """What a domain's base would cut or round is told, and arrays likewise."""
    database.run(
        "CREATE DOMAIN short AS varchar(3); CREATE DOMAIN shorter AS short CHECK (VALUE <> 'no');"
        "CREATE DOMAIN cents AS numeric(6,2);"
        "CREATE TABLE t (s shorter, c cents, cs numeric(4,1)[], vs varchar(3)[], fs real[],"
        " ts timestamp(0)[], r daterange, i interval(0), m money)"
    )
    wrong = [
        ("s", "abcd", "length"), ("s", "ab    ", "length"), ("s", "no", "check"),
        ("c", "1.234", "rounded"), ("cs", "{1.25,1}", "rounded"), ("vs", "{ab,abcd}", "type"),
        ("vs", '{ab,"abc "}', "length"), ("fs", "{0.1,1.23456789}", "rounded"),
        ("ts", '{"2024-01-01 10:00:00.7"}', "rounded"), ("r", "[01/02/03,)", "date form"),
        ("i", "1.5 seconds", "rounded"), ("m", "1.005", "rounded"),
    ]  # fmt: skip
    columns = ("s", "c", "cs", "vs", "fs", "ts", "r", "i", "m")
    rows = [[value if name == column else None for name in columns] for column, value, _ in wrong]
    found = look(database.owner_url, tmp_path, File("public.t", columns, rows))
    assert found.said == [(n, *row) for n, row in enumerate(wrong, 2)]


def test_a_file_without_usable_columns_or_rows(database: Database, tmp_path: Path) -> None:
    """What is left of a wrong header, and an empty file, validate to nothing."""
    database.run("CREATE TABLE t (a int PRIMARY KEY)")
    nothing = look(database.owner_url, tmp_path, File("public.t", (), [(), ()]))
    assert nothing.counts("public.t") == (0, 0, 0, 2)
    empty = look(database.owner_url, tmp_path / "e", File("public.t", ("a",), []), mode="upsert")
    assert empty.counts("public.t") == (0, 0, 0, 0)


def _content(database: Database) -> object:
    with connect(database.admin_url) as connection:
        return connection.execute(
            "SELECT array_agg(t::text ORDER BY id) FROM public.t"
        ).fetchall(), connection.execute("SELECT count(*) FROM pg_catalog.pg_class").fetchall()


def test_a_refused_value_says_nothing_of_a_partial_index(
    database: Database, tmp_path: Path
) -> None:
    """Whether a row is of the index is not known where its condition's value was refused."""
    database.run(
        "CREATE TABLE t (email text, deleted_at date)",
        "CREATE UNIQUE INDEX ON t (email) WHERE deleted_at IS NULL",
        "INSERT INTO t VALUES ('live', NULL)",
    )
    rows = [("x", "2026-13-01"), ("x", None), ("live", "2026-13-01")]
    found = look(database.owner_url, tmp_path, File("public.t", ("email", "deleted_at"), rows))
    assert [(line, column) for line, column, *_ in found.said] == [
        (2, "deleted_at"),
        (4, "deleted_at"),
    ]


def test_rules_of_computed_columns_are_asked_in_both_modes(
    database: Database, tmp_path: Path
) -> None:
    """They are told of the columns that the file has, which what they are about is made of."""
    database.run(
        "CREATE TABLE people (email text PRIMARY KEY)",
        "INSERT INTO people VALUES ('a')",
        "CREATE TABLE t (id serial PRIMARY KEY, email text,"
        " norm text GENERATED ALWAYS AS (lower(email)) STORED UNIQUE"
        " CHECK (norm <> 'bad') REFERENCES people)",
    )
    rows = [("1", "A"), ("2", "a"), ("3", "BAD"), ("4", "B")]
    file = File("public.t", ("id", "email"), rows)
    told = [
        *((2, "email", "A", "twice in the file"), (3, "email", "a", "twice in the file")),
        *((4, "email", "BAD", "check"), (4, "email", "BAD", "no parent")),
        (5, "email", "B", "no parent"),
    ]
    for mode in ("insert", "upsert"):
        found = look(database.owner_url, tmp_path / mode, file, mode=mode)
        assert found.said == told, mode
        assert not found.warnings("public.t")


def test_two_rules_that_raise_are_both_told(database: Database, tmp_path: Path) -> None:
    """What one of them left behind does not end the other."""
    database.run(
        "CREATE TABLE t (a int, b int, g int GENERATED ALWAYS AS (a / b) STORED,"
        " CHECK (g > 0), CHECK (g < 100))"
    )
    rows = [("5", "1"), ("5", "0")]
    found = look(database.owner_url, tmp_path, File("public.t", ("a", "b"), rows))
    assert [line for line, *_ in found.said] == [3]
    assert "division by zero" in found.problems[0].reason
