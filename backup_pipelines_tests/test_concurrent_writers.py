"""Backups of a database that is being written to: foreign keys hold, sums stay what they were."""

import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.exporting import export
from backup_pipelines.postgres import adbc
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, Server

_PARENTS = 20_000
_ACCOUNTS = 2_000
_START = 100

_SCHEMA = f"""
CREATE TABLE regions (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE parents (
    id serial PRIMARY KEY, region_id int NOT NULL REFERENCES regions, note text NOT NULL);
CREATE TABLE children (
    id bigserial PRIMARY KEY, parent_id int NOT NULL REFERENCES parents ON DELETE CASCADE,
    sibling_id bigint REFERENCES children ON DELETE SET NULL, note text);
CREATE TABLE left_accounts (id int PRIMARY KEY, amount int NOT NULL);
CREATE TABLE right_accounts (id int PRIMARY KEY, amount int NOT NULL);
INSERT INTO regions (name) SELECT 'r' || g FROM generate_series(1, 20) g;
INSERT INTO parents (region_id, note)
    SELECT 1 + g % 20, repeat(md5(g::text), 4) FROM generate_series(1, {_PARENTS}) g;
INSERT INTO children (parent_id, note)
    SELECT 1 + g % {_PARENTS}, repeat(md5(g::text), 2) FROM generate_series(1, {3 * _PARENTS}) g;
CREATE INDEX ON children (parent_id);
CREATE INDEX ON children (sibling_id);
INSERT INTO left_accounts SELECT g, {_START} FROM generate_series(1, {_ACCOUNTS}) g;
INSERT INTO right_accounts SELECT g, {_START} FROM generate_series(1, {_ACCOUNTS}) g;
"""


class Load:
    """Writers that go on until they are stopped, each in short transactions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.committed = 0
        self.errors: list[BaseException] = []
        self._over = threading.Event()

    @contextmanager
    def running(self, threads: int) -> Generator[None]:
        """Write for the time of the block; raises what a writer raised."""
        writers = [threading.Thread(target=self._write, args=(seed,)) for seed in range(threads)]
        for writer in writers:
            writer.start()
        try:
            yield
        finally:
            self._over.set()
            for writer in writers:
                writer.join()
        assert self.errors == []

    def _write(self, seed: int) -> None:
        chance = random.Random(seed)
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self._over.is_set():
                    try:
                        with connection.transaction():
                            self._step(connection, chance)
                    except (
                        psycopg.errors.ForeignKeyViolation,
                        psycopg.errors.DeadlockDetected,
                    ):
                        continue  # another writer was first, as in any application
                    self.committed += 1
        except BaseException as error:
            self.errors.append(error)

    def _step(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        run = connection.execute
        what, old = chance.random(), chance.randint(1, _PARENTS)
        if what < 0.3:
            run(
                "WITH p AS (INSERT INTO parents (region_id, note) VALUES (%s, 'new') RETURNING id)"
                " INSERT INTO children (parent_id, note)"
                " SELECT p.id, 'new' FROM p, generate_series(1, 3)",
                [chance.randint(1, 20)],
            )
        elif what < 0.5:
            run("DELETE FROM parents WHERE id = %s", [old])
        elif what < 0.7:
            run(
                "WITH p AS (INSERT INTO parents (region_id, note) VALUES (1, 'to') RETURNING id)"
                " UPDATE children SET parent_id = p.id FROM p WHERE parent_id = %s",
                [old],
            )
        elif what < 0.8:
            run(
                "UPDATE children SET sibling_id = (SELECT max(id) FROM children)"
                " WHERE parent_id = %s",
                [old],
            )
        elif what < 0.82:
            run(
                "WITH r AS (INSERT INTO regions (name) VALUES ('n') RETURNING id)"
                " UPDATE parents SET region_id = r.id FROM r WHERE parents.id = %s",
                [old],
            )
        else:
            one, other = ("left", "right") if chance.random() < 0.5 else ("right", "left")
            amount, account = chance.randint(1, 50), chance.randint(1, _ACCOUNTS)
            change = "UPDATE {}_accounts SET amount = amount + %s WHERE id = %s"
            run(change.format(one).encode(), [amount, account])
            run(change.format(other).encode(), [-amount, account])


@pytest.fixture
def many_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table takes many reads, each in small batches."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 128 * 1024)
    monkeypatch.setattr(adbc, "_BATCH_BYTES", 64 * 1024)


@pytest.mark.usefixtures("many_reads")
def test_a_backup_under_load_is_of_one_moment(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much is written meanwhile, no foreign key dangles and a sum over tables is exact."""
    target, database = make_database(server), make_database(server)
    database.run(_SCHEMA)
    # Reads that pause between the tables give the writers the time that a big database would.
    real = export.export_piece

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.01)
        return real(*arguments)

    monkeypatch.setattr(export, "export_piece", slowly)
    load = Load(database.owner_url)
    with load.running(4):
        while load.committed < 20:
            time.sleep(0.01)
        before = load.committed
        sealed = back_up(database.reader_url, store)
        during = load.committed - before
    assert during > 50
    assert sealed.seconds > 1
    assert sum(len(table.parts) for table in sealed.tables) > 50
    verify(store, sealed, report=ignore)
    # The drill makes every foreign key anew and has PostgreSQL validate it.
    drilled = run_drill(store, sealed, server.url(), report=ignore)
    assert drilled.rows == sealed.records_count
    assert not [line for line in drilled.skipped if "check of" in line]
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    with psycopg.connect(target.admin_url) as connection:
        connection.execute("SET search_path = public")

        def value(statement: str) -> Any:
            row = connection.execute(statement.encode()).fetchone()
            assert row is not None
            return row[0]

        for child, column, parent in (
            ("children", "parent_id", "parents"),
            ("children", "sibling_id", "children"),
            ("parents", "region_id", "regions"),
        ):
            dangling = (
                f"SELECT count(*) FROM {child} c WHERE {column} IS NOT NULL"
                f" AND NOT EXISTS (SELECT FROM {parent} p WHERE p.id = c.{column})"
            )
            assert value(dangling) == 0
        assert value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 3
        total = "SELECT (SELECT sum(amount) FROM left_accounts) + sum(amount) FROM right_accounts"
        assert value(total) == 2 * _ACCOUNTS * _START
        for sequence, table in (("children_id_seq", "children"), ("parents_id_seq", "parents")):
            assert value(f"SELECT nextval('{sequence}') > max(id) FROM {table}")
