"""Objects as age files, on every kind of store: whole, failing, cut short, and hostile."""

import errno
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines.errors import Damaged, Failed, Refused
from backup_pipelines.messages import scrub
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage import age
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY, NotOpened, Recipients
from backup_pipelines.storage.encrypting import EncryptingWriter
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_s3 import Place

_KEY = "crm/backups/20260115T020000Z-manual-9f3c1a/schema/pre-data.sql.age"
_MB = 1024 * 1024


def pair() -> tuple[str, str]:
    """A new identity and its public key."""
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


@pytest.fixture
def recipients(monkeypatch: pytest.MonkeyPatch) -> Recipients:
    """Recipients one of whose identities this process has."""
    identity, public = pair()
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
    return Recipients([public])


class _Full:
    """An object's writer whose store has no more room after so many bytes."""

    def __init__(self, room: int) -> None:
        self.size_bytes, self.sha256, self.published = 0, "", False
        self.ended_in: set[int] = set()
        self._room = room

    def write(self, data: bytes) -> int:
        assert not self.ended_in, "nobody writes to an object that has ended"
        self.size_bytes += len(data)
        if self.size_bytes > self._room:
            raise Failed("the store is full")
        return len(data)

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.ended_in.add(threading.get_ident())
        self.published = kind is None


def test_what_was_written_is_read_back_on_every_store(place: Place, recipients: Recipients) -> None:
    """Several megabytes arrive as an age file, counted and hashed as stored, and open again."""
    data = secrets.token_bytes(9 * _MB + 7)
    with place.store.writer(_KEY, recipients) as out:
        for start in range(0, len(data), 3 * _MB):
            assert out.write(data[start : start + 3 * _MB]) <= 3 * _MB
        assert out.tell() == len(data)
    assert place.store.checksum(_KEY) == (out.size_bytes, out.sha256)
    assert out.size_bytes > len(data)
    assert place.store.get(_KEY).startswith(b"age-encryption.org/v1\n")
    assert place.store.content(_KEY) == data
    with place.store.open_input(_KEY) as file:
        assert file.read() == data


def test_an_error_in_the_block_publishes_nothing(place: Place, recipients: Recipients) -> None:
    """Half an export is no valid age file of half the data, whatever the store."""
    with (
        pytest.raises(RuntimeError, match="the export broke off"),
        place.store.writer(_KEY, recipients) as out,
    ):
        out.write(b"x" * _MB)
        raise RuntimeError("the export broke off")
    assert not place.stored()


@pytest.mark.parametrize("room", [0, 100, 3 * _MB])
def test_the_error_of_the_store_is_the_one_that_is_raised(
    recipients: Recipients, room: int
) -> None:
    """A store that fails in the middle says so itself, through pyarrow as well."""
    sink = _Full(room)
    table = pa.table({"n": pa.array(secrets.token_bytes(16) for _ in range(400_000))})
    with (
        pytest.raises(Failed, match="the store is full"),
        EncryptingWriter(sink, recipients) as out,
        pq.ParquetWriter(out, table.schema) as file,
    ):
        for batch in table.to_batches(50_000):
            file.write_batch(batch)
    assert sink.ended_in and not sink.published


def test_an_error_that_only_the_end_meets_is_raised_too(recipients: Recipients) -> None:
    """What is written when the block ends can fail, and then nothing is published."""
    sink = _Full(10)
    with (
        pytest.raises(Failed, match="the store is full"),
        EncryptingWriter(sink, recipients) as out,
    ):
        out.write(b"a few bytes")
    assert sink.ended_in and not sink.published


_KILLED = """
import os, signal, sys
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.store import Store
with Store(sys.argv[1]).writer(sys.argv[2], Recipients([sys.argv[3]])) as out:
    out.write(b"x" * 20_000_000)
    os.kill(os.getpid(), int(sys.argv[4]))
    out.write(b"x" * 20_000_000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_writer_that_is_killed_publishes_nothing(
    store: Store, recipients: Recipients, number: signal.Signals
) -> None:
    """Neither kill -9 nor Ctrl-C leaves an object that looks whole, nor a process that hangs."""
    command = [sys.executable, "-c", _KILLED, store.url, _KEY, recipients.keys[0], str(int(number))]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == -number
    assert not store.exists(_KEY)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_damaged_age_file_never_opens(data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed, it is Damaged or nobody's, never other data."""
    identity, public = pair()
    with _identity(identity):
        whole = Recipients([public]).encrypt(bytes(range(256)) * 4)
        # The library adds a random line to each header, so that lengths differ.
        place = data.draw(st.integers(0, 1_000_000)) % len(whole)
        cut = data.draw(st.booleans())
        change = data.draw(st.integers(1, 255))
        bad = whole[:place] if cut else bytes([*whole[:place], whole[place] ^ change])
        bad += b"" if cut else whole[place + 1 :]
        for opened in (lambda: age.decrypt(bad, "it"), lambda: _as_file([bad])):
            with pytest.raises((Damaged, NotOpened)):
                opened()


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=200_000), st.lists(st.integers(0, 70_000), max_size=20))
def test_pieces_of_any_size_make_the_same_file(data: bytes, cuts: list[int]) -> None:
    """Empty pieces and odd sizes, as a network delivers them, change nothing."""
    identity, public = pair()
    with _identity(identity):
        sealed = Recipients([public]).encrypt(data)
        places = [0, *sorted(min(cut, len(sealed)) for cut in cuts), len(sealed)]
        pieces = [sealed[a:b] for a, b in pairwise(places)]
        assert _as_file(pieces) == data


