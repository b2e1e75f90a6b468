"""Random files against PostgreSQL itself: what is let through is written, what is not is refused.

The table has a rule of every kind; values are drawn so that each is broken now and then.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.csv.incoming import ImportMode
from backup_pipelines.csv.problems import Problem
from backup_pipelines_tests.csv_rows import File, Looked, look
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]

SCHEMA = """
    CREATE DOMAIN small AS int CHECK (VALUE < 5);
    CREATE TYPE mood AS ENUM ('new', 'open');
    CREATE TABLE parents (id int PRIMARY KEY, code text UNIQUE);
    CREATE TABLE t (
        id int PRIMARY KEY, email text UNIQUE DEFERRABLE INITIALLY DEFERRED, n small,
        mood mood DEFAULT 'new', name varchar(3) NOT NULL, a int, b int DEFAULT 1,
        parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED,
        code text REFERENCES parents (code) DEFERRABLE INITIALLY DEFERRED,
        boss int REFERENCES t DEFERRABLE INITIALLY DEFERRED,
        twice int GENERATED ALWAYS AS (10 / a) STORED,
        CHECK (a > b), CHECK (name <> 'no' OR mood = 'open'));
    CREATE UNIQUE INDEX ON t (lower(name), n) WHERE mood = 'open';
    INSERT INTO parents VALUES (1, 'a'), (2, 'b');
    INSERT INTO t (id, email, n, mood, name, a, b)
        VALUES (1, 'x', 1, 'open', 'X', 5, 1), (2, 'y', 2, 'open', 'Y', 5, 4),
            (3, 'z', 3, 'new', 'z', 2, 0);
"""

# For each column what is mostly right, and what is not.
Values = Mapping[str, tuple[Sequence[str | None], Sequence[str | None]]]

VALUES: Values = {
    "id": ([str(n) for n in range(1, 40)], ["1", "x", None]),
    "email": (["x", "y", "z", *"abcdefghijk", None, None, None], ["x", "y"]),
    "n": (["1", "2", "3", "4", None], ["5", ""]),
    "mood": (["new", "new", "new", "open"], ["opn", "open", None]),
    "name": ([*"abcdefghij"], ["X", "no", "long", None]),
    "a": (["5", "6", "7", "8"], ["0", "1", "2", None]),
    "b": (["0", "1", "2", "3"], ["5", None]),
    "parent": (["1", "2", None], ["3", "4"]),
    "code": (["a", "b", None], ["c", "d"]),
    "boss": (["1", "2", "3", None], ["4", "5", "6"]),
}
PARENTS: Values = {
    "id": (["3", "4", "5", "6", "7"], ["1", "2"]),
    "code": (["c", "d", None], ["a", "b"]),
}
_WRONG = 0.06

# Of others PostgreSQL would take the row, or take it alone.
_TELLING = ("type", "not allowed", "required", "check", "length", "no parent")

_CASES = [25, pytest.param(1_000, marks=(pytest.mark.soak, pytest.mark.timeout(3600)))]


def drawn(dice: random.Random, values: Values, rows: int) -> list[list[str | None]]:
    """Rows of such values."""
    return [
        [
            dice.choice(wrong if dice.random() < _WRONG else right)
            for right, wrong in values.values()
        ]
        for _ in range(rows)
    ]


def files(dice: random.Random) -> list[File]:
    """A file of each table, of some columns, in any order."""
    names = ["id", "name", *(n for n in VALUES if n not in ("id", "name") and dice.random() < 0.7)]
    dice.shuffle(names)
    chosen = {name: VALUES[name] for name in names}
    found = [File("public.t", tuple(names), drawn(dice, chosen, dice.randrange(1, 7)))]
    if dice.random() < 0.6:
        found.append(
            File("public.parents", tuple(PARENTS), drawn(dice, PARENTS, dice.randrange(1, 4)))
        )
    dice.shuffle(found)
    return found


def without(of: Sequence[File], found: Looked) -> list[File]:
    """The files without the lines that have problems."""
    bad = {(p.file, p.line) for p in found.problems}
    return [
        File(f.table, f.columns, [r for n, r in enumerate(f.rows, 2) if (f.name, n) not in bad])
        for f in of
    ]


def written(database: Database, of: Sequence[File], mode: ImportMode) -> str:
    """Write files and roll back; gives why PostgreSQL refuses it, or nothing."""
    with psycopg.connect(database.owner_url) as connection:
        try:
            for file in of:
                if mode == "upsert" and file.table == "public.parents":
                    # One row may take what another gives up, in whichever order they come.
                    ids = [row[0] for row in file.rows]
                    connection.execute(
                        "UPDATE parents SET code = NULL WHERE id::text = ANY (%s)", [ids]
                    )
                for row in file.rows:
                    connection.execute(_statement(file, row, mode))
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as error:
            return str(error)
        finally:
            connection.rollback()
    return ""


def _statement(file: File, row: Sequence[str | None], mode: ImportMode) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, file.columns))
    values = sql.SQL(", ").join(map(sql.Literal, row))
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(*file.table.split(".")), names, values
    )
    if mode == "insert":
        return insert
    sets = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in file.columns
    )
    return sql.SQL("{} ON CONFLICT (id) DO UPDATE SET {}").format(insert, sets)


@pytest.mark.parametrize("mode", ["insert", "upsert"])
@pytest.mark.parametrize("cases", _CASES)
def test_what_is_let_through_is_written_and_what_is_not_is_refused(
    any_server: Server, make_database: MakeDatabase, tmp_path: Path, mode: ImportMode, cases: int
) -> None:
    """Without its rejected lines a file is written; with one of those it is not."""
    database = make_database(any_server)
    database.run(SCHEMA)
    rejected = clean = 0
    for seed in range(cases):
        dice = random.Random(seed)
        given = files(dice)
        found = look(database.owner_url, tmp_path / f"{seed}", *given, mode=mode)
        kept = without(given, found)
        again = look(database.owner_url, tmp_path / f"{seed}.kept", *kept, mode=mode)
        # A row that was led to by one that is gone, or that took what it gave up, is next.
        for step in range(9):
            if not again.problems:
                break
            kept = without(kept, again)
            again = look(database.owner_url, tmp_path / f"{seed}.{step}", *kept, mode=mode)
        assert not again.problems
        assert not written(database, kept, mode), (seed, kept)
        clean += not found.problems
        for problem in found.problems:
            if problem.kind in _TELLING:
                rejected += 1
                assert written(database, _alone(given, found, problem), mode), (seed, problem)
    assert clean >= cases // 10
    assert rejected >= cases // 5


def _alone(given: Sequence[File], found: Looked, problem: Problem) -> list[File]:
    """The line with a problem, without others of its file that have one."""
    table = next(f for f in given if f.name == problem.file)
    row = table.rows[problem.line - 2]
    if problem.kind != "no parent":
        return [File(table.table, table.columns, [row])]
    # Its parent could be among them, and a row of another file can move one away.
    others = [f for f in given if f.name != table.name]
    own = [list(r) for f in without([table], found) for r in f.rows]
    return [*others, File(table.table, table.columns, [*own, row])]
