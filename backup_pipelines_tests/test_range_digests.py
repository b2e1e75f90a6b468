"""Digests by ranges of pages: they add up; after a write, what was written is read again."""

import random
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.postgres import range_digests as module
from backup_pipelines.postgres.connection import Connection, connected
from backup_pipelines.postgres.digest import live_digest
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.postgres.projection import add_digests, range_digests_query, to_digest
from backup_pipelines.postgres.range_digests import (
    RangeDigests,
    digest_after_writing,
    range_digests,
)
from backup_pipelines.postgres.types import PORTABLE
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]

# Some 40 pages; a row is a sixteenth of one.
_FILLED = (
    "CREATE TABLE t (id int PRIMARY KEY, v text)",
    "INSERT INTO t SELECT n, repeat('x', 450) || n FROM generate_series(1, 640) AS n",
)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges have two pages, so that a small table has many."""
    monkeypatch.setattr(module, "_FEW_PAGES", 2)


def the_table(connection: Connection) -> LiveTable:
    """The only table of the database."""
    [table] = with_columns(connection, list_tables(connection))
    return table


def spoilt(digests: RangeDigests) -> RangeDigests:
    """The same with a sum that is one too large in each range: what is not read again shows it."""
    more = to_digest(1)
    return replace(digests, found=tuple((n, add_digests([one, more])) for n, one in digests.found))


def read_again(connection: Connection, table: LiveTable, before: RangeDigests) -> int:
    """How many ranges the digest after a write hashed anew."""
    _, wrong = digest_after_writing(connection, table, spoilt(before))
    _, right = live_digest(connection, table)
    return len(before.starts) - (int(wrong, 16) - int(right, 16)) % (1 << 64)


@pytest.mark.parametrize("is_portable", [False, True])
def test_ranges_add_up(
    any_server: Server, make_database: MakeDatabase, *, is_portable: bool
) -> None:
    """The whole is the table's digest, each range that of its pages, by either recipe."""
    database = make_database(any_server)
    database.run(*_FILLED, "DELETE FROM t WHERE id BETWEEN 200 AND 300")
    with connected(database.reader_url) as connection:
        table = the_table(connection)
        if is_portable:
            table = replace(table, recipe=PORTABLE)
        found = range_digests(connection, table, {7, 11})
        assert found.whole == live_digest(connection, table)
        assert found.is_cut_at({0, 7, 11}) and not found.is_cut_at({9})
        for first, end in ((0, 7), (7, 11), (11, None)):
            last = "" if end is None else f" AND ctid < '({end},0)'"
            rows = connection.execute(
                f"SELECT count(*) AS n FROM public.t WHERE ctid >= '({first},0)'{last}".encode()
            ).fetchone()
            assert rows is not None
            assert found.of((first, end))[0] == rows["n"]
        added = sum(int(found.of(p)[1], 16) for p in ((0, 7), (7, 11), (11, None)))
        assert to_digest(added) == found.whole[1]


def test_no_rows_and_pages_that_are_gone(any_server: Server, make_database: MakeDatabase) -> None:
    """A table that is empty, or shorter than where it is to be cut, has ranges without rows."""
    database = make_database(any_server)
    database.run("CREATE TABLE t (id int)")
    with connected(database.reader_url) as connection:
        table = the_table(connection)
        assert range_digests(connection, table).whole == (0, to_digest(0))
        assert range_digests(connection, table, {40, 80}).of((40, 80)) == (0, to_digest(0))


def test_the_server_sorts_nothing(any_server: Server, make_database: MakeDatabase) -> None:
    """Grouping is by hashes, not by a sort of all rows on disk; the setting is as it was then."""
    database = make_database(any_server)
    database.run(*_FILLED, "ANALYZE t")
    with connected(database.reader_url) as connection, connection.transaction():
        # The planner's own way, where rows do not fit into its memory.
        connection.execute("SET LOCAL work_mem = '64kB'")
        shown = sql.SQL("EXPLAIN {}").format(range_digests_query(the_table(connection), [0, 4, 8]))
        assert "Sort" in str(connection.execute(shown).fetchall())
        plan = str(module.rows_by_range(connection, shown))
        assert "HashAggregate" in plan and "Sort" not in plan, plan
        assert connection.execute("SHOW enable_sort").fetchone() == {"enable_sort": "on"}


def test_only_what_was_written_is_read_again(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """One row inserted, changed or deleted costs its range; nothing written costs none."""
    database = make_database(any_server)
    database.run(*_FILLED)
    for statement, most in (
        ("SELECT 1", 0),
        ("DELETE FROM t WHERE id = 17", 1),
        ("INSERT INTO t VALUES (1000, 'new')", 1),
        # The new version may lie in another range than the old one.
        ("UPDATE t SET v = 'changed' WHERE id = 300", 2),
    ):
        with connected(database.owner_url) as connection, connection.transaction():
            table = the_table(connection)
            before = range_digests(connection, table)
            assert len(before.starts) > 15
            connection.execute(f"SET LOCAL search_path TO public; {statement}".encode())
            assert min(most, 1) <= read_again(connection, table, before) <= most
            assert digest_after_writing(connection, table, before) == live_digest(connection, table)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_writes(any_server: Server, make_database: MakeDatabase, seed: int) -> None:
    """Whatever a transaction and its savepoints wrote, the digest is that of a whole reading."""
    dice = random.Random(seed)
    database = make_database(any_server)
    database.run(*_FILLED)
    if dice.random() < 0.5:
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            owner.execute("VACUUM FREEZE public.t")
    for _ in range(12):
        with connected(database.owner_url) as connection, connection.transaction():
            connection.execute("SET LOCAL search_path TO public")
            table = the_table(connection)
            if dice.random() < 0.5:
                # A restore has written before it looks: temporary tables, its own locks.
                connection.execute("CREATE TEMPORARY TABLE noise ON COMMIT DROP AS SELECT 1 AS x")
            before = range_digests(connection, table, {dice.randrange(60)})
            for _ in range(dice.randrange(4)):
                _write(connection, dice)
            found = digest_after_writing(connection, table, before)
            assert found == live_digest(connection, table), seed


def _write(connection: Connection, dice: random.Random) -> None:
    """Something is written, sometimes in a savepoint, sometimes taken back again."""
    first = dice.randrange(1, 700)
    statement = dice.choice(
        [
            "DELETE FROM t WHERE id BETWEEN %s AND %s",
            "UPDATE t SET v = v || '!' WHERE id BETWEEN %s AND %s",
            "UPDATE t SET v = v WHERE id BETWEEN %s AND %s",
            "INSERT INTO t SELECT n + 1000, 'new ' || n FROM generate_series(%s::int, %s::int) n"
            " ON CONFLICT DO NOTHING",
            "TRUNCATE t",
        ]
    )
    bounds = [] if "TRUNCATE" in statement else [first, first + dice.randrange(20)]
    kind = dice.choice(["plain", "savepoint", "taken back"])
    if kind == "plain":
        connection.execute(statement.encode(), bounds)
        return
    with connection.transaction():
        connection.execute(statement.encode(), bounds)
        if kind == "taken back":
            raise psycopg.Rollback
