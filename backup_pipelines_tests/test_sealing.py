"""The seal: a backup in progress that somebody else clears away is never called completed."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyrage
import pytest

from backup_pipelines import catalog, layout, verify
from backup_pipelines.backup import SchemaDone, take_backup
from backup_pipelines.copies import archive_upload, copying, reencrypt
from backup_pipelines.copies.archive import download
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Failed
from backup_pipelines.exporting import leftovers, sealing
from backup_pipelines.manifest import Manifest
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.storage.store import Store, StoredObject
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for, whole_system
from backup_pipelines_tests.fix_postgres import Database
from backup_pipelines_tests.tiny_backups import START, keys, put_backup, system, tiny_id

SCHEMA = "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g"


class Watched(Store):
    """A store that says of each of its operations that it begins."""

    def __init__(self, url: str, before: Callable[[str], None]) -> None:
        super().__init__(url)
        self.before = before

    def put_new(self, key: str, data: bytes) -> None:
        self.before(f"put {key}")
        super().put_new(key, data)

    def get(self, key: str) -> bytes:
        self.before(f"get {key}")
        return super().get(key)

    def exists(self, key: str) -> bool:
        self.before(f"exists {key}")
        return super().exists(key)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        self.before(f"list {prefix}")
        return super().objects(prefix)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.before(f"delete {key}")
            super().delete([key])


def at_step(number: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Act once, before the operation of that number, from 0."""
    left = itertools.count(-number)

    def before(operation: str) -> None:
        del operation
        if next(left) == 0:
            act()

    return before


def unsealed(store: Store, number: int, shares: Manifest | None = None) -> Manifest:
    """A backup in progress, of which only the manifest is lacking."""
    entry = put_backup(store, number, shares=shares.tables[0].parts if shares else ())
    store.delete([layout.manifest_key("crm", entry.id)])
    return entry


def clear(store: Store) -> None:
    """What a backup of another database of the system does before it begins."""
    leftovers.remove(store, "crm", ignore)


@pytest.mark.parametrize("until", [0, 1])
def test_a_backup_of_another_database_clears_it_away(
    server: EmbeddedServer,
    make_database: Callable[[EmbeddedServer], Database],
    store: Store,
    until: int,
) -> None:
    """The lock is of one database: the one that was cleared away fails, and leaves nothing."""
    database, other = make_database(server), make_database(server)
    for each in (database, other):
        each.run(SCHEMA)
    work = take_backup(request_for(), database.reader_url, store)
    for done in work:
        if not until or isinstance(done, SchemaDone):
            break
    sealed = back_up(other.reader_url, store)
    with pytest.raises(Failed, match=r"is not complete: \S+started\.json .*is not there"):
        list(work)
    assert [one.id for one in catalog.backups(store, "sample")] == [sealed.id]
    assert store.folders("sample/backups/") == [sealed.id]
    assert verify.verify(store, sealed, report=ignore).objects


@pytest.mark.parametrize("shared", [False, True])
def test_cleared_away_at_any_step_of_the_seal(store: Store, shared: bool) -> None:
    """Either there is a manifest and all that it names, or the seal fails and there is none."""
    outcomes: set[bool] = set()
    for step in range(8):
        first = put_backup(store, 0) if shared else None
        entry = unsealed(store, 1, first)
        sealed = _seals(Watched(store.url, at_step(step, lambda: clear(store))), entry)
        assert _is_whole(store, entry) == sealed
        outcomes.add(sealed)
        store.delete_folder("crm/")
    assert outcomes == {True, False}


@pytest.mark.parametrize("shared", [False, True])
def test_sealed_at_any_step_of_the_clearing(store: Store, shared: bool) -> None:
    """The same, when the seal comes in the middle of the other's clearing."""
    outcomes: set[bool] = set()
    for step in range(20):
        # As in a second store, which lacks the backup that these parts are of.
        first = unsealed(store, 0) if shared else None
        store.delete([layout.started_key("crm", tiny_id(0))])
        entry, sealed = unsealed(store, 1, first), list[bool]()
        act = partial(_sealed_into, sealed, store, entry)
        clear(Watched(store.url, at_step(step, act)))
        assert _is_whole(store, entry) == (True in sealed)
        outcomes.update(sealed)
        store.delete_folder("crm/")
    assert outcomes == {True, False}


def _seals(store: Store, entry: Manifest) -> bool:
    try:
        sealing.seal(store, entry, entry.to_json())
    except sealing.Gone:
        return False
    return True


