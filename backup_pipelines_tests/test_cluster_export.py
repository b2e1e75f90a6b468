"""Backups on a Dask cluster of several processes: the same as by threads, whatever dies."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pyrage
import pytest

from backup_pipelines import catalog, cluster, layout
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.cluster import BACKUP_DASK_SCHEDULER
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.exporting import attempts, export, leftovers
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import adbc, reader
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.introspect import list_tables, with_columns
from backup_pipelines.postgres.remote_readers import RemoteReaders
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.store import Store
from backup_pipelines.storage.variables import Given
from backup_pipelines.system import System
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for, whole_system
from backup_pipelines_tests.fix_dask import VARIABLE, Dask, dask_cluster
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_recovery import assert_equal, folder_of

MakeDatabase = Callable[[Server], Database]

_SCHEMA = """
CREATE TABLE parents (id serial PRIMARY KEY, at timestamptz, amount numeric(12,2), note text);
CREATE TABLE children (id serial PRIMARY KEY, parent_id int REFERENCES parents, spare int[]);
CREATE TABLE "Odd ""name" (a text, "b c" jsonb);
CREATE TABLE nothing (id int);
CREATE TABLE halves (id int, half int) PARTITION BY LIST (half);
CREATE TABLE halves_1 PARTITION OF halves FOR VALUES IN (1);
CREATE TABLE halves_2 PARTITION OF halves FOR VALUES IN (2);
-- Its maps count to a table's size, by which pieces are cut.
ALTER TABLE parents SET (autovacuum_enabled = off);
ALTER TABLE children SET (autovacuum_enabled = off);
INSERT INTO parents (at, amount, note)
    SELECT '2026-01-15'::timestamptz + g * interval '1 minute', g / 3.0, repeat(md5(g::text), 5)
    FROM generate_series(1, 8000) g;
INSERT INTO parents (at, note) VALUES ('infinity', 'out of range');
INSERT INTO children (parent_id, spare)
    SELECT 1 + g % 8000, ARRAY[g] FROM generate_series(1, 9000) g;
INSERT INTO "Odd ""name" SELECT NULLIF(g % 7, 0)::text, to_jsonb(g) FROM generate_series(1, 99) g;
INSERT INTO halves SELECT g, 1 + g % 2 FROM generate_series(1, 500) g;
"""

# The backup that late attempts meet.
SCHEMA = "CREATE TABLE t (id int); INSERT INTO t VALUES (1)"

# Differs between two backups of the same rows, and on purpose.
_OF_ITSELF = {"id", "seconds", "started_at", "created_at", "snapshot_at", "key", "documents"}


def small_batches() -> None:
    """Make many batches of little data in a worker, so that a throttle can hold it."""
    adbc._BATCH_BYTES = 50_000


@pytest.fixture
def many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of this process's backups are cut into small pieces."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 200_000)


def anew(system: System | None = None) -> BackupRequest:
    """A request for everything of a system, with all parts written anew."""
    return request_for(system or whole_system(readers=4), full_copy=True)


def on_cluster(url: str, store: Store, request: BackupRequest | None = None) -> Manifest:
    """A backup by the cluster that the environment names."""
    asked = request or anew()
    with cluster.workers() as workers:
        assert workers is not None
        *_, sealed = take_backup(asked, url, store, executor=workers)
    assert isinstance(sealed, Manifest)
    return sealed


def told(entry: Manifest) -> Any:
    """All that a manifest says but for ids, times and keys."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if k not in _OF_ITSELF}
        return [without(one) for one in value] if isinstance(value, list) else value

    return without(entry.model_dump(mode="json"))


def named(entry: Manifest) -> set[str]:
    """The keys of a backup's parts."""
    return {part.key for table in entry.tables for part in table.parts}


def parts_there(store: Store, entry: Manifest) -> set[str]:
    """The parts in a backup's folder."""
    prefix = layout.backup_prefix(entry.system, entry.id) + "data/"
    return {item.key for item in store.objects(prefix)}


