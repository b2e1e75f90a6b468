"""A hot standby as the source: what works there, what is refused, and what is said of its end."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.plan import plan_restore
from backup_pipelines.postgres import snapshot
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import compare
from backup_pipelines.postgres.standby import to_read_before_writing
from backup_pipelines.preflighting import database as database_checks
from backup_pipelines.preflighting.database import Seen
from backup_pipelines.preflighting.restores import role
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.fix_standby import Replicated

ROWS = 3000

SCHEMA = f"""
CREATE TABLE parent (id bigserial PRIMARY KEY, what text, day date);
CREATE TABLE child (id int PRIMARY KEY, parent bigint REFERENCES parent) PARTITION BY RANGE (id);
CREATE TABLE child_low PARTITION OF child FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE child_high PARTITION OF child FOR VALUES FROM (100) TO (MAXVALUE);
INSERT INTO parent (what) SELECT repeat(md5(g::text), 10) FROM generate_series(1, {ROWS}) g;
UPDATE parent SET day = 'infinity' WHERE id = 7;
INSERT INTO child SELECT g, g FROM generate_series(1, 200) g;
"""


@pytest.fixture
def app(replicated: Replicated) -> Generator[str]:
    """A database of the primary that its standby has, too."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(replicated.primary(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        _run(replicated.primary(name), SCHEMA)
        replicated.caught_up()
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_backup_of_a_standby_is_the_same_as_one_of_its_primary(
    replicated: Replicated, app: str, store: Store, server: Server,
    make_database: Callable[[Server], Database],
) -> None:  # fmt: skip
    """Rows, digests and DDL; it restores elsewhere, and is equal there."""
    ours, theirs = (back_up(url, store) for url in (replicated.standby(app),
                                                    replicated.primary(app)))  # fmt: skip
    assert ours.records_count == ROWS + 200
    assert [(t.qualified, t.rows, t.digest) for t in ours.tables] == [
        (t.qualified, t.rows, t.digest) for t in theirs.tables
    ]
    assert [section.sha256 for section in ours.ddl] == [section.sha256 for section in theirs.ddl]
    assert ours.warnings == theirs.warnings == ()
    into = make_database(server)
    restore_into_empty(store, ours, into.admin_url, report=ignore)
    with connected(into.admin_url) as connection:
        assert compare(connection, ours.tables) == []


def test_a_sequence_of_a_standby_is_past_every_row(
    replicated: Replicated, app: str, store: Store
) -> None:
    """It is up to 32 ahead: so much the primary has written to its log at once."""
    sequence = back_up(replicated.standby(app), store).sequences[0]
    assert ROWS <= sequence.last_value <= ROWS + 32


def test_what_a_standby_cannot_read_is_refused_by_name(
    replicated: Replicated, app: str, store: Store
) -> None:
    """Before anything is written; and excluded with its reason it is in nobody's way."""
    _run(
        replicated.primary(app),
        "CREATE UNLOGGED TABLE cache (id serial, what text)",
        "CREATE UNLOGGED SEQUENCE tickets",
    )
    replicated.caught_up()
    with pytest.raises(Refused, match=r"public\.cache is unlogged, and no standby") as caught:
        back_up(replicated.standby(app), store)
    assert "public.tickets is unlogged" in str(caught.value)
    assert not list(store.objects("sample/"))
    _run(replicated.primary(app), "DROP SEQUENCE tickets")
    replicated.caught_up()
    without = whole_system(excluded=["cache"])
    sealed = back_up(replicated.standby(app), store, without)
    assert [sequence.name for sequence in sealed.sequences] == ["parent_id_seq"]
    assert "public.cache" not in {table.qualified for table in sealed.tables}
    everything = back_up(replicated.primary(app), store)
    assert "public.cache" in {table.qualified for table in everything.tables}


@contextmanager
def _later(work: Callable[[], None], seconds: float) -> Generator[None]:
    timer = threading.Timer(seconds, work)
    timer.start()
    try:
        yield
    finally:
        timer.join()


_CONFLICTS = {
    "vacuum": ("DELETE FROM parent WHERE id > 2500", "VACUUM parent"),
    "lock": ("ALTER TABLE parent ADD COLUMN note text",),
    "truncate": ("TRUNCATE parent, child",),
}


