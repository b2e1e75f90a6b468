"""Encrypting backups anew: a copy under a new id, proved, and then the old one goes."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.copies.reencrypt import ALL, Reencrypted, due, reencrypt
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, Refused
from backup_pipelines.exporting import leftovers
from backup_pipelines.manifest import Manifest
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.retention import pins
from backup_pipelines.retention.prune import plan_prune
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_s3 import Place
from backup_pipelines_tests.test_encrypted_objects import pair
from backup_pipelines_tests.tiny_backups import Keeping, Killed, KilledAt

SCHEMA = """
CREATE TABLE people (id int PRIMARY KEY, said text);
INSERT INTO people SELECT n, 'word ' || n FROM generate_series(1, 500) AS n;
CREATE TABLE empty (id int);
CREATE TABLE "Odd name" (id int PRIMARY KEY);
INSERT INTO "Odd name" VALUES (1);
"""


def system_for(*keys: str) -> System:
    """The system whose YAML names these recipients."""
    return whole_system().model_copy(update={"encryption": EncryptionSpec(recipients=list(keys))})


def run(store: Store, system: System, backup: str = ALL) -> list[Reencrypted]:
    """What the job does."""
    return [
        reencrypt(store, system, one, operator="ada", reason="", report=ignore)
        for one in left(store, system, backup)
    ]


def left(store: Store, system: System, backup: str = ALL) -> list[str]:
    """What there is to do."""
    return due(store, system, backup, operator="ada", report=ignore)


class KilledInWriting(KilledAt):
    """KilledAt, where the writing of an object is a change, too."""

    def writer(self, *key: Any) -> Any:
        self._change()
        return super().writer(*key)


def only(store: Store) -> Manifest:
    """The one backup that there is, with nothing beside it."""
    [entry] = catalog.backups(store, "sample")
    assert catalog.ids(store, "sample") == [entry.id]
    return entry


def digests(entry: Manifest) -> dict[str, tuple[int, str]]:
    """What a restore proves."""
    return {table.qualified: (table.rows, table.digest) for table in entry.tables}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Two public keys, whose identities this machine has."""
    pairs = [pair(), pair()]
    file = tmp_path / "identities"
    file.write_text("\n".join(identity for identity, _ in pairs))
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(file))
    return [public for _, public in pairs]


def test_plain_to_encrypted_to_another_key_to_plain(
    sealed: Manifest,
    store: Store,
    keys: list[str],
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
) -> None:
    """At each step there is one backup, with the same digests, and it restores."""
    pins.pin(store, "sample", sealed.id, operator="ada", reason="")
    before = sealed
    for named in ([keys[0]], [keys[1]], keys, []):
        system = system_for(*named)
        [done] = run(store, system)
        entry = only(store)
        assert (done.old, done.new, done.kept) == (before.id, entry.id, "")
        assert entry.copy_of == (*before.copy_of, before.id)
        assert entry.id[:-6] == sealed.id[:-6]
        assert digests(entry) == digests(sealed)
        there = [item.key for item in store.objects(layout.backup_prefix("sample", entry.id))]
        age_files = [key for key in there if layout.is_encrypted(key)]
        assert len(age_files) == (5 if named else 0)
        assert (entry.encryption.recipients if entry.encryption else ()) == tuple(named)
        same = {"created_at", "snapshot_at", "type", "label", "created_by", "sequences", "scope"}
        assert entry.model_dump(include=same) == sealed.model_dump(include=same)
        assert catalog.states(store, "sample").pinned >= {entry.id}
        assert catalog.find(store, "sample", sealed.id).id == entry.id
        restored = restore_into_empty(store, entry, make_database(server).owner_url, report=ignore)
        assert restored.rows == 501
        assert left(store, system) == []
        before = entry


def test_parts_of_other_backups_become_its_own(
    sealed: Manifest, store: Store, keys: list[str]
) -> None:
    """A backup that points at parts of an older one no longer does, and the older keeps them."""
    shares = sealed.model_copy(update={"id": sealed.id[:-6] + "abcdef"})
    store.put_new(layout.manifest_key("sample", shares.id), shares.to_json())
    [done] = run(store, system_for(keys[0]), shares.id)
    copy = catalog.load(store, "sample", done.new)
    own = layout.backup_prefix("sample", copy.id)
    parts = [part.key for table in copy.tables for part in table.parts]
    assert parts and all(key.startswith(own) for key in parts)
    assert copy.reuse is None
    assert done.named == 0
    verify(store, sealed, report=ignore)
    assert {entry.id for entry in catalog.backups(store, "sample")} == {sealed.id, copy.id}


