"""Ways to interrupt a restore at a moment, and the campaign that does it at many random ones."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from backup_pipelines.errors import BackupError, Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.cuttable import cuttable
from backup_pipelines_tests.fix_restore import Site

SCHEMA = """
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

DAMAGE = (
    "DELETE FROM p WHERE id IN (20, 41, 40)",
    "UPDATE p SET code = 'c' || (120 - id) WHERE id > 41",
    "INSERT INTO p (code) VALUES ('new')",
    "INSERT INTO m VALUES (1), (2)",
)

_SESSIONS = (
    " FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'backup_pipelines%'"
)

_RUN = """
import sys
from backup_pipelines import catalog
from backup_pipelines.restore import LiveRestore, restore
from backup_pipelines.storage.store import Store
url, store_url, backup_id = sys.argv[1:]
store = Store(store_url)
entry = next(e for e in catalog.backups(store, "sample") if e.id == backup_id)
print("ready", flush=True)
restore(LiveRestore(entry), url, store, safety=None, report=lambda m: print(m, flush=True))
"""

# Long after any of these restores has ended.
_NEVER = 60.0
_RECOVERY_SECONDS = 60


@dataclass(frozen=True)
class Attempt:
    """A restore that was, or was to be, interrupted: how long it ran, and its last words."""

    seconds: float
    said: str


Interrupt = Callable[[Site, Manifest, float], Attempt]
"""Runs a restore and interrupts it after so many seconds, if it still runs then."""


def campaign(site: Site, interrupt: Interrupt, moments: int, seed: int) -> Counter[str]:
    """Interrupt at random moments; counts the databases that were as `before` and as `after`."""
    chance = random.Random(seed)
    entry, whole = site.back_up(), site.image()
    # The first restore of a process takes longer than those that follow.
    for _ in range(2):
        _damage(site)
        undisturbed = interrupt(site, entry, _NEVER).seconds
        assert site.image() == whole
    counts: Counter[str] = Counter()
    before = whole
    for moment in _moments(chance, moments, undisturbed):
        if before == whole:
            _damage(site)
            before = site.image()
        attempt = interrupt(site, entry, moment)
        wait_until_gone(site)
        now = site.image()
        assert now in (before, whole), f"between, after {attempt.said!r}, seed {seed}"
        if "rolled back" in attempt.said:
            assert now == before, f"told {attempt.said!r}, but it is done, seed {seed}"
        nothing_of_ours_is_left(site)
        counts["before" if now == before else "after"] += 1
        before = now
    site.restore(entry)
    assert site.image() == whole
    return counts


def _moments(chance: random.Random, count: int, undisturbed: float) -> list[float]:
    """Random seconds within an undisturbed restore and a little after it, one in each stretch."""
    stretch = 1.2 * undisturbed / count
    found = [(number + chance.random()) * stretch for number in range(count)]
    chance.shuffle(found)
    return found


def _damage(site: Site) -> None:
    site.run(*DAMAGE)
    # With wal_level minimal a crash takes back values of a sequence that was made and used in one
    # transaction: not every nextval since is in the log.
    site.run_as_admin("CHECKPOINT")


class Stopped(Exception):
    """What a step raises that is to be the last."""


def stop(site: Site) -> None:
    """Fail as a mistake of ours would."""
    del site
    raise Stopped


def stop_after_each_step(
    site: Site, entry: Manifest, selection: Selection, stop: Callable[[Site], None]
) -> None:
    """Stop a restore after its first step under locks, then after its second, until it is done.

    After each the database is as it was before, and nothing of ours is left.
    """
    before = site.image()
    steps: list[str] = []
    wanted = 0
    for wanted in range(100):
        steps.clear()

        def report(message: str, wanted: int = wanted) -> None:
            if steps or message == "locking the tables":
                steps.append(message)
                if len(steps) == wanted + 1:
                    stop(site)

        try:
            site.restore(entry, selection, report=report)
        except (Stopped, BackupError):
            assert site.image() == before, steps[-1]
            nothing_of_ours_is_left(site)
            continue
        break
    assert len(steps) == wanted >= 12
    nothing_of_ours_is_left(site)


def nothing_of_ours_is_left(site: Site) -> None:
    """No staging and no lock; triggers and constraints are compared with the image."""
    assert site.rows("SELECT relname FROM pg_class WHERE relname LIKE 'backup\\_%'") == []
    assert site.rows("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []


def wait_until_gone(site: Site) -> None:
    """The server notices the end of a client's connection a moment later."""
    while site.rows(f"SELECT{_SESSIONS}"):
        time.sleep(0.005)


def terminate(site: Site) -> None:
    """End the restore's sessions on the server."""
    site.rows(f"SELECT pg_terminate_backend(pid){_SESSIONS}")


def killed_process(site: Site, entry: Manifest, seconds: float) -> Attempt:
    """Restore in a process of its own, and kill that."""
    command = [sys.executable, "-c", _RUN, site.database.owner_url, site.store.url, entry.id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    took = time.monotonic() - started
    process.kill()
    output, _ = process.communicate()
    return Attempt(took, output.splitlines()[-1] if output else "ready")


def cut_network(site: Site, entry: Manifest, seconds: float) -> Attempt:
    """Cut the connection between the restore and the server."""
    with (
        tempfile.TemporaryDirectory(prefix="bp-cut-") as folder,
        cuttable(site.database.owner_url, Path(folder)) as network,
        _later(seconds, network.cut),
    ):
        return _restored(site, entry, url=network.url)


def terminated_sessions(site: Site, entry: Manifest, seconds: float) -> Attempt:
    """End the sessions of the restore and of its safety backup with pg_terminate_backend."""
    with _later(seconds, lambda: terminate(site)):
        return _restored(site, entry, with_safety=True)


def crashed_server(site: Site, entry: Manifest, seconds: float) -> Attempt:
    """Kill the server process of the restore's session, which crashes the whole server."""
    killed: list[int] = []

    def kill() -> None:
        for [pid] in site.rows(f"SELECT pid{_SESSIONS}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    with _later(seconds, kill):
        attempt = _restored(site, entry)
    _wait_for_recovery(site, killed)
    return attempt


def _wait_for_recovery(site: Site, killed: Sequence[int]) -> None:
    # The server knows of its crash once it has reaped the process; until then it takes sessions.
    while any(map(psutil.pid_exists, killed)):
        time.sleep(0.005)
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while True:
        try:
            site.rows("SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the server does not come back"
            time.sleep(0.02)
        else:
            return


def _restored(site: Site, entry: Manifest, *, url: str = "", with_safety: bool = False) -> Attempt:
    started, said = time.monotonic(), "done"
    try:
        site.restore(entry, url=url, with_safety=with_safety)
    except Failed as error:
        said = str(error)
    return Attempt(time.monotonic() - started, said)


@contextlib.contextmanager
def _later(seconds: float, act: Callable[[], None]) -> Generator[None]:
    """Do something in so many seconds, unless the block has ended by then."""
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