def _as_file(pieces: list[bytes]) -> bytes:
    with age.decrypted_file(iter(pieces), "it") as file:
        return file.read()


class _identity:
    """The identity in the environment, for tests that a fixture would serve only once."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.setenv(BACKUP_AGE_IDENTITY, self._value)

    def __exit__(self, *error: object) -> None:
        self._patch.undo()


def test_an_error_while_reading_is_the_store_s_and_no_damage(recipients: Recipients) -> None:
    """A connection that breaks in the middle says nothing about the object."""
    sealed = recipients.encrypt(b"x" * 300_000)

    def broken() -> Generator[bytes]:
        yield sealed[:100_000]
        raise Failed("the connection was reset")

    with pytest.raises(Failed, match="the connection was reset"):
        age.decrypted_file(broken(), "it")


def test_a_full_disk_is_no_damage(recipients: Recipients) -> None:
    """Without room for the decrypted file the error says where room is wanted."""
    sealed = recipients.encrypt(b"x" * 3 * _MB)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(Failed, match="TMPDIR") as caught:
            age.decrypted_file(iter([sealed]), "it")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not isinstance(caught.value, Damaged)
    assert os.strerror(errno.EFBIG) in str(caught.value)


def test_the_decrypted_file_has_no_name(
    recipients: Recipients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in the folder for temporary files shows what was decrypted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with age.decrypted_file(iter([recipients.encrypt(b"rows")]), "it") as file:
        assert file.read() == b"rows"
        assert not list(tmp_path.iterdir())


def test_two_recipients_and_two_identities_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several recipients opens it alone, and so does a file with foreign ones beside."""
    (one, public), (other, second), (foreign, _) = pair(), pair(), pair()
    both = Recipients([public, second])
    check = both.key_check("id")
    for text in (one, other, f"# mine\n{foreign}\n{other}\n"):
        monkeypatch.setenv(BACKUP_AGE_IDENTITY, text)
        assert age.opens(check, "id")
        assert age.decrypt(both.encrypt(b"rows"), "it") == b"rows"
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, foreign)
    assert not age.opens(check, "id")
    with pytest.raises(NotOpened, match="encrypted to others"):
        age.decrypt(both.encrypt(b"rows"), "it")


def test_a_hostile_key_check_opens_nothing(recipients: Recipients) -> None:
    """That of another backup, or one that is no age file at all, is Damaged."""
    others, whole = recipients.key_check("another"), recipients.key_check("id")
    for check in (others, "", "?", "aGVsbG8=", whole[:-8]):
        with pytest.raises(Damaged, match="key check of id"):
            age.opens(check, "id")
    assert age.opens(whole, "id")


def test_a_wrong_identity_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is no identity, or no file, is one sentence that names the variable and no secret."""
    identity, public = pair()
    damaged = identity[:-3] + ("QQQ" if not identity.endswith("QQQ") else "PPP")
    empty = tmp_path / "empty"
    empty.write_text("nothing\n")
    for value in (damaged, str(tmp_path / "none"), str(tmp_path), str(empty)):
        monkeypatch.setenv(BACKUP_AGE_IDENTITY, value)
        with pytest.raises(Refused, match=BACKUP_AGE_IDENTITY) as caught:
            age.decrypt(Recipients([public]).encrypt(b"rows"), "it")
        assert "AGE-SECRET-KEY-1" not in str(caught.value).replace("(AGE-SECRET-KEY-1...)", "")
    monkeypatch.delenv(BACKUP_AGE_IDENTITY)
    with pytest.raises(NotOpened, match="is not set"):
        age.decrypt(Recipients([public]).encrypt(b"rows"), "it")


def test_what_is_no_recipient_is_refused_without_being_shown() -> None:
    """A secret key among the recipients, in any spelling, ends in no message and no log."""
    identity, public = pair()
    for key in (identity, identity.lower(), f" {identity}", "age1x", "", f"{public}x", "ssh-rsa x"):
        with pytest.raises(ValueError, match=r"recipient|public key") as caught:
            EncryptionSpec(recipients=[public, key])
        said = str(caught.value)
        assert not key.strip() or key.strip() not in said
    with pytest.raises(ValueError, match="twice"):
        EncryptionSpec(recipients=[public, public])
    assert identity not in scrub.scrub(f"it was {identity}, or {identity.lower()}.")