@pytest.mark.parametrize("kind", _CONFLICTS)
def test_a_backup_that_the_standby_ends_says_why_and_what_to_do(
    replicated: Replicated, app: str, store: Store, kind: str
) -> None:
    """In one sentence, whichever of its sessions it was."""

    def conflict() -> None:
        _run(replicated.primary(app), *_CONFLICTS[kind])

    with (
        replicated.setting(max_standby_streaming_delay="100ms"),
        _later(conflict, 1.0),
        pytest.raises(Failed) as caught,
    ):
        back_up(replicated.standby(app), store, throttle=0.2)
    said = str(caught.value)
    assert said.startswith("the standby ended the backup")
    assert "set hot_standby_feedback = on" in said
    assert "\n" not in said
    assert not list(store.objects("sample/"))
    replicated.caught_up()
    assert back_up(replicated.standby(app), store).tables


def test_what_the_advice_says_helps(replicated: Replicated, app: str, store: Store) -> None:
    """With the delay the replay waits, and the backup has the rows of its moment."""

    def conflict() -> None:
        _run(replicated.primary(app), *_CONFLICTS["vacuum"], *_CONFLICTS["lock"])

    with replicated.setting(max_standby_streaming_delay="-1"), _later(conflict, 0.5):
        sealed = back_up(replicated.standby(app), store, throttle=0.5)
    assert sealed.records_count == ROWS + 200
    replicated.caught_up()
    assert back_up(replicated.standby(app), store).records_count == ROWS + 200 - 500


