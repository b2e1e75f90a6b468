"""A whole backup into an empty database: everything or nothing."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.restoring import load
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, Server

SCHEMA = """
CREATE TABLE parents (id int PRIMARY KEY, note text);
CREATE TABLE children (id serial PRIMARY KEY, parent_id int REFERENCES parents);
INSERT INTO parents SELECT g, md5(g::text) FROM generate_series(1, 1000) g;
INSERT INTO children (parent_id) SELECT g FROM generate_series(1, 1000) g;
CREATE VIEW both_tables AS SELECT * FROM parents JOIN children USING (id);
CREATE MATERIALIZED VIEW notes AS SELECT note FROM parents;
"""


@pytest.fixture
def target(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """An empty database."""
    return make_database(server)


def objects(database: Database) -> list[Any]:
    """What is in the database's own schemas."""
    with psycopg.connect(database.admin_url) as connection:
        return connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()


def test_a_restore_is_whole(sealed: Manifest, store: Store, target: Database) -> None:
    """Rows, keys, views and sequences are as they were, and every table was proved."""
    result = restore_into_empty(store, sealed, target.owner_url, report=ignore)
    assert (result.backup_id, result.tables, result.rows) == (sealed.id, 2, 2000)
    with psycopg.connect(target.admin_url) as connection:
        connection.execute("SET search_path = public")
        for statement, expected in (
            ("SELECT count(*) FROM both_tables", 1000),
            ("SELECT count(*) FROM notes", 1000),
            ("SELECT nextval('children_id_seq')", 1001),
            ("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated", 1),
        ):
            assert connection.execute(statement.encode()).fetchone() == (expected,)
    again = back_up(target.admin_url, store)
    assert {t.name: (t.rows, t.digest) for t in again.tables} == {
        t.name: (t.rows, t.digest) for t in sealed.tables
    }


def test_a_database_that_is_not_empty(sealed: Manifest, store: Store, target: Database) -> None:
    """A database with a table of its own is refused and stays as it is."""
    target.run("CREATE TABLE mine AS SELECT 1 AS id")
    with pytest.raises(Refused, match=r"is not empty, it has 1 tables \(public\.mine\)"):
        restore_into_empty(store, sealed, target.owner_url, report=ignore)
    assert objects(target) == [("mine",)]


@pytest.mark.parametrize("step", ["_load_rows", "set_sequences", "refresh", "prove"])
def test_a_failure_leaves_the_database_empty(
    sealed: Manifest,
    store: Store,
    target: Database,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Whatever fails, and however late, the database is as empty as before; then it works."""
    real = getattr(load, step)

    def fail(*arguments: Any) -> None:
        real(*arguments)
        raise Failed("as the test wants it")

    with monkeypatch.context() as patch:
        patch.setattr(load, step, fail)
        with pytest.raises(Failed, match="as the test wants it"):
            restore_into_empty(store, sealed, target.owner_url, report=ignore)
    assert objects(target) == []
    restore_into_empty(store, sealed, target.owner_url, report=ignore)


def test_a_session_killed_in_the_middle(
    sealed: Manifest, store: Store, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore whose session is killed fails with the reason and leaves the database empty."""
    real = load.set_sequences

    def kill(connection: Any, entry: Manifest) -> None:
        with psycopg.connect(target.admin_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        real(connection, entry)

    monkeypatch.setattr(load, "set_sequences", kill)
    with pytest.raises(BackupError, match="the backup could not be loaded"):
        restore_into_empty(store, sealed, target.owner_url, report=ignore)
    deadline = time.monotonic() + 10
    while objects(target) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert objects(target) == []
