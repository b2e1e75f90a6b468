"""Faults of network and store: every run ends whole and verified, or failed and absent."""

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from backup_pipelines import catalog, layout, modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import BackupError, Damaged
from backup_pipelines.exporting import export, leftovers
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.comparison import Mode
from backup_pipelines.retention import reconcile, removal
from backup_pipelines.retention.prune import plan_prune, prune
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage import s3
from backup_pipelines.storage import store as store_module
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.verify import check, verify
from backup_pipelines_tests import tiny_backups
from backup_pipelines_tests.fault_proxy import FaultProxy, fault_proxy
from backup_pipelines_tests.fix_backup import ignore, whole_system
from backup_pipelines_tests.fix_restore import SOAK_SEED, MakeSite, Site
from backup_pipelines_tests.fix_s3 import S3Server

SCHEMA = """
CREATE TABLE site (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE person (id serial PRIMARY KEY, site int REFERENCES site ON DELETE CASCADE, note text);
CREATE TABLE file (id int PRIMARY KEY, content bytea);
INSERT INTO site SELECT g, 's' || g FROM generate_series(1, 20) g;
INSERT INTO person (site, note) SELECT 1 + g % 20, md5(g::text) FROM generate_series(1, 400) g;
INSERT INTO file SELECT g, (SELECT string_agg(sha512((g || '-' || n)::bytea), '')
    FROM generate_series(1, 250) n) FROM generate_series(1, 12) g;
"""

_EDITS = (
    "DELETE FROM site WHERE id % 5 = {n} % 5",
    "INSERT INTO site VALUES ({n}, 'new {n}') ON CONFLICT DO NOTHING",
    "INSERT INTO person (site, note) SELECT max(id), '{n}' FROM site",
    "UPDATE person SET note = note || '{n}' WHERE id % 7 = {n} % 7",
    "DELETE FROM person WHERE id % 11 = {n} % 11",
    "UPDATE file SET content = content || sha512('{n}') WHERE id % 3 = {n} % 3",
    "DELETE FROM file WHERE id % 4 = {n} % 4",
)

# Longer than the client waits for an answer, as `_hurried` sets it.
_LATE_SECONDS = 2.5

# The client's patience in steps of milliseconds: the campaign is of what happens, not of waiting.
HURRY = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=8),
    "backoff": {
        "init_backoff": timedelta(milliseconds=10),
        "max_backoff": timedelta(milliseconds=300),
    },
}

# A share of the requests that hurts few runs, one that few backups survive, and one between.
_RATES = (0.03, 0.1, 0.2)

# Backups of the real database are pruned when so many of them can go; before, tiny ones are.
_MANY = 3

_LATER = timedelta(days=2)

Found = TypeVar("Found")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces, small parts of uploads, and little patience."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 100_000)
    monkeypatch.setattr(store_module, "_UPLOAD_CHUNK", 64 * 1024)
    for name in ("_FIRST_RETRIES", "_LATER_RETRIES"):
        monkeypatch.setattr(s3, name, HURRY)
    for name in ("_FIRST_READ", "_LATER_READ"):
        monkeypatch.setattr(s3, name, "1500ms")


