"""The snapshot against DDL at the worst moments, and the sessions that hold it being killed."""

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_pipelines import backup
from backup_pipelines.backup import EntryDone, take_backup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.exporting import export
from backup_pipelines.postgres import adbc, pg_dump, reader, snapshot
from backup_pipelines.postgres.connection import connected, roll_back
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for
from backup_pipelines_tests.fix_postgres import Database, Server

_OURS = "application_name LIKE 'backup_pipelines%' AND datname = current_database()"


@pytest.fixture
def database(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """A database with one table of 1000 rows."""
    made = make_database(server)
    made.run(
        "CREATE TABLE t (id int PRIMARY KEY, note text)",
        "INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 1000) g",
    )
    return made


@pytest.fixture
def at_listing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has something happen right before or after the nth listing of tables (1: before locking)."""
    hooks: dict[tuple[str, int], Callable[[], None]] = {}
    real, count = snapshot.list_tables, 0

    def listed(*arguments: Any) -> list[LiveTable]:
        nonlocal count
        count += 1
        hooks.get(("before", count), lambda: None)()
        found = real(*arguments)
        hooks.get(("after", count), lambda: None)()
        return found

    monkeypatch.setattr(snapshot, "list_tables", listed)

    def hook(when: str, number: int, action: Callable[[], None]) -> None:
        hooks[when, number] = action

    return hook


def fetch(database: Database, statement: str) -> list[Any]:
    """The rows of a query, run as superuser."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def wait_for(database: Database, condition: str, *, gone: bool = False) -> None:
    """Wait until a query finds rows, or none."""
    deadline = time.monotonic() + 20
    while bool(fetch(database, condition)) is gone:
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def assert_nothing_left(database: Database, folder: Path) -> None:
    """No file in the store, no session of ours on the server."""
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    wait_for(database, f"SELECT FROM pg_stat_activity WHERE {_OURS}", gone=True)


@contextmanager
def queued(database: Database, statement: str) -> Generator[None]:
    """Run DDL in a thread, which ends with the block; the block begins when it waits for a lock."""

    def run() -> None:
        database.run(statement)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(
            database,
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            f"AND datname = current_database() AND query = $${statement}$$",
        )
        yield
    finally:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("ddl", "rows", "id_type"),
    [
        ("TRUNCATE t; INSERT INTO t SELECT g, 'new' FROM generate_series(1, 5) g", 5, "integer"),
        ("ALTER TABLE t ALTER id TYPE bigint", 1000, "bigint"),
        ("ALTER TABLE t ADD stamp timestamptz DEFAULT clock_timestamp()", 1000, "integer"),
    ],
)
def test_rewriting_ddl_in_progress_is_waited_for(
    server: EmbeddedServer,
    database: Database,
    store: Store,
    at_listing: Callable[..., None],
    ddl: str,
    rows: int,
    id_type: str,
) -> None:
    """A table that is being rewritten is read as it is afterwards, not as empty."""
    with psycopg.connect(database.owner_url) as other:
        committer = threading.Thread(target=lambda: (_until_leader_waits(database), other.commit()))

        def start() -> None:
            other.execute(ddl.encode())
            committer.start()

        at_listing("after", 1, start)
        sealed = back_up(database.reader_url, store)
        committer.join()
    assert sealed.records_count == rows
    assert sealed.tables[0].columns[0].type == id_type
    assert run_drill(store, sealed, server.url(), report=ignore).rows == rows


def _until_leader_waits(database: Database) -> None:
    wait_for(database, f"SELECT FROM pg_stat_activity WHERE {_OURS} AND wait_event_type = 'Lock'")


@pytest.mark.parametrize(
    ("ddl", "expected"),
    [
        ("DROP TABLE t; CREATE TABLE u (id int)", {"public.u": 0}),
        ("DROP TABLE t; CREATE TABLE t AS SELECT 1 AS id", {"public.t": 1}),
        ("DROP TABLE t; CREATE VIEW t AS SELECT 1; CREATE TABLE u (id int)", {"public.u": 0}),
        ("CREATE TABLE u AS SELECT 1 AS id", {"public.t": 1000, "public.u": 1}),
        ("ALTER TABLE t RENAME TO u", {"public.u": 1000}),
        ("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", {"s.t": 1000}),
    ],
)
def test_ddl_between_listing_and_locking_starts_over(
    database: Database,
    store: Store,
    at_listing: Callable[..., None],
    ddl: str,
    expected: dict[str, int],
) -> None:
    """Tables dropped, made or renamed after the listing are as they were in the snapshot."""
    at_listing("after", 1, lambda: database.run(ddl))
    sealed = back_up(database.reader_url, store)
    assert {table.qualified: table.rows for table in sealed.tables} == expected