@pytest.mark.parametrize("how", ["paused", "cut off", "stopped"])
def test_a_standby_that_lags_makes_no_backup_look_newer_than_its_rows(
    replicated: Replicated, app: str, store: Store, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment of the backup is the last commit that it has, and a warning says so."""
    monkeypatch.setattr(snapshot, "_NOTABLY_BEHIND", snapshot.timedelta(0))
    with _behind(replicated, how):
        before, after = _inserted(replicated, app)
        time.sleep(0.3)
        sealed = back_up(replicated.standby(app), store)
    assert sealed.records_count == ROWS + 200
    assert sealed.snapshot_at < after
    assert "has replayed its primary up to" in sealed.warnings[0]
    monkeypatch.undo()
    replicated.caught_up()
    now = back_up(replicated.standby(app), store)
    assert (now.records_count, now.warnings) == (ROWS + 201, ())
    assert now.snapshot_at > before


def test_a_role_that_may_not_see_the_receiver_is_told_so(
    replicated: Replicated, app: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backups are dated by the last commit that was replayed, and named is what it lacks."""
    role, grant = f"{app}_reader", f'GRANT pg_read_all_stats TO "{app}_reader";'
    primary, url = replicated.primary(app), replicated.standby(app, role)
    _run(primary, f"CREATE ROLE {role} LOGIN", f"GRANT pg_read_all_data TO {role}")
    try:
        before, _ = _inserted(replicated, app)
        replicated.caught_up()
        with monkeypatch.context() as patch:
            patch.setattr(snapshot, "_NOTABLY_BEHIND", snapshot.timedelta(0))
            sealed = back_up(url, store)
        assert sealed.snapshot_at > before
        assert sealed.warnings[0].endswith(f"may not see: run {grant} on the primary")
        line = _looked_at(replicated, app, role)[0]["replay"]
        assert (line.status, line.advice) == ("warning", f"On the primary: {grant}")
        _run(primary, grant)
        replicated.caught_up()
        assert _looked_at(replicated, app, role)[0]["replay"].status == "ok"
    finally:
        _run(primary, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@contextmanager
def _behind(replicated: Replicated, how: str) -> Generator[None]:
    """The standby hears of changes and does not replay them, or hears of none."""
    if how == "stopped":
        # As a slow link is: all that was received is replayed.
        with psycopg.connect(replicated.standby(), autocommit=True) as admin:
            row = admin.execute("SELECT pid FROM pg_stat_wal_receiver").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(row[0], signal.SIGCONT)
        return
    if how == "cut off":
        with replicated.setting(primary_conninfo=""):
            _until(replicated, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
            yield
        return
    with psycopg.connect(replicated.standby(), autocommit=True) as admin:
        admin.execute("SELECT pg_wal_replay_pause()")
        try:
            _until(replicated, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
            yield
        finally:
            admin.execute("SELECT pg_wal_replay_resume()")


def _until(replicated: Replicated, condition: str) -> None:
    deadline = time.monotonic() + 20
    with psycopg.connect(replicated.standby(), autocommit=True) as admin:
        while admin.execute(condition.encode()).fetchone() != (True,):
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)


def _inserted(replicated: Replicated, app: str) -> tuple[Any, Any]:
    """Between which moments a row more was committed on the primary."""
    with psycopg.connect(replicated.primary(app), autocommit=True) as primary:
        before = primary.execute("SELECT clock_timestamp()").fetchone()
        primary.execute("INSERT INTO parent (what) VALUES ('late')")
        after = primary.execute("SELECT clock_timestamp()").fetchone()
        assert before is not None
        assert after is not None
        return before[0], after[0]


def test_nothing_is_restored_or_planned_on_a_standby(
    replicated: Replicated, app: str, store: Store
) -> None:
    """The sentence says which key of the YAML names the primary."""
    sealed = back_up(replicated.standby(app), store)
    url = replicated.standby(app)
    for work in (
        lambda: plan_restore(store, sealed, url, selection=Selection(), mode="replace",
                             report=ignore),
        lambda: restore_into_empty(store, sealed, url, report=ignore),
    ):  # fmt: skip
        with pytest.raises(Refused, match="set restore_url_env"):
            work()


def test_what_a_restore_is_about_to_change_is_read_from_the_primary(
    replicated: Replicated, app: str
) -> None:
    """A standby may lack what the application wrote last, and a safety backup must not."""
    primary, standby = replicated.primary(app), replicated.standby(app)
    warned: list[str] = []

    def chosen(source: str, target: str) -> str:
        return to_read_before_writing(source, target, "sample", warn=warned.append)

    assert chosen(standby, primary) == primary
    assert chosen(primary, f"{primary}&user=owner") == primary
    assert chosen("postgresql://nobody@/none", "postgresql://nobody@/none")
    assert warned == []
    assert chosen(f"postgresql://nobody@127.0.0.1:{free_port()}/sample", primary) == primary
    assert warned[0].startswith("cannot connect to the database of sample")
    assert warned[0].endswith("the safety backup is read from where the restore writes")


def test_preflight_says_what_is_different_on_a_standby(replicated: Replicated, app: str) -> None:
    """How long its replay waits, whether it follows, and that nothing can be restored there."""
    _run(replicated.primary(app), "CREATE UNLOGGED TABLE cache (id int)")
    replicated.caught_up()
    lines, seen = _looked_at(replicated, app)
    assert lines["standby"].status == "warning"
    assert "its replay waits 30s at most" in lines["standby"].found
    assert "hot_standby_feedback is off" in lines["standby"].found
    assert lines["standby"].advice.startswith("Set max_standby_streaming_delay and max_standby_arc")
    assert lines["replay"].status == "ok"
    assert lines["tables"].status == "wrong"
    assert "public.cache is unlogged" in lines["tables"].found
    _run(replicated.primary(app), "DROP TABLE cache")
    replicated.caught_up()
    with replicated.setting(max_standby_streaming_delay="-1", hot_standby_feedback="on"):
        lines, seen = _looked_at(replicated, app)
        assert lines["standby"].status == "warning"
        assert "waits for ever for a backup" in lines["standby"].found
        assert "30s at most where its log comes from the archive" in lines["standby"].found
        with replicated.setting(max_standby_archive_delay="-1"):
            lines, seen = _looked_at(replicated, app)
    assert {line.status for line in lines.values()} == {"ok"}
    assert "hot_standby_feedback is on: its primary keeps dead rows" in lines["standby"].found
    with replicated.setting(max_standby_streaming_delay="-1", max_standby_archive_delay="-1"):
        lines, seen = _looked_at(replicated, app)
    assert lines["standby"].status == "ok"
    assert "feedback is off: its rows may grow old" in lines["standby"].found
    (line,) = role(whole_system(), replicated.standby(app), seen.server, seen.chosen)
    assert (line.status, line.found) == (
        "warning",
        "SAMPLE_DATABASE_URL leads to a standby, which takes no writes",
    )


def _looked_at(
    replicated: Replicated, app: str, user: str = "postgres"
) -> tuple[dict[str, Any], Seen]:
    seen = Seen()
    _until(replicated, "SELECT true")
    found = database_checks.look(whole_system(), replicated.standby(app, user), seen)
    return {line.check: line for line in found}, seen