@dataclass
class Campaign:
    """One database and one bucket that live through all runs of a campaign."""

    site: Site
    proxy: FaultProxy
    origin: S3Server
    system: System
    ended: Counter[str] = field(default_factory=Counter[str])
    uploads: int = 0
    _tiny: int = 0

    @property
    def store(self) -> Store:
        """The store through the proxy."""
        return self.site.store

    def run(self, seed: int) -> None:
        """One operation with faults, and without them a look at what it has left."""
        chance = random.Random(seed)
        verb = chance.choice((self.backup, self.verify, self.restore, self.prune))
        rate = chance.choice(_RATES)
        end = verb(chance, lambda: self.proxy.faulty(seed, rate))
        self.ended[f"{verb.__name__} {end}"] += 1
        self.everything_is_accounted_for()

    def backup(self, chance: random.Random, faulty: Any) -> str:
        """A backup is whole and verified, or not in the listing."""
        self._edit(chance)
        backup_id = BackupId.new("manual", datetime.now(UTC))
        before = self._ids()
        with faulty():
            _, error = _tried(lambda: self._back_up(backup_id))
        end = "failed" if error else "sealed"
        new = self._ids() - before
        assert new <= {str(backup_id)}
        assert new or end == "failed"
        if new:
            entry = catalog.load(self.store, self.system.system, str(backup_id))
            assert verify(self.store, entry, report=ignore).read_again == ()
            live = self.site.digests()
            assert {t.qualified: (t.rows, t.digest) for t in entry.tables} == live
            end = "sealed" if end == "sealed" else "failed, and yet sealed"
        return end

    def verify(self, chance: random.Random, faulty: Any) -> str:
        """A damaged backup is never found intact; an intact one is, once the faults are over."""
        entry = self._any(chance)
        parts = [part.key for table in entry.tables for part in table.parts]
        with self._damaged(chance.choice(parts), chance) as is_damaged:
            with faulty():
                _, error = _tried(lambda: check(self.store, entry, report=ignore))
            end = "intact" if error is None else "damaged" if error is Damaged else "failed"
            assert not (is_damaged and end == "intact")
        check(self.store, entry, report=ignore)
        assert entry.id not in catalog.states(self.store, self.system.system).damaged
        return f"{end}, as it was {'damaged' if is_damaged else 'intact'}"

    def restore(self, chance: random.Random, faulty: Any) -> str:
        """A restore has committed what the backup has, or changed nothing."""
        entry = self._any(chance)
        self._edit(chance)
        before = self.site.image()
        mode: Mode = chance.choice(("replace", "replace", "upsert"))
        with_safety = chance.random() < 0.4
        with faulty():
            _, error = _tried(lambda: self.site.restore(entry, mode=mode, with_safety=with_safety))
        if error:
            assert self.site.image() == before
            return "failed"
        if mode == "replace":
            found = {t.qualified: (t.rows, t.digest) for t in entry.tables}
            assert self.site.digests() == found
        else:
            assert self.site.plan(entry, mode="upsert").rows == 0
        return "done"

    def prune(self, chance: random.Random, faulty: Any) -> str:
        """A prune, finished later, has removed what an undisturbed one would have."""
        now = datetime.now(UTC)
        is_much = len(plan_prune(self.store, self.system, now).remove) >= _MANY
        system = self.system if is_much else self._tiny_backups(chance)
        name = system.system
        remove = plan_prune(self.store, system, now).remove
        kept = {e.id for e in catalog.backups(self.store, name)} - set(remove)
        assert remove
        with faulty():
            done, _ = _tried(
                lambda: prune(self.store, system, operator="ann", reason="tidy", now=now)
            )
        removed = {one.id for one in done.removed} if done else set[str]()
        end = "failed" if done is None else "done" if removed == set(remove) else "done in part"
        again = prune(self.store, system, operator="ann", reason="tidy", now=now)
        assert again.refused == ()
        assert {entry.id for entry in catalog.backups(self.store, name)} == kept
        found = reconcile.reconcile(self.store, name, kept, now=now + _LATER)
        assert found.lost == {}
        gone = [key for key, _ in found.orphans if key.split("/")[2] in remove]
        # What arrived after its removal is found as what it is.
        reconcile.repair(self.store, name, found, report=ignore, now=now + _LATER)
        return f"{end}{', and late objects of it' if gone else ''}"

    def everything_is_accounted_for(self) -> None:
        """Each object is of a backup, of its state, or known to who removes leftovers."""
        for name in (self.system.system, "crm"):
            known = catalog.listing(self.store, name)
            assert known.problems == {}
            ids = {entry.id for entry in known.backups}
            prefix = layout.backups_prefix(name)
            named = removal.in_use(self.store, name, prefix)
            named |= {layout.manifest_key(name, i) for i in ids}
            named |= {layout.started_key(name, i) for i in ids}
            there = {item.key for item in self.store.objects(prefix)}
            later = datetime.now(UTC) + _LATER
            found = reconcile.reconcile(self.store, name, ids, now=later)
            assert found.lost == {}
            removable = set(leftovers.unsealed(self.store, name))
            left = there - named - {key for key, _ in found.orphans}
            assert {key.split("/")[2] for key in left} <= removable

    def end(self) -> None:
        """After an undisturbed backup and prune nothing is in the bucket that belongs to nobody."""
        self._back_up(BackupId.new("manual", datetime.now(UTC)))
        for system in (self.system, tiny_backups.system(keep_last=2)):
            name = system.system
            prune(self.store, system, operator="ann", reason="tidy")
            ids = {entry.id for entry in catalog.backups(self.store, name)}
            later = datetime.now(UTC) + _LATER
            found = reconcile.reconcile(self.store, name, ids, now=later)
            reconcile.repair(self.store, name, found, report=ignore, now=later)
            assert reconcile.reconcile(self.store, name, ids, now=later).agrees
            there = {item.key for item in self.store.objects(layout.backups_prefix(name))}
            named = removal.in_use(self.store, name, layout.backups_prefix(name))
            named |= {layout.manifest_key(name, i) for i in ids}
            named |= {layout.started_key(name, i) for i in ids}
            assert there == named
        for entry in catalog.backups(self.store, self.system.system):
            verify(self.store, entry, report=ignore)
        stored = self.origin.stored(self.store.url.split("/")[2])
        self.uploads = sum(key.startswith("unfinished ") for key in stored)

    def _ids(self) -> set[str]:
        return {entry.id for entry in catalog.backups(self.store, self.system.system)}

    def _any(self, chance: random.Random) -> Manifest:
        found = catalog.backups(self.store, self.system.system)
        whole = [entry for entry in found if entry.scope == "full"]
        return chance.choice(sorted(whole, key=lambda entry: entry.id))

    def _back_up(self, backup_id: BackupId) -> None:
        request = BackupRequest(
            system=self.system,
            id=backup_id,
            type="manual",
            created_by="test",
            selection=frozenset(modules.entries(self.system)),
        )
        for _ in take_backup(request, self.site.database.reader_url, self.store):
            pass

    def _edit(self, chance: random.Random) -> None:
        for _ in range(chance.randrange(1, 5)):
            self.site.run(chance.choice(_EDITS).format(n=chance.randrange(1000)))

    @contextmanager
    def _damaged(self, key: str, chance: random.Random) -> Iterator[bool]:
        """In one case of three an object is really damaged, until the block ends."""
        if chance.random() > 1 / 3:
            yield False
            return
        bucket, _, prefix = self.store.url.removeprefix("s3://").partition("/")
        client, place = self.origin.client(), f"{prefix}/{key}"
        whole = self.store.get(key)
        at = chance.randrange(len(whole))
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        client.put_object(Bucket=bucket, Key=place, Body=changed)
        yield True
        client.put_object(Bucket=bucket, Key=place, Body=whole)

    def _tiny_backups(self, chance: random.Random) -> System:
        """Backups without a database, of which some share parts of earlier ones."""
        shares: Any = ()
        for _ in range(chance.randrange(3, 5)):
            entry = tiny_backups.put_backup(self.store, self._tiny, shares=shares)
            self._tiny += 1
            shares = entry.tables[0].parts[-1:] if chance.random() < 0.6 else ()
        return tiny_backups.system(keep_last=2)