def test_a_named_table_that_is_dropped_meanwhile(
    database: Database, store: Store, tmp_path: Path, at_listing: Callable[..., None]
) -> None:
    """A table that the YAML names and that is dropped after the listing is refused by name."""
    at_listing("after", 1, lambda: database.run("DROP TABLE t"))
    system = System(system="sample", database_url_env="X", modules={"m": ModuleSpec(tables=["t"])})
    with pytest.raises(Refused, match=r"public\.t is in module m but not in the database"):
        back_up(database.reader_url, store, system)
    assert_nothing_left(database, tmp_path)


def test_tables_that_never_stay(
    database: Database, store: Store, tmp_path: Path, at_listing: Callable[..., None]
) -> None:
    """A database whose tables change at every attempt fails with the likely reason."""
    for number in range(1, 20):
        at_listing("before", number, lambda n=number: database.run(f"CREATE TABLE n{n} ()"))
        at_listing("after", number, lambda n=number: database.run(f"DROP TABLE n{n}"))
    with pytest.raises(Failed, match="is a migration running"):
        back_up(database.reader_url, store)
    assert_nothing_left(database, tmp_path)


def test_a_table_made_after_the_snapshot(
    server: EmbeddedServer, database: Database, store: Store, at_listing: Callable[..., None]
) -> None:
    """A table that is made once the snapshot stands is in neither the rows nor the DDL."""
    at_listing("after", 2, lambda: database.run("CREATE TABLE late AS SELECT 1 AS id"))
    sealed = back_up(database.reader_url, store)
    assert [table.qualified for table in sealed.tables] == ["public.t"]
    assert "late" not in "".join(entry.name for part in sealed.ddl for entry in part.objects)
    run_drill(store, sealed, server.url(), report=ignore)


def test_a_dropped_table_is_not_called_unreadable(
    database: Database, at_listing: Callable[..., None]
) -> None:
    """A table that is dropped while it is listed is left out, not taken for one without grants."""
    database.run("CREATE TABLE gone (id int)")
    at_listing("before", 2, lambda: database.run("DROP TABLE gone"))
    seen: list[set[str]] = []

    def choose(tables: Any) -> Any:
        seen.append({table.name for table in tables})
        return [table for table in tables if table.name == "t"]

    with (
        connected(database.reader_url) as connection,
        snapshot.snapshot(connection, (), choose) as moment,
    ):
        assert [table.name for table in moment.tables] == ["t"]
    assert seen == [{"t", "gone"}, {"t"}]


def test_the_time_of_a_snapshot_is_never_too_late(
    database: Database, store: Store, at_listing: Callable[..., None]
) -> None:
    """What the database committed before `snapshot_at` is in the backup."""
    database.run("CREATE TABLE log (at timestamptz)")
    at_listing("before", 2, lambda: database.run("INSERT INTO log VALUES (clock_timestamp())"))
    sealed = back_up(database.reader_url, store)
    assert {table.name: table.rows for table in sealed.tables} == {"log": 0, "t": 1000}
    (at,) = fetch(database, "SELECT at FROM log")[0]
    assert sealed.snapshot_at < at


def test_ddl_after_the_snapshot_waits(database: Database, store: Store) -> None:
    """TRUNCATE, ALTER and DROP wait for a running backup, which has every row."""
    work = take_backup(request_for(), database.reader_url, store)
    items = [next(work) for _ in range(3)]
    with queued(database, "DROP TABLE t"):
        items += list(work)
    tables = [table for item in items if isinstance(item, EntryDone) for table in item.tables]
    assert [table.rows for table in tables] == [1000]
    assert fetch(database, "SELECT FROM pg_class WHERE relname = 't'") == []


