"""Restores while the application works: it waits or is named, it never meets a deadlock."""

import random
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from backup_pipelines.errors import Failed
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite, Site

_SCHEMA = """
CREATE TABLE a (id bigserial PRIMARY KEY, n int);
CREATE TABLE b (id bigserial PRIMARY KEY, a bigint REFERENCES a ON DELETE CASCADE, n int);
INSERT INTO a (n) SELECT g FROM generate_series(1, 200) g;
INSERT INTO b (a, n) SELECT 1 + g % 200, g FROM generate_series(1, 400) g;
"""


def _insert_both(connection: psycopg.Connection) -> None:
    [key] = connection.execute("INSERT INTO a (n) VALUES (-1) RETURNING id").fetchone() or [0]
    connection.execute("INSERT INTO b (a, n) VALUES (%s, -1)", [key])


def _other_order(connection: psycopg.Connection) -> None:
    connection.execute("UPDATE b SET n = n + 1 WHERE id = %s", [random.randrange(1, 400)])
    connection.execute("UPDATE a SET n = n + 1 WHERE id = %s", [random.randrange(1, 200)])


def _number_first(connection: psycopg.Connection) -> None:
    [key] = connection.execute("SELECT nextval('a_id_seq') + 1000000").fetchone() or [0]
    connection.execute("INSERT INTO a VALUES (%s, -2)", [key])


def _read_then_write(connection: psycopg.Connection) -> None:
    connection.execute("SELECT count(*) FROM a").fetchone()
    connection.execute("UPDATE b SET n = n + 1 WHERE id = %s", [random.randrange(1, 400)])


class _Application:
    """Sessions that write as fast as they can until told to stop; what went wrong is kept."""

    def __init__(self, url: str, work: list[Callable[[psycopg.Connection], None]]) -> None:
        self._url = url
        self._stop = threading.Event()
        self.errors: list[str] = []
        self.done = 0
        self._threads = [threading.Thread(target=self._run, args=[job]) for job in work]

    def __enter__(self) -> "_Application":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, job: Callable[[psycopg.Connection], None]) -> None:
        with psycopg.connect(self._url) as connection:
            while not self._stop.is_set():
                try:
                    with connection.transaction():
                        job(connection)
                    self.done += 1
                except psycopg.errors.ForeignKeyViolation:
                    pass
                except psycopg.Error as error:
                    self.errors.append(str(error))
                time.sleep(0.005)


def _restore_under(site: Site, work: list[Callable[[psycopg.Connection], None]]) -> _Application:
    entry = site.back_up()
    expected = site.digests()
    with _Application(site.database.owner_url, work) as application:
        time.sleep(0.3)
        done = site.restore(entry, with_safety=True)
        time.sleep(0.2)
    assert done.safety is not None
    assert application.errors == []
    assert application.done > 0
    # What was written after the commit goes when the same backup is restored in silence.
    site.restore(entry)
    assert site.digests() == expected
    return application


def test_writers_wait_and_meet_no_deadlock(any_server: Server, make_site: MakeSite) -> None:
    """Writers in opposite orders, and with numbers drawn first, only wait; the result is exact."""
    site = make_site(any_server, _SCHEMA)
    _restore_under(site, [_insert_both, _other_order, _number_first])


def test_readers_that_write_meet_no_deadlock(any_server: Server, make_site: MakeSite) -> None:
    """Sessions that read first and write later are never a deadlock's victim."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    with _Application(site.database.owner_url, [_read_then_write, _other_order]) as application:
        time.sleep(0.2)
        try:
            site.restore(entry, with_safety=True)
        except Failed as error:
            assert "stop its writes and start again" in str(error)
    assert application.errors == []


def test_a_session_in_the_way_is_named(any_server: Server, make_site: MakeSite) -> None:
    """Where a lock is not to be had in time, the message names the session that has it."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run("DELETE FROM a WHERE id = 5")
    before = site.image()
    with psycopg.connect(site.database.owner_url, application_name="the till") as till:
        till.execute("SELECT count(*) FROM b")
        with pytest.raises(Failed, match=r"could not be locked within 1 s.*the till.*on .*b"):
            site.restore(entry, lock_seconds=1)
        assert till.execute("SELECT count(*) FROM a").fetchone() == (199,)
    assert site.image() == before


def test_the_safety_backup_is_current(any_server: Server, make_site: MakeSite) -> None:
    """A write between safety backup and locks makes the safety backup be taken again."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    taken: list[str] = []

    def report(message: str) -> None:
        taken.append(message)
        if message == "locking the tables" and taken.count("taking the safety backup") == 1:
            site.run("INSERT INTO a (n) VALUES (-77)")

    done = site.restore(entry, report=report, with_safety=True)
    assert taken.count("taking the safety backup") == 2
    assert done.plan.rows == 1
    site.undo()
    assert site.rows("SELECT count(*) FROM a WHERE n = -77") == [(1,)]
