"""The digest: equal for what is the same, different for whatever only looks the same."""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import compare, live_digest
from backup_pipelines.postgres.introspect import list_tables, with_columns
from backup_pipelines.postgres.projection import add_digests, digest_query, export_query, to_digest
from backup_pipelines.postgres.types import PORTABLE
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, DebianServer, Server
from backup_pipelines_tests.test_types import fill, table_of
from backup_pipelines_tests.type_matrix import LOOKALIKES, SETUP

MakeDatabase = Callable[[Server], Database]


def digests(url: str) -> dict[str, str]:
    """The digest of every table of a database, by name."""
    with connected(url) as connection:
        tables = with_columns(connection, list_tables(connection))
        return {table.name: live_digest(connection, table)[1] for table in tables}


def test_values_that_look_alike_have_different_digests(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """Two values that something on the way could take for one another never share a digest."""
    database = make_database(any_server)
    for name in ("citext", "hstore"):
        database.run(f"CREATE EXTENSION {name}", as_admin=True)
    statements = [SETUP]
    for number, (kind, *values) in enumerate(LOOKALIKES):
        for side, value in zip("ab", values, strict=True):
            row = sql.Literal(value).as_string()
            statements.append(f"CREATE TABLE {side}{number} (v {kind})")
            statements.append(f"INSERT INTO {side}{number} VALUES ({row})")
    database.run(*statements)
    found = digests(database.reader_url)
    same = [pair for n, pair in enumerate(LOOKALIKES) if found[f"a{n}"] == found[f"b{n}"]]
    assert not same


def test_null_and_empty_have_different_digests(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """NULL is neither the empty text nor no row at all."""
    database = make_database(any_server)
    database.run(
        *(f"CREATE TABLE {name} (a text, b text)" for name in "abcd"),
        "INSERT INTO a VALUES (NULL, '')",
        "INSERT INTO b VALUES ('', NULL)",
        "INSERT INTO c VALUES (NULL, NULL)",
        "INSERT INTO d VALUES (NULL, NULL), (NULL, NULL)",
        "CREATE TABLE e (a text, b text)",
    )
    assert len(set(digests(database.reader_url).values())) == 5


def test_every_value_of_the_matrix_has_its_own_hash(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """Within a type, values that print differently hash differently."""
    database = make_database(any_server)
    variants = fill(database)
    database.run(*(f"ALTER TABLE {table_of(variant)} DROP COLUMN id" for variant in variants))
    clashes: list[str] = []
    with connected(database.reader_url) as connection:
        for table in with_columns(connection, list_tables(connection)):
            if not table.columns:
                continue
            count = sql.SQL(
                "SELECT count(DISTINCT v) AS values, count(DISTINCT h) AS hashes FROM"
                " (SELECT h, coalesce(pg_catalog.format('value %s', v), '') FROM ({}) AS e (v, h)"
                " WHERE v IS NOT NULL) AS x (h, v)"
            ).format(export_query(table))
            row = connection.execute(count).fetchone()
            if row is None or row["values"] != row["hashes"]:
                clashes.append(f"{table.name}: {row}")
    assert not clashes


def unlike_portable(url: str) -> list[str]:
    """The tables whose digest is another one by the recipe that every server can compute."""
    with connected(url) as connection:
        tables = with_columns(connection, list_tables(connection))
        return [
            table.name
            for table in tables
            if live_digest(connection, table)
            != live_digest(connection, replace(table, recipe=PORTABLE))
        ]


def test_what_is_hashed_in_place_has_the_hash_that_is_promised(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """Each value of the matrix has the same hash by the cheapest recipe as by the portable one."""
    database = make_database(any_server)
    fill(database)
    with connected(database.reader_url) as connection:
        tables = with_columns(connection, list_tables(connection))
    assert tables
    assert not [table.name for table in tables if table.recipe == PORTABLE]
    assert not unlike_portable(database.reader_url)


def test_values_that_change_places_change_the_digest(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """A column whose values are dealt to other rows is not the same table."""
    database = make_database(any_server)
    database.run(
        "CREATE TABLE a (i int, t text)",
        "CREATE TABLE b (i int, t text)",
        "INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 100) AS n",
        "INSERT INTO b SELECT n, 'row ' || 101 - n FROM generate_series(1, 100) AS n",
    )
    found = digests(database.reader_url)
    assert found["a"] != found["b"]


def test_order_of_rows_and_columns_does_not_matter(
    any_server: Server, make_database: MakeDatabase
) -> None:
    """The same rows in another order, with their columns in another order, have the same digest."""
    database = make_database(any_server)
    database.run(
        'CREATE TABLE a (i int, "Z" text, gone int, u uuid)',
        "ALTER TABLE a DROP COLUMN gone",
        'CREATE TABLE b (u uuid, i int, "Z" text)',
        "INSERT INTO a SELECT n, 'r' || n, md5(n::text)::uuid FROM generate_series(1, 500) AS n",
        'INSERT INTO b SELECT u, i, "Z" FROM a ORDER BY u',
    )
    found = digests(database.reader_url)
    assert found["a"] == found["b"]


def test_digests_of_page_ranges_add_up(any_server: Server, make_database: MakeDatabase) -> None:
    """The digest of a table is the sum of the digests of its ranges of pages."""
    database = make_database(any_server)
    database.run("CREATE TABLE a AS SELECT n, repeat('x', 500) FROM generate_series(1, 200) AS n")
    with connected(database.reader_url) as connection:
        (table,) = with_columns(connection, list_tables(connection))
        parts = [
            connection.execute(digest_query(table, pages)).fetchone()
            for pages in ((0, 3), (3, 4), (4, None))
        ]
        rows, whole = live_digest(connection, table)
    assert sum(part["rows"] for part in parts if part) == rows == 200
    assert add_digests([to_digest(int(part["total"])) for part in parts if part]) == whole


def test_case_under_a_nondeterministic_collation_changes_the_digest(
    debian_server: DebianServer, make_database: MakeDatabase, store: Store
) -> None:
    """Texts that a collation calls equal are different contents, and restored as they were."""
    database = make_database(debian_server)
    database.run(
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    kinds = ("text", "varchar(20)", "char(20)", "text[]")
    for kind in kinds:
        for value in ("{Abc}", "{aBC}"):
            table = sql.Identifier(f"{kind} {value}").as_string()
            database.run(
                f"CREATE TABLE {table} (v {kind} COLLATE blind)",
                f"INSERT INTO {table} VALUES ('{value}')",
            )
    found = digests(database.reader_url)
    assert not [kind for kind in kinds if found[f"{kind} {{Abc}}"] == found[f"{kind} {{aBC}}"]]
    assert not unlike_portable(database.reader_url)
    run_drill(store, back_up(database.reader_url, store), debian_server.url(), report=ignore)


def test_sign_of_a_nan_does_not_count(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A NaN with a sign, which arithmetic makes and nothing prints, does not fail a drill."""
    database = make_database(any_server)
    database.run(
        "CREATE TABLE a AS SELECT 'inf'::float8 - 'inf'::float8 AS d,"
        " 'inf'::float4 - 'inf'::float4 AS f"
    )
    sealed = back_up(database.reader_url, store)
    assert run_drill(store, sealed, any_server.url(), report=ignore).rows == 1


def test_changed_copy_is_named(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """Comparing a database with a backup names each table that differs, and how."""
    database = make_database(any_server)
    database.run(
        *(f"CREATE TABLE {name} (i int8)" for name in ("same", "other", "more", "gone", "altered")),
        "INSERT INTO other VALUES (1), (2)",
    )
    sealed = back_up(database.reader_url, store)
    database.run(
        "UPDATE other SET i = 4294967296 WHERE i = 1",
        "INSERT INTO more VALUES (1)",
        "DROP TABLE gone",
        "ALTER TABLE altered ALTER i TYPE int4",
    )
    with connected(database.reader_url) as connection:
        found = {d.table: d.problem for d in compare(connection, sealed.tables)}
    assert set(found) == {"public.other", "public.more", "public.gone", "public.altered"}
    assert "other content" in found["public.other"]
    assert "1 rows instead of 0" in found["public.more"]


def test_arrays_of_types_with_underscores_are_the_same_types(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """What PostgreSQL happened to call an array's type is not a difference."""
    database = make_database(any_server)
    database.run(
        "CREATE TYPE _mood AS ENUM ('a'); CREATE TYPE mood AS ENUM ('a')",
        "CREATE TABLE t (m mood[], n _mood[]); INSERT INTO t VALUES ('{a}', '{a}')",
        "CREATE TABLE _t (t t[]); INSERT INTO _t SELECT ARRAY[t] FROM t",
    )
    sealed = back_up(database.reader_url, store)
    assert run_drill(store, sealed, any_server.url(), report=ignore).rows == 2


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_several_processes_find_the_digest_that_one_finds(
    server: EmbeddedServer, make_database: MakeDatabase, encoding: str
) -> None:
    """A parallel worker sends texts in the server's encoding, so that there one does it all."""
    name = make_database(server).name
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name}".encode())
        made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        admin.execute(f"{made} LOCALE_PROVIDER libc".encode())
    with connected(server.url(name)) as connection:
        for statement in (
            "CREATE TABLE public.t (id int, v text, c char(12)) WITH (parallel_workers = 2)",
            "INSERT INTO public.t SELECT i, 'é ' || i, 'é' || i FROM generate_series(1, 40000) i",
            "ANALYZE public.t",
            "SET min_parallel_table_scan_size = 0",
            "SET parallel_setup_cost = 0",
            "SET parallel_tuple_cost = 0",
        ):
            connection.execute(statement.encode())
        [table] = with_columns(connection, list_tables(connection))
        shown = sql.SQL("EXPLAIN {}").format(digest_query(table, in_parallel=True))
        plan = str(connection.execute(shown).fetchall())
        assert ("Partial Aggregate" in plan) == (encoding == "UTF8"), plan
        one = connection.execute(digest_query(table)).fetchone()
        assert one is not None
        found = {live_digest(connection, table) for _ in range(3)}
        assert found == {(40_000, to_digest(int(one["total"])))}


def test_database_of_another_encoding_drills_exactly(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A LATIN1 database is stored as UTF-8 and equal by digest in a UTF8 one."""
    database = make_database(any_server)
    with psycopg.connect(database.admin_url.replace(database.name, "postgres", 1)) as admin:
        admin.autocommit = True
        owner = urlsplit(database.owner_url).username
        provider = "LOCALE_PROVIDER libc" if admin.info.server_version >= 150000 else ""
        admin.execute(f"DROP DATABASE {database.name}".encode())
        admin.execute(
            f"CREATE DATABASE {database.name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
            f" {provider} OWNER {owner}".encode()
        )
    database.run(
        "CREATE TYPE grüße AS ENUM ('ä')",
        'CREATE TABLE é (t text, v varchar, c char(4), n name, "ö" grüße, a text[], b bytea)',
        r"INSERT INTO é VALUES ('Grüße', 'é', 'ü', 'ÿ', 'ä', '{ö}', '\xe9')",
    )
    assert not unlike_portable(database.reader_url)
    sealed = back_up(database.reader_url, store)
    assert run_drill(store, sealed, any_server.url(), report=ignore).rows == 1