def test_a_waiting_alter_fails_the_workers(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ALTER that queues before a worker's lock makes the backup fail; nobody waits in a ring."""
    monkeypatch.setattr(pg_dump, "_LOCK_WAIT_MS", 200)
    real, statement = export.export_piece, "ALTER TABLE t ADD more int"
    stack: list[Any] = []

    def late(*arguments: Any) -> Any:
        stack.append(queued(database, statement))
        stack[0].__enter__()
        return real(*arguments)

    monkeypatch.setattr(export, "export_piece", late)
    with pytest.raises(Failed, match="an ALTER or TRUNCATE waits for it"):
        back_up(database.reader_url, store)
    stack[0].__exit__(None, None, None)
    assert_nothing_left(database, tmp_path)


def test_a_waiting_alter_fails_pg_dump(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump does not wait forever behind an ALTER that waits for the backup itself."""
    monkeypatch.setattr(pg_dump, "_LOCK_WAIT_MS", 200)
    database.run("DROP TABLE t", "CREATE TABLE t ()")  # which no worker has to lock
    real = backup.back_up_ddl
    waiting = queued(database, "ALTER TABLE t ADD more int")

    def late(*arguments: Any) -> Any:
        waiting.__enter__()
        return real(*arguments)

    monkeypatch.setattr(backup, "back_up_ddl", late)
    with pytest.raises(Failed, match="pg_dump"):
        back_up(database.reader_url, store)
    waiting.__exit__(None, None, None)
    assert_nothing_left(database, tmp_path)


def test_sequences_are_beyond_all_rows(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    at_listing: Callable[..., None],
) -> None:
    """The next value of a restored sequence is past every restored row, whoever wrote meanwhile."""
    target, database = make_database(server), make_database(server)
    insert = "INSERT INTO s (note) SELECT 'x' FROM generate_series(1, 50)"
    database.run("CREATE TABLE s (id bigserial PRIMARY KEY, note text)", insert)
    for when, number in (("before", 1), ("after", 1), ("before", 2), ("after", 2)):
        at_listing(when, number, lambda: database.run(insert))
    sealed = back_up(database.reader_url, store)
    assert sealed.records_count == 150
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert fetch(target, "SELECT nextval('public.s_id_seq') > max(id) FROM public.s") == [(True,)]


def test_inheritance_parents_are_not_doubled(
    server: EmbeddedServer, database: Database, store: Store
) -> None:
    """A parent has its own rows, and its children have theirs."""
    database.run("CREATE TABLE c (more int) INHERITS (t)", "INSERT INTO c VALUES (1, 'c', 2)")
    sealed = back_up(database.reader_url, store)
    assert {table.name: table.rows for table in sealed.tables} == {"c": 1, "t": 1000}
    run_drill(store, sealed, server.url(), report=ignore)


def test_the_leader_killed(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the leader's session there is no backup, even when every row had been read."""
    real = export.export_piece

    def then_kill(*arguments: Any) -> Any:
        parts = real(*arguments)
        _kill(database, "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
        return parts

    monkeypatch.setattr(export, "export_piece", then_kill)
    with pytest.raises(Failed):
        back_up(database.reader_url, store)
    assert_nothing_left(database, tmp_path)


def test_the_leader_is_not_idle_while_pg_dump_works(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is used all the while: one without traffic is what firewalls forget."""
    with psycopg.connect(database.admin_url) as connection:
        real = pg_dump.find_pg_dump(connection.info.server_version // 10_000)
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\n[ "$1" = --version ] || sleep 2\nexec "{real}" "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PG_DUMP", str(slow))
    monkeypatch.setattr(snapshot, "_HEARTBEAT_SECONDS", 0.1)
    used: set[datetime] = set()
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(database.admin_url, autocommit=True) as watching,
    ):
        running = pool.submit(back_up, database.reader_url, store)
        while not running.done():
            found = watching.execute(
                "SELECT state_change FROM pg_stat_activity JOIN pg_locks USING (pid)"
                f" WHERE locktype = 'advisory' AND query = 'SELECT 1' AND {_OURS}"
            )
            used |= {row[0] for row in found}
            time.sleep(0.05)
        running.result()
    assert len(used) >= 5


def test_the_leader_killed_before_a_worker_joins(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that finds the snapshot gone fails the backup with the reason."""
    real = export.export_piece

    def kill_then(*arguments: Any) -> Any:
        _kill(database, "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
        return real(*arguments)

    monkeypatch.setattr(export, "export_piece", kill_then)
    with pytest.raises(Failed):
        back_up(database.reader_url, store)
    assert_nothing_left(database, tmp_path)


def test_a_worker_killed(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose session is killed in the middle of a table fails the backup."""
    database.run(
        "INSERT INTO t SELECT g, repeat(md5(g::text), 30) FROM generate_series(1001, 12000) g"
    )
    monkeypatch.setattr(adbc, "_BATCH_BYTES", 50_000)
    real = reader.convert

    def kill_then(*arguments: Any) -> Any:
        _kill(database, "query LIKE 'COPY%'")
        return real(*arguments)

    monkeypatch.setattr(reader, "convert", kill_then)
    with pytest.raises(Failed, match=r"reading public\.t broke off"):
        back_up(database.reader_url, store)
    assert_nothing_left(database, tmp_path)


@pytest.mark.parametrize("items", [1, 2, 3])
def test_closed_early(database: Database, store: Store, tmp_path: Path, items: int) -> None:
    """An iterator that is closed before its end leaves nothing."""
    work = take_backup(request_for(), database.reader_url, store)
    for _ in range(items):
        next(work)
    work.close()
    assert_nothing_left(database, tmp_path)


def _kill(database: Database, which: str) -> None:
    fetch(
        database,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OURS} AND {which}",
    )
    wait_for(database, f"SELECT FROM pg_stat_activity WHERE {_OURS} AND {which}", gone=True)


def test_a_session_that_has_ended_has_nothing_to_roll_back(database: Database) -> None:
    """Rolling back in it raises nothing: what was found before it ended counts, or why it ended."""
    with connected(database.admin_url) as ended, connected(database.admin_url) as other:
        ended.execute("BEGIN")
        ended.execute("SELECT 1")
        other.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [ended.info.backend_pid])
        while other.execute(
            "SELECT FROM pg_catalog.pg_stat_activity WHERE pid = %s", [ended.info.backend_pid]
        ).fetchall():
            time.sleep(0.01)
        # The client has not noticed yet.
        assert not ended.closed
        roll_back(ended)
        assert ended.closed
