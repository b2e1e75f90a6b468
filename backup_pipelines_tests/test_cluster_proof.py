"""Verification and drills on a Dask cluster: what they find is what one machine finds."""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest

from backup_pipelines import catalog, cluster, layout
from backup_pipelines.cluster import Cluster
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import BackupError, Damaged, NotEqual, Refused
from backup_pipelines.exporting import export
from backup_pipelines.manifest import Manifest
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import check, verify
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_dask import Dask
from backup_pipelines_tests.fix_postgres import Database, Server

SCHEMA = """
CREATE TABLE a (id serial PRIMARY KEY, at timestamptz, note text);
CREATE TABLE b (id serial PRIMARY KEY, a_id int REFERENCES a);
CREATE TABLE parted (id int) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE nothing (id int);
CREATE TABLE columnless ();
INSERT INTO a (at, note) SELECT now(), repeat(md5(g::text), 5) FROM generate_series(1, 5000) g;
INSERT INTO a (at) VALUES ('infinity');
INSERT INTO b (a_id) SELECT g FROM generate_series(1, 3000) g;
INSERT INTO parted VALUES (1), (1);
INSERT INTO columnless SELECT;
"""

# Where the drill's server is, in the workers' environments.
_DRILLS = "SAMPLE_DRILL_URL"


@contextmanager
def workers() -> Generator[Cluster]:
    """The cluster that the environment names."""
    with cluster.workers() as found:
        assert found is not None
        yield found


def drill(store: Store, entry: Manifest, server: EmbeddedServer) -> Any:
    """A drill whose proof is made on the cluster, by several ranges of each larger table."""
    with workers() as found:
        return run_drill(store, entry, server.url(), report=ignore, workers=found, variable=_DRILLS)


