"""What a backup takes of its source: connections, bytes a second, and sessions under its name."""

import ast
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

import backup_pipelines
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.csv.export import Asked, export_live
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.health.live_look import look
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import adbc, snapshot
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.reader import Readers
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.source_load import Allowance, Throttle
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_restore import MakeSite, Site
from backup_pipelines_tests.sessions import watching

_MB = 10**6

# Each of them ends what lasts as long as these backups, unless it is lifted.
_SHORT = {
    "statement_timeout": "400ms",
    "lock_timeout": "400ms",
    "idle_in_transaction_session_timeout": "400ms",
    "idle_session_timeout": "400ms",
    "transaction_timeout": "400ms",
}


@pytest.fixture
def database(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """Eight tables of about a quarter of a megabyte, one to be read twice."""
    return filled(make_database(server))


def filled(database: Database) -> Database:
    """Two megabytes of rows in eight tables, one with a date that makes it be read as text."""
    for number in range(8):
        database.run(
            f"CREATE TABLE t{number} (id int PRIMARY KEY, day date, what text)",
            f"INSERT INTO t{number} SELECT g, '2026-01-01', repeat(md5(g::text), 8)"
            " FROM generate_series(1, 1000) g",
        )
    database.run("UPDATE t3 SET day = 'infinity' WHERE id = 5")
    return database


@pytest.mark.parametrize(("most", "readers"), [(2, 8), (3, 8), (5, 8), (9, 2), (None, 3)])
def test_a_backup_never_has_more_sessions_than_it_may(
    database: Database, store: Store, most: int | None, readers: int
) -> None:
    """Nor does the server, which gives this role no more of them, refuse it one."""
    allowed = min(most or 99, readers + 1)
    role = f"{database.name}_reader"
    database.run(f"ALTER ROLE {role} CONNECTION LIMIT {allowed}", as_admin=True)
    with watching(database.admin_url, role) as seen:
        sealed = back_up(
            database.reader_url,
            store,
            whole_system(readers=readers),
            max_connections=most,
            throttle=2.0,
        )
    assert sealed.records_count == 8000
    assert seen.most == allowed


def test_one_connection_is_refused_with_the_least_that_works(
    database: Database, store: Store, tmp_path: Path
) -> None:
    """In one sentence, from the request and from the YAML, and nobody connects."""
    said = "2 is the least possible, one that holds the snapshot"
    with (
        watching(database.admin_url, f"{database.name}_%") as seen,
        pytest.raises(Refused, match=said),
    ):
        back_up(database.reader_url, store, max_connections=1)
    assert not seen.names
    assert not list((tmp_path / "store").rglob("*.json"))
    with pytest.raises(ValidationError, match=said):
        System(system="s", database_url_env="X", modules={}, max_connections=1)
    with pytest.raises(Refused, match="less than nothing"):
        Allowance.of(None, -1)
    with pytest.raises(Refused, match="3 is the least possible"):
        Allowance.of(2, 0).readers_elsewhere()


def test_a_throttle_holds_all_readers_of_a_backup_together(
    database: Database, store: Store
) -> None:
    """So many bytes take so long at least, and are read all the same."""
    texts = 8 * 1000 * 8 * 32
    began = time.monotonic()
    sealed = back_up(database.reader_url, store, whole_system(readers=4), throttle=1.5)
    assert time.monotonic() - began >= texts / (1.5 * _MB)
    assert sealed.records_count == 8000


def test_no_session_compiles_expressions_whatever_the_role_has(database: Database) -> None:
    """A wide table's took longer than the piece that they were for, for each piece anew."""
    database.run(f"ALTER ROLE {database.name}_reader SET jit = on", as_admin=True)
    asked = "SELECT current_setting('jit') AS jit"
    with connected(database.reader_url) as leader:
        leader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        snapshot = leader.execute("SELECT pg_export_snapshot() AS snapshot").fetchone()
        assert snapshot is not None
        readers = Readers(database.reader_url, snapshot["snapshot"])
        with readers.lent() as session:
            assert session.row(asked) == ("off",)
        readers.close()
        assert leader.execute(asked).fetchone() == {"jit": "off"}


def test_the_yaml_throttles_backups_and_not_safety_backups(database: Database) -> None:
    """Somebody waits for a restore; and 0 lifts the YAML's for once."""
    system = whole_system().model_copy(update={"throttle": 4.0, "max_connections": 3})
    assert request_for(system).allowance == Allowance(3, 4e6)
    assert request_for(system, throttle=0.0, max_connections=2).allowance == Allowance(2, 0)
    assert request_for(system, throttle=9.0).allowance == Allowance(3, 9e6)
    safety = BackupRequest(system, BackupId.new("safety", datetime.now(UTC)), "safety", "test",
                           frozenset())  # fmt: skip
    assert safety.allowance == Allowance(3, 0)


def test_a_backup_that_has_lost_its_snapshot_soon_knows(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leader says something now and then, and readers that would wait for hours end at once."""
    monkeypatch.setattr(snapshot, "_HEARTBEAT_SECONDS", 0.1)
    timer = threading.Timer(1.0, lambda: _end(database, "state = 'idle in transaction'"))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Failed, match="the session that held the snapshot ended"):
        back_up(database.reader_url, store, throttle=0.001)
    assert time.monotonic() - began < 20
    assert not list(store.objects("sample/"))


def _end(database: Database, which: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE usename = '{database.name}_reader' AND {which}".encode()
        )


def test_waiting_is_shared_and_a_pause_is_made_up_for_a_second_at_most() -> None:
    """Two readers wait for each other's bytes; who was away may read at once, but not for ever."""
    clock = [0.0]
    waited: list[float] = []

    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    throttle = Throttle(100.0, clock=lambda: clock[0])
    throttle._stopped = Waits()  # pyright: ignore[reportPrivateUsage]
    throttle.passed(100)
    throttle.passed(50)
    assert waited == [1.0, 1.5]
    clock[0] = 60.0
    throttle.passed(100)
    assert waited == [1.0, 1.5]
    throttle.passed(100)
    assert waited[2:] == [1.0]


@pytest.mark.parametrize("where", ["ROLE {name}_reader", "DATABASE {name}"])
def test_short_timeouts_of_a_role_or_a_database_end_no_backup(
    any_server: Server,
    make_database: Callable[[Server], Database],
    store: Store,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not the leader, which is silent, not a long COPY, not pg_dump."""
    # One COPY must last, and not fit into the buffers on its way.
    monkeypatch.setattr(adbc, "_BATCH_BYTES", 100_000)
    database = filled(make_database(any_server))
    database.run("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 3000) g")
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        known = {row[0] for row in admin.execute("SELECT name FROM pg_settings").fetchall()}
        for name in known & _SHORT.keys():
            place = where.format(name=database.name)
            admin.execute(f"ALTER {place} SET {name} = '{_SHORT[name]}'".encode())
    _ends_what_is_slow(database)
    began = time.monotonic()
    sealed = back_up(database.reader_url, store, throttle=2.5)
    assert sealed.records_count == 11_000
    assert time.monotonic() - began > 3 * 0.4


def _ends_what_is_slow(database: Database) -> None:
    """The timeouts do work for others."""
    with (
        psycopg.connect(database.reader_url, autocommit=True) as other,
        pytest.raises(psycopg.Error, match="timeout"),
    ):
        other.execute("SELECT pg_sleep(1)")


@pytest.mark.parametrize("name", _SHORT)
def test_each_timeout_alone_ends_nothing_that_holds_a_session(
    server: EmbeddedServer, make_site: MakeSite, name: str
) -> None:
    """A drill's session waits outside of a transaction, a plan and a restore inside of theirs."""
    site = make_site(server, "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g")
    entry = site.back_up()
    site.run_as_admin(f"ALTER ROLE {site.database.name}_owner SET {name} = '100ms'")
    slow: list[str] = []

    def slowly(line: str) -> None:
        slow.append(line)
        time.sleep(0.15)

    admin = f"{site.database.name}_owner"
    site.run_as_admin(f"ALTER ROLE {admin} CREATEDB")
    url = site.database.owner_url
    assert run_drill(site.store, entry, url, report=slowly).rows == 100
    site.run("DELETE FROM t WHERE id > 50")
    assert site.restore(entry, report=slowly).verified == 1
    assert len(slow) > 5


def test_every_session_has_our_name_whatever_the_url_says(
    server: EmbeddedServer, make_site: MakeSite, make_database: Callable[[Server], Database],
    tmp_path: Path
) -> None:  # fmt: skip
    """Verb and system, so that whoever looks at the server knows whom to ask."""
    site = make_site(server)
    filled(site.database)
    other = make_database(server)
    reader, owner = (f"{url}&application_name=till" for url in
                     (site.database.reader_url, site.database.owner_url))  # fmt: skip

    def names(work: Callable[[], object]) -> set[str]:
        with watching(site.database.admin_url, "t_%") as seen:
            work()
        return set(seen.names)

    with watching(site.database.admin_url, "t_%") as seen:
        entry = back_up(reader, site.store, max_connections=2, throttle=4.0)
    # The leader, pg_dump for each of two sections, a reader and one more after the date, for each
    # of which ADBC looks at the types by a session of its own.
    assert dict(seen.names) == {"backup_pipelines backup sample": 7}
    site.run("DELETE FROM t1")
    owned = Site(_as(site.database, owner), site.store, site.system)
    asked = Asked(Selection(modules=("all",)), tmp_path / "csv")
    assert names(lambda: owned.plan(entry)) == {"backup_pipelines plan sample"}
    assert names(lambda: owned.restore(entry)) == {"backup_pipelines restore sample"}
    assert names(lambda: export_live(site.system, reader, asked, report=ignore)) == {
        "backup_pipelines csv sample"
    }
    assert names(
        lambda: restore_into_empty(
            site.store, entry, f"{other.owner_url}&application_name=x", report=ignore
        )
    ) == {"backup_pipelines restore sample"}
    assert names(lambda: [look(site.system, reader) for _ in range(5)]) == {
        "backup_pipelines health sample"
    }


def _as(database: Database, owner_url: str) -> Database:
    return Database(database.name, database.admin_url, owner_url, database.reader_url)


def test_no_connection_of_the_package_is_without_a_name() -> None:
    """Each call says what it does, those by hand too."""
    lacking: list[str] = []
    for path in Path(backup_pipelines.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            names = {keyword.arg for keyword in node.keywords}
            if node.func.id in ("connected", "with_defaults", "dump_section") and (
                "doing" not in names
            ):
                lacking.append(f"{path.name}:{node.lineno}")
    assert lacking == []


def test_a_full_server_is_asked_again_for_some_seconds(database: Database, store: Store) -> None:
    """The leader has its place; the others wait for theirs."""
    role = f"{database.name}_reader"
    database.run(f"ALTER ROLE {role} CONNECTION LIMIT 3", as_admin=True)
    held = psycopg.connect(database.reader_url)
    timer = threading.Timer(1.5, held.close)

    def started(line: str) -> None:
        if "one snapshot" in line:
            more.append(psycopg.connect(database.reader_url))
            timer.start()

    more: list[psycopg.Connection[Any]] = []
    try:
        *_, sealed = take_backup(request_for(max_connections=2), database.reader_url, store,
                                 report=started)  # fmt: skip
    finally:
        timer.join()
        for connection in more:
            connection.close()
    assert isinstance(sealed, Manifest)


def test_a_server_that_stays_full_fails_the_backup(database: Database, store: Store) -> None:
    """With PostgreSQL's reason."""
    database.run(f"ALTER ROLE {database.name}_reader CONNECTION LIMIT 1", as_admin=True)
    with pytest.raises(BackupError, match="too many connections"):
        back_up(database.reader_url, store)