def _tried(work: Callable[[], Found]) -> tuple[Found | None, type[BackupError] | None]:
    """What came of it, or the kind of its error.

    Not the error: its frames would hold an answer that is half read, and its connection open.
    """
    try:
        return work(), None
    except BackupError as error:
        return None, type(error)


@pytest.fixture
def campaign(
    server: EmbeddedServer,
    s3_server: S3Server,
    make_site: MakeSite,
    hurried: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[Campaign]:
    """A filled database with one backup, in a bucket behind the proxy."""
    del hurried
    site = make_site(server, SCHEMA)
    with fault_proxy(s3_server, _LATE_SECONDS) as proxy:
        proxy.server.use(monkeypatch)
        site.store = Store(f"s3://{s3_server.bucket()}/some/prefix")
        retention = RetentionSpec(keep_last=2, floor=1)
        site.system = whole_system().model_copy(update={"retention": retention})
        site.back_up()
        yield Campaign(site, proxy, s3_server, site.system)


def _run(campaign: Campaign, runs: int, first: int) -> None:
    for seed in range(first, first + runs):
        try:
            campaign.run(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}, {dict(campaign.proxy.counts)}")
            raise
        print(f"seed {seed} passed", flush=True)
    campaign.end()
    print(sorted(campaign.ended.items()))
    print(campaign.proxy.requests, sorted(campaign.proxy.counts.items()))
    print(campaign.uploads, "unfinished uploads")


def test_runs_with_faults(campaign: Campaign) -> None:
    """Four runs with faults on each server leave nothing half done and nothing unaccounted for."""
    # One of each operation, at the two higher rates.
    _run(campaign, 4, first=212)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_runs_with_faults(campaign: Campaign) -> None:
    """The same 100 times on each server."""
    _run(campaign, 100, first=SOAK_SEED)
