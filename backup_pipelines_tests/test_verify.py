"""Damage and forgery: found by verifying, and by restoring before anything is created."""

import json
import secrets
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_pipelines import catalog, state_log, verify
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import BackupError, Damaged, Failed, NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.forging import resealed

SCHEMA = """
CREATE TABLE a AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 500) g;
CREATE TABLE b AS SELECT g AS id, md5((g + 1)::text) AS note FROM generate_series(1, 500) g;
"""


class Backup:
    """A backup of two tables of the same shape, its files, and an empty database."""

    def __init__(self, sealed: Manifest, store: Store, folder: Path, target: str) -> None:
        self.sealed = sealed
        self.store = store
        self.folder = folder
        self.target = target
        self.a, self.b = (folder / table.parts[0].key for table in sealed.tables)
        self.manifest = folder / f"sample/backups/{sealed.id}/manifest.json"
        self.ddl = folder / sealed.ddl[0].key

    def forge(self, change: Callable[[Any], None]) -> None:
        """Change the manifest as it is in the store."""
        document = json.loads(self.manifest.read_bytes())
        change(document)
        self.manifest.write_bytes(resealed(document))

    def assert_found(self, *said: str) -> None:
        """Verify and restore both refuse, saying so, and the database stays empty."""
        for attempt in (self._verify, self._restore):
            with pytest.raises(BackupError) as caught:
                attempt()
            for text in said:
                assert text in str(caught.value)
        with psycopg.connect(self.target) as connection:
            made = connection.execute(
                "SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            )
            assert made.rowcount == 0

    def _load(self) -> Manifest:
        return catalog.load(self.store, "sample", self.sealed.id)

    def _verify(self) -> None:
        verify.verify(self.store, self._load(), report=ignore)

    def _restore(self) -> None:
        restore_into_empty(self.store, self._load(), self.target, report=ignore)


@pytest.fixture(scope="module")
def target(server: EmbeddedServer) -> Generator[str]:
    """The URL of an empty database, which stays empty."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        yield server.url(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def backup(original: tuple[Manifest, Path], store: Store, tmp_path: Path, target: str) -> Backup:
    """A copy of the backup, to be damaged."""
    sealed, folder = original
    shutil.copytree(folder, tmp_path / "store", dirs_exist_ok=True)
    return Backup(sealed, store, tmp_path / "store", target)


def test_a_whole_backup_verifies(backup: Backup, store: Store) -> None:
    """Verifying reads every object and every byte."""
    found = verify.verify(store, backup.sealed, report=ignore)
    assert (found.objects, found.bytes) == (6, backup.sealed.size_bytes)


@pytest.mark.parametrize("place", [0, 200, -1])
def test_a_flipped_byte(backup: Backup, place: int) -> None:
    """One changed byte, anywhere in an object, is found."""
    data = bytearray(backup.a.read_bytes())
    data[place] ^= 1
    backup.a.write_bytes(data)
    backup.assert_found("part-00000.parquet has other bytes than were written")


def test_a_truncated_object(backup: Backup) -> None:
    """An object that lost its end is found by its size."""
    backup.a.write_bytes(backup.a.read_bytes()[:-10])
    backup.assert_found("part-00000.parquet has ", "bytes instead of")


def test_everything_that_is_wrong_is_said(backup: Backup) -> None:
    """Missing objects and changed DDL are listed together."""
    backup.a.unlink()
    backup.b.unlink()
    backup.ddl.write_text(backup.ddl.read_text() + "-- more\n")
    backup.assert_found(
        "public.a/part-00000.parquet is missing",
        "public.b/part-00000.parquet is missing",
        "pre-data.sql is not the DDL that its manifest describes",
    )


def test_swapped_objects(backup: Backup) -> None:
    """The rows of another table are not taken for this one's."""
    a, b = backup.a.read_bytes(), backup.b.read_bytes()
    backup.a.write_bytes(b)
    backup.b.write_bytes(a)
    backup.assert_found("public.a/part-00000.parquet has ", "public.b/part-00000.parquet has ")


def _swap_parts(document: Any) -> None:
    one, other = document["tables"]
    one["parts"], other["parts"] = other["parts"], one["parts"]


def _rows(document: Any) -> None:
    document["tables"][0]["rows"] = 499


def _rows_of_part(document: Any) -> None:
    _rows(document)
    document["tables"][0]["parts"][0]["rows"] = 499


def _digest(document: Any) -> None:
    document["tables"][0]["digest"] = "0" * 16


def _no_parts(document: Any) -> None:
    document["tables"][0]["parts"] = []


def _twice(document: Any) -> None:
    document["tables"][0]["parts"] *= 2


def _columns(document: Any) -> None:
    document["tables"][0]["columns"][0]["name"] = "other"


def _elsewhere(document: Any) -> None:
    document["tables"][0]["parts"][0]["key"] = "../../etc/passwd"


def _other_system(document: Any) -> None:
    document["tables"][0]["parts"][0]["key"] = "dcim/backups/x/data/t/part-00000.parquet"


def _half_ddl(document: Any) -> None:
    document["ddl"].pop()


def _ddl_object(document: Any) -> None:
    document["ddl"][0]["objects"].pop()


def _nothing(document: Any) -> None:
    document["tables"], document["ddl"], document["documents"] = [], [], []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_swap_parts, "the digests of public.a's parts do not add up"),
        (_rows, "the parts of public.a do not add up to its rows"),
        (_rows_of_part, "has 500 rows instead of 499"),
        (_digest, "the digests of public.a's parts do not add up"),
        (_no_parts, "the parts of public.a do not add up to its rows"),
        (_twice, "the parts of public.a do not add up to its rows"),
        (_columns, "has other columns than public.a"),
        (_elsewhere, "../../etc/passwd, a part of public.a, is no object of sample's backups"),
        (_other_system, "a part of public.a, is no object of sample's backups"),
        (_half_ddl, "the manifest does not name the two sections of the DDL"),
        (_ddl_object, "are not those of its manifest"),
        (_nothing, "the manifest names no objects"),
    ],
)
def test_forged_manifests(backup: Backup, change: Callable[[Any], None], said: str) -> None:
    """A manifest that does not fit its objects is found, whatever was changed in it."""
    backup.forge(change)
    backup.assert_found(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document.update(id="20200101T000000Z-manual-000000"), "the manifest of"),
        (lambda document: document.update(system="dcim"), "is the manifest of dcim"),
        (lambda document: document.update(format_version=3), "upgrade backup_pipelines"),
        (lambda document: document.pop("tables"), "tables: Field required"),
        (lambda document: document["tables"][0].update(rows="many"), "tables.0.rows: "),
    ],
)
def test_manifests_that_are_not_read(
    backup: Backup, change: Callable[[Any], None], said: str
) -> None:
    """Another backup's manifest, a newer format and a malformed one are refused with the place."""
    backup.forge(change)
    backup.assert_found(said)


