"""kill -9 at any moment of a backup, and two backups at once.

As a program it is the backup that gets killed: `python -m backup_pipelines_tests.test_kills`.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from backup_pipelines import catalog
from backup_pipelines.backup import take_backup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Busy
from backup_pipelines.exporting import export
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import adbc
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server

_SEED = 20260115

_SCHEMA = """
CREATE TABLE parents (id serial PRIMARY KEY, note text);
CREATE TABLE children (id serial PRIMARY KEY, parent_id int REFERENCES parents, note text);
INSERT INTO parents (note) SELECT repeat(md5(g::text), 5) FROM generate_series(1, 8000) g;
INSERT INTO children (parent_id, note)
    SELECT 1 + g % 8000, md5(g::text) FROM generate_series(1, 15000) g;
CREATE MATERIALIZED VIEW counts AS SELECT parent_id, count(*) FROM children GROUP BY 1;
"""


def main(url: str, store_url: str) -> None:
    """Take a backup of many small objects; says when it starts and when it has sealed."""
    export._PIECE_BYTES = 100_000
    adbc._BATCH_BYTES = 50_000
    print("started", flush=True)
    for item in take_backup(request_for(), url, Store(store_url)):
        if isinstance(item, Manifest):
            print("sealed", flush=True)
    time.sleep(0.2)


class Victim:
    """The backup as a process of its own."""

    def __init__(self, url: str, store: Store) -> None:
        command = [sys.executable, "-m", "backup_pipelines_tests.test_kills", url, store.url]
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        assert self._lines.readline() == "started\n"

    def seconds_to_seal(self) -> float:
        """Let it finish; returns how long it took."""
        started = time.monotonic()
        assert self._lines.readline() == "sealed\n"
        seconds = time.monotonic() - started
        assert self._process.wait() == 0
        self._lines.close()
        return seconds

    def kill(self) -> None:
        """End it as the kernel would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._lines.close()


@pytest.fixture
def database(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """Two tables with a foreign key, and a materialized view."""
    made = make_database(server)
    made.run(_SCHEMA)
    return made


@pytest.mark.parametrize(
    "kills", [pytest.param(5, id="5"), pytest.param(50, id="50", marks=pytest.mark.soak)]
)
def test_kill_at_random_moments(
    server: EmbeddedServer, database: Database, store: Store, tmp_path: Path, kills: int
) -> None:
    """After every kill the catalog has whole backups only; the next one removes what was left."""
    chance = random.Random(_SEED)
    whole = Victim(database.reader_url, store).seconds_to_seal()
    leftovers = 0
    for _ in range(kills):
        victim = Victim(database.reader_url, store)
        time.sleep(chance.uniform(0, whole * 1.1))
        victim.kill()
        listed = catalog.backups(store, "sample")
        for entry in listed:
            verify(store, entry, report=ignore)
        leftovers += len(catalog.ids(store, "sample")) - len(listed)
        wait_until_gone(database)
    assert leftovers, "no kill hit a backup: the moments are badly chosen"
    last = back_up(database.reader_url, store)
    listed = catalog.backups(store, "sample")
    assert {entry.id for entry in listed} == set(catalog.ids(store, "sample"))
    assert last.id in {entry.id for entry in listed}
    assert unnamed(store, tmp_path, listed) == []
    for entry in listed:
        assert run_drill(store, entry, server.url(), report=ignore).rows == 23_000


def test_leftovers_that_no_listing_shows(database: Database, store: Store, tmp_path: Path) -> None:
    """The staging files of a killed writer go with its folder, other things stay."""
    folder = tmp_path / "store" / "sample" / "backups"
    for name in ("20260101T000000Z-manual-aaaaaa", "20260102T000000Z-manual-bbbbbb"):
        (folder / name / "data" / "public.t").mkdir(parents=True)
        (folder / name / "data" / "public.t" / "part-00000.parquet#1").write_bytes(b"half")
    (folder / "20260101T000000Z-manual-aaaaaa" / "started.json").write_bytes(b"{}")
    (folder / "20260102T000000Z-manual-bbbbbb" / "manifest.json#1").write_bytes(b"{")
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_bytes(b"a person's")
    assert catalog.backups(store, "sample") == []
    sealed = back_up(database.reader_url, store)
    assert sorted(path.name for path in folder.iterdir()) == sorted([sealed.id, "notes"])


def test_two_at_once(database: Database, store: Store) -> None:
    """A second backup of the system is refused naming the first's session, and works after it."""
    first = take_backup(request_for(), database.reader_url, store)
    next(first)
    with psycopg.connect(database.admin_url) as connection:
        (pid,) = connection.execute(
            "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchall()[0]
    ours = r"\(backup_pipelines backup sample\)"
    with pytest.raises(Busy, match=rf"process {pid} {ours} since .* holds its lock"):
        back_up(database.reader_url, store)
    other = back_up(database.reader_url, store, whole_system("other"))
    *_, sealed = first
    assert isinstance(sealed, Manifest)
    verify(store, sealed, report=ignore)
    back_up(database.reader_url, store)
    assert len(catalog.backups(store, "sample")) == 2
    assert [entry.id for entry in catalog.backups(store, "other")] == [other.id]


def test_of_many_at_once_one_wins(database: Database, store: Store) -> None:
    """However many start in the same moment, one takes the lock, and its backup is whole."""
    gate, ended = threading.Barrier(4), list[str]()

    def run() -> None:
        gate.wait()
        try:
            ended.append(back_up(database.reader_url, store).id)
        except Busy:
            ended.append("busy")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = [found for found in ended if found != "busy"]
    assert sealed
    assert sorted(entry.id for entry in catalog.backups(store, "sample")) == sorted(sealed)


def wait_until_gone(database: Database) -> None:
    """Wait until no session of ours, pg_dump's included, is on the database."""
    deadline = time.monotonic() + 20
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        while connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'backup_pipelines%'"
        ).rowcount:
            assert time.monotonic() < deadline, "a session of a killed backup is still there"
            time.sleep(0.02)


def unnamed(store: Store, folder: Path, listed: list[Manifest]) -> list[str]:
    """Files of the store that no manifest names."""
    named = {found.key for found in store.objects("sample/drills/")}
    for entry in listed:
        named |= {part.key for table in entry.tables for part in table.parts}
        named |= {one.key for one in (*entry.ddl, *entry.documents)}
        named |= {f"sample/backups/{entry.id}/{name}.json" for name in ("manifest", "started")}
    root = folder / "store"
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return sorted(files - named)


if __name__ == "__main__":
    main(*sys.argv[1:])