def _sealed_into(outcomes: list[bool], store: Store, entry: Manifest) -> None:
    outcomes.append(_seals(store, entry))


def _is_whole(store: Store, entry: Manifest) -> bool:
    """Whether there is a manifest, with all that it names."""
    if not store.exists(layout.manifest_key("crm", entry.id)):
        return False
    named = {*(part.key for part in entry.tables[0].parts), entry.ddl[0].key}
    assert named <= keys(store)
    return True


def test_an_object_of_another_size(store: Store, tmp_path: Path) -> None:
    """What was cut after it was read back is found before the manifest is put."""
    entry = unsealed(store, 0)
    key = entry.tables[0].parts[1].key
    (tmp_path / "store" / key).write_bytes(b"short")
    with pytest.raises(sealing.Gone, match=rf"{key} is not there as it was written"):
        sealing.seal(store, entry, entry.to_json())
    assert not store.exists(layout.manifest_key("crm", entry.id))


def test_what_it_costs(store: Store) -> None:
    """Two listings and the manifest, however many objects there are in its own folder."""
    entry, asked = unsealed(store, 0), list[str]()
    sealing.seal(Watched(store.url, asked.append), entry, entry.to_json())
    assert [operation.partition(" ")[0] for operation in asked] == ["list", "put", "list"]


def test_a_store_that_fails_after_the_manifest(store: Store) -> None:
    """It is not called completed, nor is anything removed."""
    entry, key = unsealed(store, 0), layout.manifest_key("crm", tiny_id(0))

    def before(operation: str) -> None:
        if operation.startswith("list") and store.exists(key):
            raise Failed("no answer")

    with pytest.raises(sealing.NotSealed, match=f"no answer; verify backup {entry.id} before"):
        sealing.seal(Watched(store.url, before), entry, entry.to_json())
    assert store.exists(key)


def test_a_copy_that_is_cleared_away(store: Store, tmp_path: Path) -> None:
    """A restore from the second store takes its safety backup there; the next copy is whole."""
    entry, second = put_backup(store, 0), Store((tmp_path / "second").as_uri())

    def copy(to: Store) -> None:
        done = copying.copy_missing(
            store, to, system(), RetentionSpec(), operator="ann", report=ignore, now=START
        )
        assert [one.id for one in done] == [entry.id]

    steps: set[bool] = set()
    for step in range(24):
        try:
            copy(Watched(second.url, at_step(step, lambda: clear(second))))
        except Failed:
            assert not second.exists(layout.manifest_key("crm", entry.id))
            copy(second)
            steps.add(False)
        else:
            steps.add(True)
        assert keys(second) == keys(store)
        second.delete_folder("crm/")
    assert steps == {True, False}


def test_an_upload_that_is_cleared_away(store: Store, sealed: Manifest, tmp_path: Path) -> None:
    """It fails, and there is no backup that lacks its objects; the next one puts it there."""
    file = tmp_path / "archive.tar"
    download(store, sealed, file, report=ignore)
    second = Store((tmp_path / "second").as_uri())
    manifest = layout.manifest_key("sample", sealed.id)

    def before(operation: str) -> None:
        if operation == f"put {manifest}":
            leftovers.remove(second, "sample", ignore)

    def upload(to: Store) -> None:
        archive_upload.upload(to, "sample", file, operator="ann", report=ignore)

    with pytest.raises(Failed, match="is not complete"):
        upload(Watched(second.url, before))
    assert not second.exists(manifest)
    upload(second)
    assert catalog.load(second, "sample", sealed.id) == sealed


def test_one_encrypted_anew_that_is_cleared_away(
    store: Store, sealed: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original stays, nothing else is left, and the next run does it."""
    identity: Any = pyrage.x25519.Identity.generate()
    file = tmp_path / "identity"
    file.write_text(str(identity))
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(file))
    spec = EncryptionSpec(recipients=[str(identity.to_public())])
    wanted = whole_system().model_copy(update={"encryption": spec})

    def before(operation: str) -> None:
        if operation.startswith("put") and operation.endswith("/manifest.json"):
            leftovers.remove(store, "sample", ignore)

    def encrypt(on: Store) -> None:
        reencrypt.reencrypt(on, wanted, sealed.id, operator="ann", reason="", report=ignore)

    with pytest.raises(Failed, match="is not complete"):
        encrypt(Watched(store.url, before))
    assert catalog.ids(store, "sample") == [sealed.id]
    encrypt(store)
    [entry] = catalog.backups(store, "sample")
    assert entry.copy_of == (sealed.id,) and entry.encryption