def sessions(url: str) -> int:
    """How many sessions of readers the server of a database has."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s"
            " AND datname = current_database() AND pid <> pg_backend_pid()",
            ["backup_pipelines backup 2%"],
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_the_same_as_by_threads(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    on_dask: Dask,
    many_pieces: None,
) -> None:
    """Manifests but for ids, times and keys, digests and rows are those of threads."""
    database = make_database(server)
    database.run(_SCHEMA)
    on_dask.set(**{VARIABLE: database.reader_url})
    sealed = on_cluster(database.reader_url, store)
    *_, by_threads = take_backup(anew(), database.reader_url, store)
    assert isinstance(by_threads, Manifest)
    assert told(sealed) == told(by_threads)
    [parents] = [table for table in sealed.tables if table.name == "parents"]
    # Read twice, since one time is none that Arrow has; and in several pieces.
    assert {c.name: c.encoding for c in parents.columns}["at"] == "text"
    assert len(parents.parts) > 3
    assert all(layout.attempt_of(key) for key in named(sealed))
    assert parts_there(store, sealed) == named(sealed)
    assert all(layout.is_content_key("sample", key) for key in named(sealed))
    verify(store, sealed, report=ignore)
    assert run_drill(store, sealed, server.url(), report=ignore).rows == by_threads.records_count
    assert sessions(database.admin_url) == 0
    target = make_database(server)
    script = folder_of(store) / layout.backup_prefix("sample", sealed.id) / "restore.py"
    subprocess.run(
        [sys.executable, str(script), "--database-url-env", "TARGET"],
        env={"PATH": os.environ["PATH"], "TARGET": target.owner_url},
        check=True,
        capture_output=True,
    )
    assert_equal(target.owner_url, sealed)


def test_encrypted_on_a_cluster(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    on_dask: Dask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers encrypt to the public keys; whoever has the identity reads the same rows."""
    database = make_database(server)
    database.run(_SCHEMA)
    on_dask.set(**{VARIABLE: database.reader_url})
    identity: Any = pyrage.x25519.Identity.generate()
    spec = EncryptionSpec(recipients=[str(identity.to_public())])
    system = whole_system().model_copy(update={"encryption": spec})
    sealed = on_cluster(database.reader_url, store, anew(system))
    assert all(layout.is_encrypted(key) for key in named(sealed))
    monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(identity))
    assert verify(store, sealed, report=ignore).opened
    assert run_drill(store, sealed, server.url(), report=ignore).rows == sealed.records_count


def slowly(mb: float = 0.5) -> BackupRequest:
    """A request whose tasks take some seconds, together no faster than so many MB/s."""
    return replace(anew(), throttle=mb)


def at_work(dask: Dask) -> dict[str, int]:
    """The workers that have a task now, with their process ids."""
    with dask.client() as client:
        pids = client.run(os.getpid)
        return {name: pids[name] for name, tasks in client.processing().items() if tasks}


class Background:
    """A backup on the cluster in a thread of this process, and what came of it."""

    def __init__(self, url: str, store: Store, request: BackupRequest) -> None:
        self.sealed: Manifest | None = None
        self.error: Exception | None = None
        self.request = request
        self._thread = threading.Thread(target=self._run, args=(url, store, request))
        self._thread.start()

    def _run(self, url: str, store: Store, request: BackupRequest) -> None:
        try:
            self.sealed = on_cluster(url, store, request)
        except Exception as error:
            self.error = error

    def wait(self) -> None:
        """Until it has ended."""
        self._thread.join(120)
        assert not self._thread.is_alive()


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def own_dask(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int, str], Dask]]:
    """Makes clusters that the test may kill."""
    del home
    with ExitStack() as stack:

        def make(count: int, url: str, **environment: str) -> Dask:
            variables = {VARIABLE: url, **environment}
            made = stack.enter_context(dask_cluster(tmp_path / "dask", count, variables))
            monkeypatch.setenv(BACKUP_DASK_SCHEDULER, made.address)
            made.tell(small_batches)
            return made

        yield make


