"""Backups that only the holders of an identity can read."""

import base64
import secrets
import shutil
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_pipelines import catalog, encryption, layout
from backup_pipelines.cli.output import (
    backup_document,
)
from backup_pipelines.copies import archive, archive_upload
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import BackupError, Damaged, Refused
from backup_pipelines.health.finding import Finding
from backup_pipelines.health.health import assess
from backup_pipelines.manifest import Encryption, Manifest
from backup_pipelines.plan import plan_restore
from backup_pipelines.restore import LiveRestore, restore, restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY, Recipients
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_s3 import Place
from backup_pipelines_tests.test_encrypted_objects import pair

SCHEMA = """
CREATE TABLE secrets (id int PRIMARY KEY, said text);
INSERT INTO secrets SELECT n, 'confidential ' || n FROM generate_series(1, 2000) AS n;
"""


@dataclass(frozen=True)
class Made:
    """An encrypted backup, made without the identity, in this test's own store."""

    store: Store
    entry: Manifest
    system: System
    identity: str
    live: str
    """URL of its database."""


def system_for(*keys: str) -> System:
    """A system whose backups are encrypted to these."""
    return whole_system().model_copy(update={"encryption": EncryptionSpec(recipients=list(keys))})


@pytest.fixture(scope="module")
def shared(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[Made, Path]]:
    """One backup for all tests, and the folder that it is in."""
    folder, name = tmp_path_factory.mktemp("encrypted"), f"t_{secrets.token_hex(6)}"
    store, (identity, public) = Store(folder.as_uri()), pair()
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        system = system_for(public)
        entry = back_up(server.url(name), store, system)
        yield Made(store, entry, system, identity, server.url(name)), folder
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def made(shared: tuple[Made, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The backup in a store of the test's own, on a machine without an identity."""
    monkeypatch.delenv(BACKUP_AGE_IDENTITY, raising=False)
    found, folder = shared
    shutil.copytree(folder, tmp_path / "made")
    store = Store((tmp_path / "made").as_uri())
    return Made(store, found.entry, found.system, found.identity, found.live)


@pytest.fixture
def target(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """An empty database."""
    return make_database(server)


def plan(made: Made) -> int:
    """How many rows a restore over the live database would insert."""
    found = plan_restore(
        made.store,
        made.entry,
        made.live,
        selection=Selection(),
        mode="replace",
        report=ignore,
    )
    return sum(table.insert for table in found.tables)


def test_an_encrypted_backup_holds_no_row_and_no_ddl_in_clear(made: Made) -> None:
    """No object of the backup has a row, and only the documents have any SQL, which is theirs."""
    keys = [item.key for item in made.store.objects(layout.backup_prefix("sample", made.entry.id))]
    assert sum(layout.is_encrypted(key) for key in keys) == 3
    assert catalog.row(made.entry)["encrypted"] is True
    for key in keys:
        data = made.store.get(key)
        assert b"confidential" not in data
        assert b"PRIMARY KEY" not in data or key.endswith(("restore.py", "RECOVERY.md"))
        assert layout.is_encrypted(key) == data.startswith(b"age-encryption.org/v1\n")


def test_without_an_identity_the_bytes_are_verified_and_nothing_is_read(
    made: Made, server: EmbeddedServer, target: Database
) -> None:
    """A backup host tells that every byte is as written; restore, plan and drill are refused."""
    assert not verify(made.store, made.entry, report=ignore).opened
    attempts: list[Callable[[], object]] = [
        lambda: restore_into_empty(made.store, made.entry, target.owner_url, report=ignore),
        lambda: plan(made),
        lambda: run_drill(made.store, made.entry, server.url(), report=ignore),
        lambda: restore(LiveRestore(made.entry), made.live, made.store, safety=None, report=ignore),
    ]
    for attempt in attempts:
        with pytest.raises(Refused, match="BACKUP_AGE_IDENTITY is not set on this machine"):
            attempt()


def test_with_a_wrong_identity_the_refusal_says_to_whom_it_is_encrypted(
    made: Made, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's identity opens nothing; the error names the public keys that would do."""
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, pair()[0])
    assert not verify(made.store, made.entry, report=ignore).opened
    assert made.entry.encryption is not None
    with pytest.raises(Refused, match=made.entry.encryption.recipients[0]) as caught:
        restore_into_empty(made.store, made.entry, target.owner_url, report=ignore)
    assert "AGE-SECRET-KEY" not in str(caught.value)


def test_with_the_identity_it_is_planned_restored_drilled_and_proved(
    made: Made,
    server: EmbeddedServer,
    target: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The identity, in the variable or in the file that it names, opens everything."""
    file = tmp_path / "identity.txt"
    file.write_text(f"# created: today\n{made.identity}\n")
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(file))
    assert verify(made.store, made.entry, report=ignore).opened
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, made.identity)
    assert restore_into_empty(made.store, made.entry, target.owner_url, report=ignore).rows == 2000
    drilled = run_drill(made.store, made.entry, server.url(), report=ignore)
    assert drilled.encrypted and drilled.rows == 2000
    with psycopg.connect(made.live, autocommit=True) as connection:
        connection.execute("DELETE FROM secrets WHERE id <= 5")
    assert plan(made) == 5
    restore(LiveRestore(made.entry), made.live, made.store, safety=None, report=ignore)
    assert plan(made) == 0


def test_either_of_two_recipients_restores(
    place: Place,
    made: Made,
    make_database: Callable[[Server], Database],
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On every kind of store; the rotation of keys rests on it."""
    (one, public), (other, second) = pair(), pair()
    entry = back_up(made.live, place.store, system_for(public, second))
    assert not verify(place.store, entry, report=ignore).opened
    for identity in (one, other):
        monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
        url = make_database(server).owner_url
        done = restore_into_empty(place.again(), entry, url, report=ignore)
        assert done.rows == 2000


def test_an_archive_goes_away_and_comes_back_without_an_identity(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Download and upload move what is stored; verified by its bytes, and it opens afterwards."""
    file = tmp_path / "backup.tar"
    archive.download(made.store, made.entry, file, report=ignore)
    assert b"confidential" not in file.read_bytes()
    made.store.delete_folder(layout.backup_prefix("sample", made.entry.id))
    archive_upload.upload(made.store, "sample", file, operator="ada", report=ignore)
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, made.identity)
    assert verify(made.store, catalog.find(made.store, "sample", "latest"), report=ignore).opened


def forged(made: Made, check: str) -> Manifest:
    """The backup, with another key check."""
    assert made.entry.encryption is not None
    keys = made.entry.encryption.recipients
    return made.entry.model_copy(
        update={"encryption": Encryption(recipients=keys, key_check=check)}
    )


def test_a_key_check_of_another_backup_is_damage(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever swaps manifests' checks gets no restore, and status counts it as not opened."""
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, made.identity)
    assert made.entry.encryption is not None
    recipients = Recipients(made.entry.encryption.recipients)
    entry = forged(made, recipients.key_check("another"))
    with pytest.raises(Damaged, match="is another's"):
        encryption.refuse_closed(entry)
    with pytest.raises(Damaged, match="is another's"):
        verify(made.store, entry, report=ignore)
    assert encryption.closed([entry, made.entry]) == (entry.id,)


def test_an_object_encrypted_to_others_than_its_backup_says_is_damage(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key check opens, and a part does not: that is found, not taken for a missing identity."""
    identity, public = pair()
    entry = forged(made, Recipients([public]).key_check(made.entry.id))
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
    with pytest.raises(Damaged, match="is encrypted to others than its backup says"):
        verify(made.store, entry, report=ignore)


def test_keys_and_manifest_must_agree_about_encryption(made: Made) -> None:
    """A manifest that hides, or makes up, the encryption of its objects is damaged."""
    with pytest.raises(Damaged, match="do not agree whether it is encrypted"):
        verify(made.store, made.entry.model_copy(update={"encryption": None}), report=ignore)


def guard(made: Made) -> Finding:
    """What the guard `identity` finds."""
    findings = assess(made.store, made.system, datetime.now(UTC)).findings
    return next(finding for finding in findings if finding.guard == "identity")


def test_status_says_whether_the_identity_here_opens_every_backup(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All, some, none, no identity, and one that is none: each is said, and red where it must."""
    plain = back_up(made.live, made.store, whole_system())
    identity, public = pair()
    newer = back_up(made.live, made.store, system_for(public))
    shown = assess(made.store, made.system, datetime.now(UTC)).document()
    assert (shown["backups"], shown["encrypted"], shown["opened"]) == (3, 2, None)
    assert guard(made).status == "unknown"
    assert "2 of 3 backups are encrypted; this machine has no identity" in guard(made).message

    monkeypatch.setenv(BACKUP_AGE_IDENTITY, made.identity)
    assert assess(made.store, made.system, datetime.now(UTC)).opened == 1
    assert guard(made).status == "error"
    assert f"does not open 1 of them, {newer.id} the newest" in guard(made).message
    assert backup_document(newer)["encryption"] == {"recipients": [public], "opens": False}
    assert "the identity here does not open it" in encryption.in_words(newer)
    assert encryption.in_words(plain) == ""

    monkeypatch.setenv(BACKUP_AGE_IDENTITY, f"{made.identity}\n{identity}")
    assert guard(made).status == "ok"
    assert "opens all of them" in guard(made).message

    monkeypatch.setenv(BACKUP_AGE_IDENTITY, "/no/such/file")
    assert guard(made).status == "error"
    assert "neither an identity of age nor a file" in guard(made).message
    with pytest.raises(BackupError, match="neither an identity of age nor a file"):
        verify(made.store, made.entry, report=ignore)
    assert not catalog.states(made.store, "sample").damaged


_ROWS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50) | st.none(),
        st.binary(max_size=50) | st.none(),
        st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.none(),
    ),
    max_size=30,
)


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_ROWS)
def test_any_rows_survive_encryption(
    made: Made, server: EmbeddedServer, target: Database, rows: list[tuple[object, ...]]
) -> None:
    """Whatever is in a table, a drill of its encrypted backup proves it equal."""
    with psycopg.connect(target.admin_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS rows")
        connection.execute("CREATE TABLE rows (a text, b bytea, c numeric)")
        connection.cursor().executemany("INSERT INTO rows VALUES (%s, %s, %s)", rows)
    entry = back_up(target.admin_url, made.store, made.system)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BACKUP_AGE_IDENTITY, made.identity)
        assert run_drill(made.store, entry, server.url(), report=ignore).rows == len(rows)


@pytest.mark.skipif(which("age") is None, reason="there is no age tool on this machine")
def test_the_age_tool_opens_every_object(made: Made, tmp_path: Path) -> None:
    """What we write is what age-encryption.org specifies: its own tool reads it."""
    file = tmp_path / "identity.txt"
    file.write_text(made.identity)

    def opened(data: bytes) -> bytes:
        command = ["age", "-d", "-i", str(file)]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    for section in made.entry.ddl:
        assert b"PostgreSQL database dump" in opened(made.store.get(section.key))
    for part in made.entry.tables[0].parts:
        assert opened(made.store.get(part.key)).startswith(b"PAR1")
    # As format.md says.
    assert made.entry.encryption is not None
    check = base64.b64decode(made.entry.encryption.key_check)
    assert opened(check).decode() == made.entry.id
