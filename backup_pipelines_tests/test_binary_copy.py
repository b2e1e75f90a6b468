"""Rows that go to PostgreSQL in its own binary form: the same rows, in fewer steps."""

import time
from collections.abc import Callable, Generator
from decimal import Decimal
from functools import partial
from threading import get_ident

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.manifest import Table
from backup_pipelines.postgres.ahead import Sent, ahead
from backup_pipelines.postgres.binary_copy import binary_form
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_backup import back_up, ignore, in_json_lines
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.test_types import differences, fill, table_of

MakeDatabase = Callable[[Server], Database]

# Enough rows for the server to be asked how it sends texts.
_ROWS = 1_100

_KINDS = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN amount AS numeric(12,2) CHECK (VALUE < 1000000000);
CREATE TABLE kinds (
    id bigint PRIMARY KEY, small smallint, number integer, real real, double double precision,
    yes boolean, words text, short varchar(12), padded char(6), raw bytea, uid uuid, day date,
    clock time, at timestamptz, local timestamp, money numeric(12,2), cost amount,
    half numeric(4,4), whole numeric(16,0), mood mood, plain json, binary_json jsonb,
    took interval, tags text[],
    score numeric, address inet, spot point);
INSERT INTO kinds
SELECT g, g % 7 - 3, -g, g / 3.0, CASE g % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' ELSE g / 7.0 END,
       g % 2 = 0, 'text ' || g, CASE WHEN g % 3 > 0 THEN 'é' || g END, g % 100,
       decode('00ff', 'hex'), md5(g::text)::uuid, date '1900-01-01' + g,
       time '00:00' + g * interval '1 second',
       timestamptz '1999-12-31Z' + g * interval '17 hours', timestamp '0001-01-01',
       (g - 600) * 1234.56, -g / 4.0, (g % 10000) / 10000.0, (g - 500) * 12345678901::numeric,
       (CASE g % 2 WHEN 0 THEN 'glad' ELSE 'sad' END)::mood, '{ "b" : 1, "b" : 2 }',
       jsonb_build_object('n', g), CASE WHEN g % 2 = 0 THEN g % 50 * interval '1 month 1 day' END,
       CASE g % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{a,NULL,"b,c"}' END::text[], (g % 11) / 10.00,
       '10.0.0.1', point(g % 4, 0.1)
  FROM generate_series(1, 1100) AS g;
INSERT INTO kinds (id) VALUES (0);
"""

_TOO_MANY = """
CREATE TABLE many (id bigint PRIMARY KEY, took interval);
INSERT INTO many SELECT g, g * interval '1 second' FROM generate_series(1, 10001) AS g;
CREATE TABLE few (id bigint PRIMARY KEY, took interval);
INSERT INTO few SELECT g, g * interval '1 second' FROM generate_series(1, 10) AS g;
"""


def is_binary(url: str, store: Store, table: Table) -> bool:
    """Whether all rows of a table would go in binary form."""
    names = [column.name for column in table.columns]
    with connected(url, doing="test") as connection:
        read = partial(stored_batches, store, table)
        return binary_form(connection, table, names, read) is not None


def test_every_type_comes_back_by_binary_copy(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """Tables long enough to be sent in binary form hold every value of every type afterwards."""
    source, target = make_database(any_server), make_database(any_server)
    variants = fill(source)
    many = "INSERT INTO {0} SELECT s.id + n * 1000, s.v FROM {0} AS s, generate_series(1, {1}) AS n"
    with psycopg.connect(source.owner_url) as connection:
        for variant in variants:
            times = _ROWS // (len(variant.values) + 1) + 1
            name = sql.Identifier(table_of(variant))
            connection.execute(sql.SQL(many).format(name, sql.Literal(times)))
    sealed = back_up(source.reader_url, store)
    # The proof by digest is in it; what PostgreSQL copies out of both is compared besides.
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert not differences(source.admin_url, target.admin_url, variants)
    sent = [t.name for t in sealed.tables if t.rows and is_binary(target.admin_url, store, t)]
    assert len(sent) > len(variants) / 3


def test_usual_columns_go_in_binary_form(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store
) -> None:
    """A table of all usual types is sent in binary form, NULLs, signs and fractions included."""
    source, target = make_database(server), make_database(server)
    with psycopg.connect(source.owner_url) as connection:
        connection.execute(_KINDS)
    sealed = back_up(source.reader_url, store)
    assert is_binary(source.admin_url, store, sealed.tables[0])
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert contents(target.admin_url) == contents(source.admin_url)
    with psycopg.connect(target.admin_url) as connection:
        found = connection.execute("SELECT money, half, whole FROM kinds WHERE id = 1").fetchone()
    assert found == (Decimal("-739501.44"), Decimal("0.0001"), Decimal(-499 * 12345678901))


@pytest.mark.parametrize("name", ["many", "few"])
def test_texts_that_are_many_or_few_rows_go_as_csv(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store, name: str
) -> None:
    """The server is asked neither for more distinct texts than it is worth, nor for a few rows."""
    source, target = make_database(server), make_database(server)
    with psycopg.connect(source.owner_url) as connection:
        connection.execute(_TOO_MANY)
    sealed = back_up(source.reader_url, store)
    (table,) = [t for t in sealed.tables if t.name == name]
    assert not is_binary(source.admin_url, store, table)
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert contents(target.admin_url) == contents(source.admin_url)


def test_rows_of_json_lines_go_as_csv(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store
) -> None:
    """Values that come as texts whatever their type are left to PostgreSQL to read."""
    source = make_database(server)
    with psycopg.connect(source.owner_url) as connection:
        connection.execute(_KINDS)
    sealed = back_up(source.reader_url, store, in_json_lines())
    assert not is_binary(source.admin_url, store, sealed.tables[0])


def test_the_next_thing_is_made_while_one_is_used() -> None:
    """A thread is one thing ahead and no more, in order, and what goes wrong in it is raised."""
    made: list[int] = []

    def things() -> Generator[Sent]:
        for number in range(3):
            made.append(get_ident())
            yield b"", number
        raise ValueError("of the thread")

    with pytest.raises(ValueError, match="of the thread"):
        for _, number in ahead(things()):
            limit = time.monotonic() + 5
            while len(made) < min(3, number + 2) and time.monotonic() < limit:
                time.sleep(0.001)
            assert len(made) == min(3, number + 2)
    assert get_ident() not in made


def test_whoever_stops_early_leaves_no_thread() -> None:
    """Closing it ends what it makes, wherever that is."""
    ended: list[bool] = []

    def things() -> Generator[Sent]:
        try:
            while True:
                yield b"", 1
        finally:
            ended.append(True)

    pieces = ahead(things())
    next(pieces)
    pieces.close()
    assert ended == [True]