def is_empty(store: Store) -> bool:
    """Whether a store has no object and no folder of a backup."""
    return not list(store.objects("")) and not catalog.ids(store, "sample")


def at_half(
    database: Database, store: Store, own_dask: Callable[[int, str], Dask]
) -> tuple[Dask, "Background"]:
    """A backup whose rows are being read by both workers of a cluster of the test's own."""
    database.run(_SCHEMA)
    dask = own_dask(2, database.reader_url)
    work = Background(database.reader_url, store, slowly())
    # Not only at the questions before it.
    until(lambda: sessions(database.admin_url) == 2)
    time.sleep(0.5)
    return dask, work


def test_a_killed_worker(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    own_dask: Callable[[int, str], Dask],
) -> None:
    """Dask gives its task to another worker, in the same snapshot; nothing of it is left."""
    database = make_database(server)
    dask, work = at_half(database, store, own_dask)
    victims = at_work(dask)
    database.run("INSERT INTO parents (note) SELECT 'later' FROM generate_series(1, 100)")
    os.kill(next(iter(victims.values())), signal.SIGKILL)
    work.wait()
    assert work.error is None and work.sealed is not None
    rows = {table.name: table.rows for table in work.sealed.tables}
    assert (rows["parents"], rows["children"]) == (8001, 9000)
    assert parts_there(store, work.sealed) == named(work.sealed)
    verify(store, work.sealed, report=ignore)
    assert run_drill(store, work.sealed, server.url(), report=ignore).rows == sum(rows.values())
    until(lambda: sessions(database.admin_url) == 0)


def test_a_killed_scheduler(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    own_dask: Callable[[int, str], Dask],
) -> None:
    """The backup fails with a sentence, and neither objects nor sessions are left."""
    database = make_database(server)
    dask, work = at_half(database, store, own_dask)
    dask.scheduler.kill()
    work.wait()
    assert isinstance(work.error, Failed)
    assert "see that it and its workers are up, and start again" in str(work.error)
    until(lambda: is_empty(store))
    until(lambda: sessions(database.admin_url) == 0)
    with pytest.raises(Refused, match="does not answer"):
        on_cluster(database.reader_url, store)
    # Without the variable, or with another cluster, the next one works.
    assert back_up(database.reader_url, store).records_count == 17_600