def scratch_databases(server: EmbeddedServer) -> int:
    """How many databases of drills the server has."""
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_database WHERE datname LIKE 'backup_drill_%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_verified_by_workers(store: Store, sealed: Manifest, on_dask: Dask, tmp_path: Path) -> None:
    """The result is that of one machine, and so is what is said of damage."""
    with workers() as found:
        assert verify(store, sealed, report=ignore, workers=found) == verify(
            store, sealed, report=ignore
        )
        for table in sealed.tables[:3]:
            for part in table.parts:
                file = tmp_path / "store" / part.key
                data = bytearray(file.read_bytes())
                data[len(data) // 2] ^= 1
                file.write_bytes(data)
        said: list[str] = []
        for by in (None, found):
            with pytest.raises(Damaged) as damaged:
                verify(store, sealed, report=ignore, workers=by)
            said.append(str(damaged.value))
    assert said[0] == said[1] and said[0].count("other bytes than were written") >= 2


def test_workers_that_do_not_see_the_store(
    store: Store, sealed: Manifest, on_dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named before anything is read, and what they miss brands no backup as damaged."""
    # The same URL is another folder for each process.
    monkeypatch.chdir(tmp_path)
    here, there = Store("file:///proc/self/cwd/store"), on_dask.folder / "store"
    manifest = layout.manifest_key(sealed.system, sealed.id)
    with workers() as found:
        with pytest.raises(Refused, match=r"worker \S+: .* no folder \S+ on this machine") as said:
            check(here, sealed, report=ignore, workers=found)
        assert str(said.value).count("- worker") == 2 and not there.exists()
        there.mkdir()
        try:
            with pytest.raises(Refused, match="does not see what this machine has written"):
                check(here, sealed, report=ignore, workers=found)
            # As good as a worker that comes after all were asked, and finds no part.
            Store(there.as_uri()).put_new(manifest, store.get(manifest))
            result = check(here, sealed, report=ignore, workers=found)
        finally:
            shutil.rmtree(there)
    parts = [part for table in sealed.tables for part in table.parts]
    assert len(result.read_again) == len(parts)
    assert catalog.states(store, sealed.system).damaged == {}


def test_encrypted_and_verified_by_workers(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    on_dask: Dask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker without the identity says so; nobody takes that for damage."""
    database = make_database(server)
    database.run("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    identity: Any = pyrage.x25519.Identity.generate()
    spec = EncryptionSpec(recipients=[str(identity.to_public())])
    entry = back_up(
        database.reader_url, store, whole_system().model_copy(update={"encryption": spec})
    )
    with workers() as found:
        # Nobody opens it: its bytes are compared.
        assert not verify(store, entry, report=ignore, workers=found).opened
        monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(identity))
        with pytest.raises(Refused, match="set BACKUP_AGE_IDENTITY on every worker"):
            verify(store, entry, report=ignore, workers=found)
        on_dask.set(BACKUP_AGE_IDENTITY=str(identity))
        try:
            assert verify(store, entry, report=ignore, workers=found).opened
        finally:
            on_dask.set(BACKUP_AGE_IDENTITY="")


def test_drilled_by_workers(
    server: EmbeddedServer,
    store: Store,
    sealed: Manifest,
    on_dask: Dask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Digests of ranges of pages add up to those of the backup, and the scratch database goes."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 100_000)
    on_dask.set(**{_DRILLS: server.url()})
    result = drill(store, sealed, server)
    alone = run_drill(store, sealed, server.url(), report=ignore)
    assert (result.rows, result.tables) == (alone.rows, alone.tables) == (8_004, 5)
    assert result.seconds_by_step.keys() == alone.seconds_by_step.keys()
    assert scratch_databases(server) == 0


def test_a_difference_found_by_workers(
    server: EmbeddedServer, store: Store, sealed: Manifest, on_dask: Dask
) -> None:
    """It is told in the words of a drill on one machine, and the scratch database goes."""
    on_dask.set(**{_DRILLS: server.url()})
    tables = [
        table.model_copy(update={"digest": "00000000deadbeef"}) if table.rows > 2 else table
        for table in sealed.tables
    ]
    other = sealed.model_copy(update={"tables": tuple(tables)})
    with pytest.raises(NotEqual) as by_workers:
        drill(store, other, server)
    with pytest.raises(NotEqual) as alone:
        run_drill(store, other, server.url(), report=ignore)
    assert str(by_workers.value) == str(alone.value)
    assert "public.a has other content in its 5,001 rows" in str(alone.value)
    assert scratch_databases(server) == 0


@pytest.mark.parametrize("url", ["", "postgresql://nobody@127.0.0.1:1/x"])
def test_workers_that_do_not_reach_the_drill(
    server: EmbeddedServer, store: Store, sealed: Manifest, on_dask: Dask, url: str
) -> None:
    """The drill fails and says why: the proof is theirs to make."""
    on_dask.set(**{_DRILLS: url})
    with pytest.raises(BackupError, match=f"{_DRILLS} is not set|cannot connect to the drill's"):
        drill(store, sealed, server)
    assert scratch_databases(server) == 0


def test_a_role_that_is_no_superuser_proves_alone(
    server: EmbeddedServer, store: Store, sealed: Manifest, on_dask: Dask
) -> None:
    """From it rows may be hidden after the commit, so that the proof stays in the transaction."""
    # A proof by workers would fail.
    on_dask.set(**{_DRILLS: ""})
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE driller LOGIN CREATEDB")
        try:
            with workers() as found:
                result = run_drill(
                    store,
                    sealed,
                    server.url(user="driller"),
                    report=ignore,
                    workers=found,
                    variable=_DRILLS,
                )
            assert result.rows == 8_004
        finally:
            admin.execute("DROP ROLE driller")


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence that says what to do, and the variable that leads there."""
    monkeypatch.setenv(cluster.BACKUP_DASK_SCHEDULER, "tcp://127.0.0.1:1")
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1.0)
    with pytest.raises(Refused) as refused, workers():
        pass
    said = str(refused.value)
    assert said.startswith("the Dask scheduler of BACKUP_DASK_SCHEDULER does not answer at tcp:")
    assert said.endswith("start it, or remove the variable to work on this machine alone")
    assert "\n" not in said
    monkeypatch.delenv(cluster.BACKUP_DASK_SCHEDULER)
    with cluster.workers() as found:
        assert found is None
