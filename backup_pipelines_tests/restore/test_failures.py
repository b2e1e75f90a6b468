"""A restore that is stopped at any step leaves the database bit for bit as it was."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from backup_pipelines.errors import BackupError, Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines_tests.cuttable import cuttable
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import SOAK_SEED, MakeSite, Site

_SCHEMA = """
CREATE TABLE p (id serial PRIMARY KEY, code text UNIQUE, up int REFERENCES p);
CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    p int REFERENCES p ON DELETE CASCADE) ;
CREATE TABLE m (n int);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER always AFTER INSERT OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE p ENABLE ALWAYS TRIGGER always;
CREATE RULE quiet AS ON DELETE TO m DO INSTEAD NOTHING;
ALTER TABLE m ENABLE ROW LEVEL SECURITY; ALTER TABLE m FORCE ROW LEVEL SECURITY;
CREATE POLICY everyone ON m USING (true);
INSERT INTO p (code, up) SELECT 'c' || g, nullif(g / 2, 0) FROM generate_series(1, 60) g;
INSERT INTO c (p) SELECT 1 + g % 60 FROM generate_series(1, 200) g;
INSERT INTO m SELECT g % 5 FROM generate_series(1, 50) g;
"""

_DAMAGE = (
    "DELETE FROM p WHERE id IN (20, 41, 40)",
    "UPDATE p SET code = 'c' || (120 - id) WHERE id > 41",
    "INSERT INTO p (code) VALUES ('new')",
    "INSERT INTO m VALUES (1), (2)",
)

_RUN = """
import sys
from datetime import UTC, datetime
from backup_pipelines import catalog
from backup_pipelines.restore import LiveRestore, restore
from backup_pipelines.storage.store import Store
url, store_url, backup_id = sys.argv[1:]
store = Store(store_url)
entry = next(e for e in catalog.backups(store, "sample") if e.id == backup_id)
print("ready", flush=True)
restore(LiveRestore(entry), url, store, safety=None, report=lambda m: print(m, flush=True))
print("done", flush=True)
"""


class _Stop(Exception):
    pass


def _stop(site: Site) -> None:
    raise _Stop


def _terminate(site: Site) -> None:
    """End the restore's server process and wait until it is gone."""
    found = (
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'backup_pipelines'"
    )
    while site.rows(found):
        time.sleep(0.005)


def _nothing_of_ours_is_left(site: Site) -> None:
    assert site.rows("SELECT relname FROM pg_class WHERE relname LIKE 'backup\\_%'") == []
    assert site.rows("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []


@pytest.mark.parametrize("stop", [_stop, _terminate])
def test_a_stop_at_any_step_changes_nothing(
    any_server: Server, make_site: MakeSite, stop: Callable[[Site], None]
) -> None:
    """An error of ours or the end of the session after each step leaves everything as before."""
    site = make_site(any_server, _SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(*_DAMAGE)
    before = site.image()
    steps: list[str] = []
    for wanted in range(100):
        steps.clear()

        def report(message: str, wanted: int = wanted) -> None:
            if steps or message == "locking the tables":
                steps.append(message)
                if len(steps) == wanted + 1:
                    stop(site)

        try:
            site.restore(entry, report=report)
        except (_Stop, BackupError):
            assert site.image() == before, steps[-1]
            _nothing_of_ours_is_left(site)
            continue
        break
    assert site.image() == whole
    assert len(steps) == wanted >= 12
    _nothing_of_ours_is_left(site)


def test_a_lost_connection_at_the_commit_is_not_called_rolled_back(
    any_server: Server, make_site: MakeSite
) -> None:
    """Whoever loses the connection while committing is told to look which of the two it was."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(*_DAMAGE)
    with pytest.raises(Failed, match="either done or not begun: make a plan to see"):
        site.restore(entry, report=lambda m: _terminate(site) if m == "committing" else None)


def _kill_at(site: Site, entry: Manifest, seconds: float) -> str:
    """Run a restore in a process of its own and kill it after so many seconds of work."""
    command = [sys.executable, "-c", _RUN, site.database.owner_url, site.store.url, entry.id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    _wait_until_gone(site)
    return output.splitlines()[-1] if output else "ready"


def _wait_until_gone(site: Site) -> None:
    """The server notices the end of a client's connection a moment later."""
    while site.rows(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'backup_pipelines'"
    ):
        time.sleep(0.005)


def _kill_campaign(site: Site, moments: int, seed: int) -> None:
    chance = random.Random(seed)
    entry, whole = site.back_up(), site.image()
    site.run(*_DAMAGE)
    before = site.image()
    longest = 1.0
    for _ in range(moments):
        step = _kill_at(site, entry, chance.uniform(0, longest))
        now = site.image()
        assert now in (before, whole), f"between, after {step!r}, seed {seed}"
        _nothing_of_ours_is_left(site)
        if now == whole:
            site.run(*_DAMAGE)
            before = site.image()
    site.restore(entry)
    assert site.image() == whole


def test_a_killed_process_leaves_before_or_after(any_server: Server, make_site: MakeSite) -> None:
    """kill -9 at a random moment: the database is as before or as after, never between."""
    _kill_campaign(make_site(any_server, _SCHEMA), 3, seed=7)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_killed_processes(any_server: Server, make_site: MakeSite) -> None:
    """The same at a hundred moments."""
    _kill_campaign(make_site(any_server, _SCHEMA), 50, seed=SOAK_SEED)


def _cut_campaign(site: Site, moments: int, seed: int) -> None:
    chance = random.Random(seed)
    entry, whole = site.back_up(), site.image()
    site.run(*_DAMAGE)
    before = site.image()
    longest = 1.0
    for _ in range(moments):
        with (
            tempfile.TemporaryDirectory(prefix="bp-cut-") as folder,
            cuttable(site.database.owner_url, Path(folder)) as network,
        ):
            timer = threading.Timer(chance.uniform(0, longest), network.cut)
            timer.start()
            started = time.monotonic()
            with contextlib.suppress(Failed):
                site.restore(entry, url=network.url)
            longest = min(longest, 1.2 * (time.monotonic() - started) + 0.05)
            timer.cancel()
        _wait_until_gone(site)
        now = site.image()
        assert now in (before, whole), f"between, seed {seed}"
        _nothing_of_ours_is_left(site)
        if now == whole:
            site.run(*_DAMAGE)
            before = site.image()
            longest = 1.0
    site.restore(entry)
    assert site.image() == whole


def test_a_cut_network_leaves_before_or_after(any_server: Server, make_site: MakeSite) -> None:
    """A connection cut at a random moment: the database is as before or as after."""
    _cut_campaign(make_site(any_server, _SCHEMA), 4, seed=11)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_cut_networks(any_server: Server, make_site: MakeSite) -> None:
    """The same at a hundred moments."""
    _cut_campaign(make_site(any_server, _SCHEMA), 50, seed=SOAK_SEED)


def test_what_a_killed_session_held_is_free_for_the_next(
    any_server: Server, make_site: MakeSite
) -> None:
    """After a session's end the next restore takes the same locks and finishes the work."""
    site = make_site(any_server, _SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(*_DAMAGE)
    with pytest.raises(Failed):
        site.restore(entry, report=lambda m: _terminate(site) if m.startswith("writing") else None)
    with psycopg.connect(site.database.owner_url) as connection:
        connection.execute("SET lock_timeout = '1s'")
        connection.execute("LOCK TABLE p, c, m")
    site.restore(entry)
    assert site.image() == whole
