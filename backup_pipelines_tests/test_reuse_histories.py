"""Random histories of a table and its backups: each backup that stays is what the table was."""

import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from backup_pipelines import catalog
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.exporting import export, reuse
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.retention import prune, removal
from backup_pipelines.retention.reconcile import reconcile
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_restore import SOAK_SEED, Site

MakeDatabase = Callable[[Server], Database]

_STEPS = 14
_CHANGES = (
    "INSERT INTO t SELECT i, md5(i::text), {n} FROM generate_series({a}, {b}) AS i"
    " ON CONFLICT DO NOTHING",
    "UPDATE t SET number = number + 1 WHERE id = {a}",
    "UPDATE t SET number = {n} WHERE id BETWEEN {a} AND {b}",
    "UPDATE t SET name = repeat(name, 3) WHERE id % 97 = {n} % 97 AND length(name) < 300",
    "DELETE FROM t WHERE id BETWEEN {a} AND {b}",
    "VACUUM t",
    "VACUUM FULL t",
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS more text DEFAULT 'x'",
    "UPDATE t SET at = 'infinity' WHERE id = {a}",
    # Rows change places, as after a cluster: the same content, other pages.
    "WITH gone AS (DELETE FROM t WHERE id BETWEEN {a} AND {b} RETURNING *)"
    " INSERT INTO t SELECT * FROM gone ORDER BY random()",
)


class History:
    """A table, what is done to it at random, and what it was at each backup."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.chance = random.Random(seed)
        self.then: dict[str, list[tuple[object, ...]]] = {}
        self.reused = 0
        site.run(
            "CREATE TABLE t (id int PRIMARY KEY, name text, number bigint, at timestamptz)",
            "INSERT INTO t SELECT i, md5(i::text), i FROM generate_series(1, 4000) AS i",
        )

    def step(self) -> None:
        """A few changes, a backup, and now and then the end of others."""
        for _ in range(self.chance.randint(0, 2)):
            first = self.chance.randint(1, 6000)
            span = self.chance.choice([1, 50, 1500])
            change = self.chance.choice(_CHANGES)
            self.site.run(change.format(a=first, b=first + span, n=self.chance.randint(1, 999)))
        every = self.chance.choice([1, 3, 100])
        self.site.system = self.site.system.model_copy(update={"full_copy_every": every})
        entry = self.site.back_up()
        self.reused += entry.reuse.parts if entry.reuse else 0
        self.then[entry.id] = rows(self.site.database.admin_url)
        done = self.chance.randint(0, 3)
        if done == 0:
            gone = self.chance.choice(catalog.ids(self.site.store, "sample"))
            said = {"operator": "t", "reason": "r", "why": "w"}
            result = removal.remove(self.site.store, "sample", gone, **said, report=ignore)
            assert not result.problem
        elif done == 1:
            prune.prune(self.site.store, self.site.system, operator="t", reason="", report=ignore)

    def check(self, target: Callable[[], Database]) -> None:
        """Nothing is lost and nothing left over, and a backup is restored to what it is of."""
        store = self.site.store
        kept = catalog.backups(store, "sample")
        found = reconcile(
            store, "sample", {e.id for e in kept}, now=datetime.now(UTC) + timedelta(days=3)
        )
        assert found.agrees, found
        for entry in kept:
            verify(store, entry, report=ignore)
        for entry in [*kept[:1], *kept[-1:]]:
            database = target()
            restore_into_empty(store, entry, database.admin_url, report=ignore)
            assert rows(database.admin_url) == self.then[entry.id], entry.id


def rows(url: str) -> list[tuple[object, ...]]:
    """All rows of the table as texts, in the order of its key."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id, t::text FROM t ORDER BY id").fetchall()


def campaign(server: EmbeddedServer, make_database: MakeDatabase, seeds: range) -> None:
    """One history for each seed."""
    reused = 0
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            system = whole_system()
            kept = system.retention.model_copy(update={"keep_last": 3})
            system = system.model_copy(update={"retention": kept})
            history = History(Site(make_database(server), Store(Path(name).as_uri()), system), seed)
            for _ in range(_STEPS):
                history.step()
            history.check(lambda: make_database(server))
            reused += history.reused
    # Or nothing of all this was tried.
    assert reused > 3 * len(seeds)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of some hundred rows."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 64 * 1024)
    monkeypatch.setattr(reuse, "WORTH_BYTES", 16 * 1024)


def test_some_histories(server: EmbeddedServer, make_database: MakeDatabase) -> None:
    """Whatever becomes of a table and of other backups, what stays is whole and right."""
    campaign(server, make_database, range(SOAK_SEED, SOAK_SEED + 2))


@pytest.mark.soak
def test_many_histories(server: EmbeddedServer, make_database: MakeDatabase) -> None:
    """The same at length."""
    campaign(server, make_database, range(SOAK_SEED, SOAK_SEED + 100))
