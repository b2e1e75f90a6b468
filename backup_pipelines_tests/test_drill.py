"""Drills: what they prove, what they refuse, and that they leave no database behind."""

import secrets
import threading
from collections.abc import Callable, Generator
from typing import Any

import psycopg
import pytest

from backup_pipelines import drill
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.drill_record import last_drill
from backup_pipelines.errors import BackupError, Failed, NotEqual, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, DebianServer, Server

SCHEMA = """
CREATE TABLE a AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 300) g;
CREATE TABLE b AS SELECT 1.50::numeric AS amount;
"""


def scratch(server: Server) -> list[str]:
    """The scratch databases that are on the server."""
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'backup_drill_%'"
        ).fetchall()
    return [name for (name,) in rows]


def drills(store: Store) -> int:
    """How many records of drills the store has."""
    return len(list(store.objects("sample/drills/")))


def test_a_drill_proves_and_leaves_a_record(
    sealed: Manifest, store: Store, server: EmbeddedServer
) -> None:
    """A drill that passes keeps its times and versions in the store, and no database."""
    assert last_drill(store, "sample") is None
    results = [run_drill(store, sealed, server.url(), report=ignore) for _ in range(2)]
    assert (results[0].tables, results[0].rows) == (2, 301)
    assert set(results[0].seconds_by_module) == {"all"}
    assert "proof" in results[0].seconds_by_step
    assert last_drill(store, "sample") == results[1]
    assert drills(store) == 2
    assert scratch(server) == []


def _with(sealed: Manifest, **fields: object) -> Manifest:
    """The manifest with fields of its first table forged."""
    first, *others = sealed.tables
    return sealed.model_copy(update={"tables": (first.model_copy(update=fields), *others)})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"digest": "0" * 16}, "public.a has other content in its 300 rows"),
        ({"rows": 301}, "public.a has 300 rows instead of 301"),
        ({"parts": ()}, "public.a has 0 rows instead of 300"),
    ],
)
def test_what_is_not_equal(
    sealed: Manifest,
    store: Store,
    server: EmbeddedServer,
    fields: dict[str, object],
    said: str,
) -> None:
    """A table that comes out other than the manifest says fails the drill, without a record."""
    with pytest.raises(NotEqual, match=said):
        run_drill(store, _with(sealed, **fields), server.url(), report=ignore)
    assert (drills(store), scratch(server)) == (0, [])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE public.a SET note = note || ' ' WHERE id = 77",
        "UPDATE public.b SET amount = 1.5",
        "DELETE FROM public.a WHERE id = 77",
        "INSERT INTO public.a SELECT * FROM public.a WHERE id = 77",
        "UPDATE public.a SET note = NULL WHERE id = 77",
    ],
)
def test_one_changed_row_is_found(
    sealed: Manifest,
    store: Store,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """A single row that differs, be it by a blank or a numeric's scale, is not equal."""
    from backup_pipelines.restoring import load

    real = load.set_sequences

    def tamper(connection: Any, entry: Manifest) -> None:
        real(connection, entry)
        connection.execute(change)

    monkeypatch.setattr(load, "set_sequences", tamper)
    with pytest.raises(NotEqual, match=r"public\.[ab] has "):
        run_drill(store, sealed, server.url(), report=ignore)
    assert (drills(store), scratch(server)) == (0, [])


def test_a_backup_without_tables_proves_nothing(
    server: EmbeddedServer, make_database: Callable[[Server], Database], store: Store
) -> None:
    """Zero tables checked is a failure."""
    sealed = back_up(make_database(server).reader_url, store)
    with pytest.raises(NotEqual, match="nothing can be proved"):
        run_drill(store, sealed, server.url(), report=ignore)


def test_an_older_server(sealed: Manifest, store: Store, debian_server: DebianServer) -> None:
    """A server older than the backup's is refused by both versions, before anything is made."""
    newer = sealed.model_copy(update={"server_version": (debian_server.major + 1) * 10000})
    with pytest.raises(Refused, match=f"PostgreSQL {debian_server.major}, older than .* newer one"):
        run_drill(store, newer, debian_server.url(), report=ignore)
    assert scratch(debian_server) == []


def test_a_role_that_may_not_create_databases(
    sealed: Manifest, store: Store, server: EmbeddedServer
) -> None:
    """A drill's role without CREATEDB is refused with what to do; with it alone, a drill works."""
    name = f"drill_{secrets.token_hex(4)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN".encode())
        try:
            with pytest.raises(Refused, match="may not create databases"):
                run_drill(store, sealed, server.url(user=name), report=ignore)
            admin.execute(f"ALTER ROLE {name} CREATEDB".encode())
            assert run_drill(store, sealed, server.url(user=name), report=ignore).rows == 301
        finally:
            admin.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def left_behind(server: EmbeddedServer) -> Generator[str]:
    """A scratch database whose drill is gone."""
    name = f"backup_drill_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        yield name
        admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())


def test_leftovers_are_dropped_and_running_drills_are_not(
    sealed: Manifest,
    store: Store,
    server: EmbeddedServer,
    left_behind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A killed drill's database goes with the next drill; one that is being drilled stays."""
    real, inside, go_on = drill.load, threading.Event(), threading.Event()
    others: list[str] = []

    def slow(*arguments: Any) -> Any:
        inside.set()
        assert go_on.wait(20)
        return real(*arguments)

    def first() -> None:
        others.append(run_drill(store, sealed, server.url(), report=ignore).backup_id)

    monkeypatch.setattr(drill, "load", slow)
    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(20)
    assert left_behind not in scratch(server)
    monkeypatch.setattr(drill, "load", real)
    (running,) = scratch(server)
    run_drill(store, sealed, server.url(), report=ignore)
    assert scratch(server) == [running]
    go_on.set()
    thread.join()
    assert others == [sealed.id]
    assert scratch(server) == []


def test_a_drill_whose_session_is_killed(
    sealed: Manifest, store: Store, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drill that loses its server fails with the reason; the next one drops what it left."""
    real = drill.load

    def kill(*arguments: Any) -> Any:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'backup_pipelines%'"
            )
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(drill, "load", kill)
        with pytest.raises(Failed, match=r"could not be loaded|broke off"):
            run_drill(store, sealed, server.url(), report=ignore)
    assert len(scratch(server)) == 1
    run_drill(store, sealed, server.url(), report=ignore)
    assert scratch(server) == []


def test_unreachable_servers(sealed: Manifest, store: Store) -> None:
    """A drill's server that is not there is one sentence."""
    with pytest.raises(BackupError, match="cannot connect to the drill's server"):
        run_drill(store, sealed, "postgresql://u:secret@127.0.0.1:1/db", report=ignore)