def test_a_digest_that_only_the_database_can_tell(backup: Backup) -> None:
    """Rows that fit a manifest forged throughout still fail the proof, before the commit."""

    def forge(document: Any) -> None:
        table = document["tables"][0]
        table["digest"] = table["parts"][0]["digest"] = "0" * 16

    backup.forge(forge)
    entry = catalog.load(backup.store, "sample", backup.sealed.id)
    verify.verify(backup.store, entry, report=ignore)
    with pytest.raises(BackupError, match=r"public\.a has other content in its 500 rows"):
        restore_into_empty(backup.store, entry, backup.target, report=ignore)
    with psycopg.connect(backup.target) as connection:
        assert connection.execute("SELECT FROM pg_class WHERE relname = 'a'").rowcount == 0


def test_a_manifest_cut_short(backup: Backup) -> None:
    """A manifest that is no JSON is damage, not a crash."""
    backup.manifest.write_bytes(backup.manifest.read_bytes()[:200])
    with pytest.raises(Damaged, match=r"manifest\.json is not a valid manifest"):
        catalog.load(backup.store, "sample", backup.sealed.id)


def test_the_result_is_remembered(backup: Backup) -> None:
    """A check leaves its result in the store: damaged until a later one finds it whole."""
    store, entry = backup.store, backup.sealed
    whole = backup.a.read_bytes()
    assert verify.check(store, entry, report=ignore).objects == 6
    assert verify.damaged(store, "sample") == {}
    backup.a.write_bytes(whole[:-1])
    with pytest.raises(Damaged, match="bytes instead of"):
        verify.check(store, entry, report=ignore, operator="ann")
    assert list(verify.damaged(store, "sample")) == [entry.id]
    said = state_log.content(store, state_log.latest(store, "sample", "verifications")[entry.id])
    assert said["operator"] == "ann"
    assert "bytes instead of" in said["message"]
    assert catalog.load(store, "sample", entry.id) == entry
    with pytest.raises(NotFound, match="sample has no full backup that is whole"):
        catalog.find(store, "sample", "latest")
    backup.a.write_bytes(whole)
    verify.check(store, entry, report=ignore)
    assert verify.damaged(store, "sample") == {}
    assert catalog.find(store, "sample", "latest").id == entry.id


def test_an_unreachable_store_damages_nothing(backup: Backup) -> None:
    """A store that cannot be read says nothing about the backup."""

    class Unreachable(Store):
        def checksum(self, key: str) -> tuple[int, str]:
            raise Failed(f"the store failed at {self.uri(key)}: timeout")

    with pytest.raises(Failed, match="timeout"):
        verify.check(Unreachable(backup.store.url), backup.sealed, report=ignore)
    assert state_log.latest(backup.store, "sample", "verifications") == {}