def test_what_others_name_stays_as_it_was_and_is_told(
    sealed: Manifest, store: Store, keys: list[str]
) -> None:
    """Who thinks that nobody can read the old key's objects any more must hear of those."""
    shares = sealed.model_copy(update={"id": sealed.id[:-6] + "abcdef"})
    store.put_new(layout.manifest_key("sample", shares.id), shares.to_json())
    [done] = run(store, system_for(keys[0]), sealed.id)
    assert done.named > 0
    assert f"{done.named} of its objects stay as they were for other backups" in done.in_words
    verify(store, shares, report=ignore)
    [last] = run(store, system_for(keys[0]), shares.id)
    assert last.named == 0
    assert not any(sealed.id in item.key for item in store.objects("sample/backups/"))


@pytest.mark.parametrize("at", range(0, 28, 2))
def test_killed_at_any_change_one_is_whole_and_the_next_run_finishes(
    sealed: Manifest, store: Store, keys: list[str], at: int
) -> None:
    """Whatever the moment, a whole backup is there, retention sees one, and a rerun leaves one."""
    system = system_for(keys[0])
    with suppress(Killed):
        run(KilledInWriting(store.url, at), system)
    there = catalog.backups(store, "sample")
    assert there
    for entry in there:
        verify(store, entry, report=ignore)
    kept = plan_prune(
        store,
        system.model_copy(update={"retention": RetentionSpec(keep_last=1, floor=1)}),
        datetime.now(UTC) + timedelta(minutes=1),
    )
    assert not kept.remove
    run(store, system)
    # As the next backup does.
    leftovers.remove(store, "sample", ignore)
    entry = only(store)
    assert entry.encryption is not None
    assert digests(entry) == digests(sealed)
    assert left(store, system) == []


def test_a_store_that_fails_in_the_middle_leaves_the_original_only(
    sealed: Manifest, store: Store, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error before the copy is sealed takes back what was written of it."""
    odd = next(table for table in sealed.tables if table.name == "Odd name")
    store.delete([odd.parts[0].key])
    with pytest.raises(Damaged, match="part-00000"):
        run(store, system_for(keys[0]))
    assert only(store).id == sealed.id


def test_an_original_that_cannot_be_removed_stays_and_is_told(
    sealed: Manifest, store: Store, keys: list[str]
) -> None:
    """The store's words are in the result; both are whole, one counts, and a later run finishes."""
    system = system_for(keys[0])
    keeping = Keeping(store.url, [layout.manifest_key("sample", sealed.id)])
    [done] = run(keeping, system)
    assert "AccessDenied" in done.kept and "still there" in done.in_words
    assert {entry.id for entry in catalog.backups(store, "sample")} == {sealed.id, done.new}
    verdicts = plan_prune(store, system, datetime.now(UTC)).verdicts
    [said] = [verdict.reasons for verdict in verdicts if verdict.id == done.new]
    assert said == (f"a copy of {sealed.id}, which is still there and counts instead",)
    # By the id of the copy as well.
    [again] = run(store, system, done.new)
    assert (again.old, again.new, again.kept) == (sealed.id, done.new, "")
    assert only(store).id == done.new


def test_nothing_is_removed_for_a_copy_that_nobody_could_open(
    sealed: Manifest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an identity of today's recipients, or of the backup's own, it is refused."""
    identity, public = pair()
    monkeypatch.delenv(BACKUP_AGE_IDENTITY, raising=False)
    with pytest.raises(Refused, match="could not be proved"):
        left(store, system_for(public))
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
    [done] = run(store, system_for(public))
    other, second = pair()
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, other)
    with pytest.raises(Refused, match=f"{done.new} is encrypted to {public}"):
        run(store, system_for(second))
    assert only(store).id == done.new


def test_damaged_and_foreign_ones_are_left_alone(
    sealed: Manifest, store: Store, keys: list[str]
) -> None:
    """One that was found damaged is not among all, and named it is refused."""
    from backup_pipelines.verify import remember

    remember(store, sealed, "it is damaged")
    system = system_for(keys[0])
    assert left(store, system) == []
    with pytest.raises(Refused, match="is damaged"):
        run(store, system, sealed.id)


def test_a_backup_keeps_its_recipients_in_any_order(
    source: Database, store: Store, keys: list[str]
) -> None:
    """Two recipients that change places in the YAML are no reason to copy anything."""
    entry = back_up(source.admin_url, store, system_for(*keys))
    assert entry.encryption is not None
    assert left(store, system_for(*reversed(keys))) == []
    assert left(store, system_for(keys[0])) == [entry.id]


def test_it_does_so_on_every_kind_of_store(place: Place, source: Database, keys: list[str]) -> None:
    """In a bucket as in a folder, and what is stored at the end is one backup's objects only."""
    entry = back_up(source.admin_url, place.store, system_for())
    [done] = run(place.store, system_for(*keys))
    copy = only(place.again())
    assert (copy.id, copy.copy_of, digests(copy)) == (done.new, (entry.id,), digests(entry))
    assert verify(place.store, copy, report=ignore).opened
    assert not [key for key in place.stored() if f"backups/{entry.id}/" in key]


@pytest.fixture
def source(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """A database with SCHEMA."""
    made = make_database(server)
    made.run(SCHEMA)
    return made