def test_all_workers_killed(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    own_dask: Callable[[int, str], Dask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cluster without workers is not waited for without end."""
    monkeypatch.setattr(cluster, "_LOST_SECONDS", 3.0)
    database = make_database(server)
    database.run(_SCHEMA)
    dask = own_dask(1, database.reader_url)
    work = Background(database.reader_url, store, slowly())
    until(lambda: sessions(database.admin_url) == 1)
    dask.workers[0].kill()
    work.wait()
    assert isinstance(work.error, Failed) and "has had no worker for 3 s" in str(work.error)
    assert is_empty(store)
    with pytest.raises(Refused, match="has no worker: start some"):
        on_cluster(database.reader_url, store)


def test_a_worker_that_was_cut_off(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    own_dask: Callable[..., Dask],
) -> None:
    """Stopped, replaced, and going on after the seal, it changes nothing of the sealed backup."""
    database = make_database(server)
    database.run(_SCHEMA)
    dask = own_dask(2, database.reader_url, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="2s")
    work = Background(database.reader_url, store, slowly())
    until(lambda: sessions(database.admin_url) == 2)
    time.sleep(0.5)
    stopped = psutil.Process(next(iter(at_work(dask).values())))
    stopped.suspend()
    work.wait()
    assert work.error is None and work.sealed is not None
    before = {o.key: o.modified_at for o in store.objects("")}
    assert parts_there(store, work.sealed) == named(work.sealed)
    stopped.resume()
    until(lambda: sessions(database.admin_url) == 0)
    time.sleep(2)
    assert {o.key: o.modified_at for o in store.objects("")} == before
    verify(store, work.sealed, report=ignore)


@pytest.fixture
def late(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store
) -> Iterator[Callable[[str], Any]]:
    """An attempt of one table that has ended late, after its backup; gives the task's function."""
    database = make_database(server)
    database.run("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    with psycopg.connect(database.reader_url) as leader:
        leader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = leader.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        with connected(database.reader_url) as catalogs:
            [table] = with_columns(catalogs, list_tables(catalogs, ["public"]))
        with closing(reader.Readers(database.reader_url, row[0])) as readers:

            def attempt(backup_id: str) -> Any:
                place = export.Destination(store, "sample", backup_id, on_cluster=True)
                return export._timed(readers, place, reader.Piece(table), 1)

            yield attempt


def test_an_attempt_after_the_seal(
    store: Store, sealed: Manifest, late: Callable[[str], Any]
) -> None:
    """What it has written goes again, and it fails; the sealed backup is as it was."""
    before = {o.key: o.size_bytes for o in store.objects("")}
    with pytest.raises(Failed, match="ended before this attempt"):
        late(sealed.id)
    assert {o.key: o.size_bytes for o in store.objects("")} == before


def test_an_attempt_after_the_failure(store: Store, late: Callable[[str], Any]) -> None:
    """Of a backup that was abandoned it leaves neither object nor folder."""
    backup_id = str(BackupId.new("manual", datetime.now(UTC)))
    with pytest.raises(Failed, match="ended before this attempt"):
        late(backup_id)
    assert is_empty(store)


def test_an_attempt_in_time(store: Store, late: Callable[[str], Any]) -> None:
    """Two attempts of one piece in progress have parts of their own, the same but for names."""
    backup_id = str(BackupId.new("manual", datetime.now(UTC)))
    leftovers.mark_started(store, "sample", backup_id, "test")
    [one], [other] = late(backup_id).parts, late(backup_id).parts
    assert one.key != other.key and (one.digest, one.rows) == (other.digest, other.rows)
    assert store.exists(one.key) and store.exists(other.key)


def test_what_killed_attempts_left_in_sealed_backups(
    store: Store, sealed: Manifest, tmp_path: Path
) -> None:
    """The next backup removes it, of the last days, and nothing that a backup names."""
    [part] = sealed.tables[0].parts
    stray = layout.part_key("sample", sealed.id, "public", "t", 0, attempt="0a1b2c3d")
    other = layout.part_key("sample", sealed.id, "public", "t", 7)
    for key in (stray, other):
        store.put_new(key, store.get(part.key))
    staged = tmp_path / "store" / f"{stray}#1"
    staged.write_bytes(b"half")
    said: list[str] = []
    later = datetime.now(UTC) + timedelta(days=3)
    attempts.remove_late(store, "sample", said.append, now=later)
    assert store.exists(stray) and said == []
    attempts.remove_late(store, "sample", said.append)
    assert not store.exists(stray) and not staged.exists()
    # What no attempt has written is for `reconcile`, which asks.
    assert store.exists(other) and store.exists(part.key)
    assert said == ["removed 1 parts of attempts that were lost on the cluster"]


def test_workers_that_lack_something(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    on_dask: Dask,
    tmp_path: Path,
) -> None:
    """They are named, with what they lack, before a row is read; nothing is left."""
    database, other = make_database(server), make_database(server)
    database.run("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    on_dask.set(**{VARIABLE: ""})
    with pytest.raises(Refused, match=rf"worker tcp://\S+: {VARIABLE} is not set there") as refused:
        on_cluster(database.reader_url, store)
    assert str(refused.value).count("- worker") == 2
    assert is_empty(store)
    # Another database of the same server, where the snapshot cannot be imported.
    on_dask.set(**{VARIABLE: other.reader_url})
    with pytest.raises(Failed, match=f"cannot join the snapshot by its {VARIABLE}"):
        on_cluster(database.reader_url, store)
    until(lambda: is_empty(store))
    elsewhere = Store((tmp_path / "elsewhere").as_uri())
    said = attempts.problem(elsewhere, "sample", str(anew().id))
    assert "does not see what this machine has written" in said
    with cluster.workers() as workers:
        assert workers is not None
        with pytest.raises(Refused, match=r"it has backup_pipelines \S+; install 99 there"):
            workers.refuse_others("backup_pipelines", "99")


def test_no_password_travels(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task has names of variables, public keys and addresses, and works where it arrives."""
    monkeypatch.setenv(VARIABLE, "postgresql://reader:hunter2@db.example.com/crm")
    identity: Any = pyrage.x25519.Identity.generate()
    given = Given(
        values={
            "AWS_ACCESS_KEY_ID": "AKIASECRET",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_SESSION_TOKEN": "token-secret",
            "AWS_PROFILE": "profile-secret",
            "AWS_ENDPOINT_URL": "http://s3.example.com:9000",
        }
    )
    recipients = Recipients([str(identity.to_public())])
    place = export.Destination(
        Store("s3://bucket/prefix", given), "sample", "an-id", recipients, on_cluster=True
    )
    readers = RemoteReaders(VARIABLE, "00000003-0000001B-1", "an-id")
    sent = pickle.dumps((export._timed, readers, place))
    for secret in (b"hunter2", b"secret", b"AKIA", str(identity).encode()):
        assert secret not in sent
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the worker's own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the worker's own")
    _, there, arrived = pickle.loads(sent)
    assert there == readers and arrived.recipients.keys == recipients.keys
    assert arrived.store.uri("x") == place.store.uri("x")
    assert arrived.store.variables.get("AWS_ENDPOINT_URL") == "http://s3.example.com:9000"
    assert arrived.store.variables.get("AWS_ACCESS_KEY_ID") == "the worker's own"
    assert pickle.loads(pickle.dumps(store)).url == store.url


def errors_of_ours() -> list[type[Exception]]:
    """Every class of errors of the package's core."""

    def below(kind: type[Exception]) -> Iterator[type[Exception]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    found = {BackupError, *below(BackupError)}
    # What other tests have imported is raised by no task.
    elsewhere = tuple(f"backup_pipelines{place}" for place in (".dagster_layer", ".webserver", "_"))
    core = [kind for kind in found if not kind.__module__.startswith(elsewhere)]
    return sorted(core, key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", errors_of_ours(), ids=lambda kind: kind.__name__)
def test_errors_arrive_as_they_were(kind: type[Exception]) -> None:
    """Type, message and exit code survive the way from a worker."""
    error = kind("a sentence, with what to do")
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is kind and str(found) == str(error)
    assert found.__dict__ == error.__dict__


def test_columns_out_of_range_arrive(on_dask: Dask) -> None:
    """What a table must have as text comes as it was said; unknown errors become sentences."""
    with cluster.workers() as workers:
        assert workers is not None
        with pytest.raises(reader.OutOfRange) as found:
            workers.submit(fail, "range").result()
        assert found.value.columns == ("at, or so", "day")
        with pytest.raises(
            Failed, match=rf"{on_dask.address[:12]}\S+ failed: OSError: no such thing"
        ):
            workers.submit(fail, "other").result()
        # The same arguments twice are two tasks.
        assert len({workers.submit(now).result() for _ in range(3)}) == 3


def fail(how: str) -> None:
    """A task that fails."""
    if how == "range":
        raise reader.OutOfRange(["at, or so", "day"])
    raise OSError("no such thing")


def now() -> int:
    """A task that finds something else each time."""
    return time.monotonic_ns()
