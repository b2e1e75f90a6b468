"""How many rows tables have, on real servers: counted, estimated, and never waited for."""

import time
from collections.abc import Callable, Mapping

import psycopg

from backup_pipelines.health.live_look import look_and_count
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.introspect import list_tables
from backup_pipelines.postgres.row_counts import RowCount, count_rows, total
from backup_pipelines.system import System
from backup_pipelines_tests.fix_postgres import Database, Server

EVERYTHING = System.model_validate(
    {
        "system": "crm",
        "database_url_env": "CRM_DATABASE_URL",
        "modules": {"all": {"tables": ["*"]}},
        "excluded": [{"table": "public.left_out", "reason": "nobody needs it"}],
    }
)


def counts(database: Database) -> Mapping[str, RowCount]:
    """The rows of each table, with the finding good."""
    looked = look_and_count(EVERYTHING, database.reader_url)
    assert looked.finding.status == "ok", looked.finding.message
    assert looked.rows is not None
    return looked.rows


def exactly(rows: int) -> RowCount:
    """So many, counted."""
    return RowCount(rows, is_exact=True)


def test_every_row_is_counted_once(
    any_server: Server, make_database: Callable[[Server], Database]
) -> None:
    """Partitions count for their root, children of a parent for themselves, excluded tables not."""
    database = make_database(any_server)
    database.run(
        "CREATE TABLE plain (id int); INSERT INTO plain SELECT generate_series(1, 12)",
        'CREATE TABLE "Odd ""name" (id int); INSERT INTO "Odd ""name" VALUES (1)',
        "CREATE TABLE nothing ()",
        "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);"
        " INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3)",
        "CREATE TABLE root (id int) PARTITION BY RANGE (id);"
        " CREATE TABLE low PARTITION OF root FOR VALUES FROM (0) TO (10);"
        " CREATE TABLE high PARTITION OF root FOR VALUES FROM (10) TO (99);"
        " INSERT INTO root SELECT generate_series(1, 20)",
        "CREATE TABLE bare (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE left_out (id int); INSERT INTO left_out VALUES (1)",
    )
    assert counts(database) == {
        "public.plain": exactly(12),
        'public.Odd "name': exactly(1),
        "public.nothing": exactly(0),
        "public.parent": exactly(1),
        "public.child": exactly(2),
        "public.root": exactly(20),
        "public.bare": exactly(0),
    }


def test_a_big_table_is_estimated(
    any_server: Server, make_database: Callable[[Server], Database]
) -> None:
    """Above a size the planner's figure is given, in proportion to the size that it has now."""
    database = make_database(any_server)
    wide = "INSERT INTO big SELECT i, repeat('x', 1000) FROM generate_series(1, {}) i"
    database.run(
        "CREATE TABLE small (id int); INSERT INTO small VALUES (1)",
        "CREATE TABLE big (id int, filler text) WITH (autovacuum_enabled = off)",
        wide.format(25_000),
        "ANALYZE big",
        wide.format(25_000),
    )
    found = counts(database)
    assert found["public.small"] == exactly(1)
    big = found["public.big"]
    assert not big.is_exact and big.rows is not None
    assert 45_000 < big.rows < 55_000


def test_locked_tables_are_not_waited_for(
    any_server: Server, make_database: Callable[[Server], Database]
) -> None:
    """Behind an ALTER there is an estimate, or none, after a moment; the other tables are counted.

    A table of which PostgreSQL knows nothing is unknown, which is not nothing.
    """
    database = make_database(any_server)
    off = "WITH (autovacuum_enabled = off)"
    database.run(
        f"CREATE TABLE locked (id int) {off}",
        "INSERT INTO locked SELECT generate_series(1, 10); ANALYZE locked",
        "CREATE TABLE free (id int); INSERT INTO free VALUES (1)",
        f"CREATE TABLE new (id int) {off}; INSERT INTO new VALUES (1), (2)",
    )
    database.run("SELECT pg_stat_reset()", as_admin=True)
    with connected(database.reader_url) as reader, psycopg.connect(database.owner_url) as other:
        tables = list_tables(reader, ["public"])
        other.execute("LOCK TABLE locked, new IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        found = count_rows(reader, tables)
        assert time.monotonic() - started < 4
        other.rollback()
        again = count_rows(reader, tables)
    assert found["public.free"] == exactly(1)
    assert found["public.locked"] == RowCount(10, is_exact=False)
    assert found["public.new"] == RowCount(None, is_exact=False)
    assert again["public.new"] == exactly(2)


def test_a_table_that_is_dropped_meanwhile_is_unknown(
    any_server: Server, make_database: Callable[[Server], Database]
) -> None:
    """It spoils neither the look nor the other counts."""
    database = make_database(any_server)
    database.run("CREATE TABLE stays (id int)", "CREATE TABLE goes (id int)")
    with connected(database.reader_url) as reader:
        tables = list_tables(reader, ["public"])
        database.run("DROP TABLE goes")
        found = count_rows(reader, tables)
    gone = RowCount(None, is_exact=False)
    assert found == {"public.stays": exactly(0), "public.goes": gone}


def test_what_cannot_be_read_whole_is_not_counted(
    any_server: Server, make_database: Callable[[Server], Database]
) -> None:
    """Rows may be hidden from us: no number then, and the finding says why."""
    database = make_database(any_server)
    database.run("CREATE TABLE secrets (id int)")
    reader = f"{database.name}_reader"
    database.run(f"REVOKE pg_read_all_data FROM {reader}", as_admin=True)
    looked = look_and_count(EVERYTHING, database.reader_url)
    assert (looked.finding.status, looked.rows) == ("error", None)
    assert "public.secrets" in looked.finding.message


def test_a_sum_is_as_certain_as_its_least_certain_part() -> None:
    """An estimate makes an estimate of it, and what nobody knows makes it unknown."""
    about = RowCount(5, is_exact=False)
    assert total([]) == exactly(0)
    assert total([exactly(1), exactly(2)]) == exactly(3)
    assert total([exactly(1), about]) == RowCount(6, is_exact=False)
    assert total([exactly(1), RowCount(None, is_exact=False), about]).rows is None
