"""Objects that only the holders of an identity can read: age files, by pyrage.

Whoever writes needs public keys (recipients) only; whoever reads needs a secret one (an identity),
which BACKUP_AGE_IDENTITY holds or names a file of. The format is age-encryption.org/v1, which the
`age` tool opens as well.
"""

import base64
import binascii
import io
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyrage

from backup_pipelines.errors import Damaged, Failed, Refused

BACKUP_AGE_IDENTITY = "BACKUP_AGE_IDENTITY"

_SECRET_KEY = "AGE-SECRET-KEY-1"

_PIECE = 1024 * 1024

# It has no types that a checker finds.
_pyrage: Any = pyrage

# What pyrage says when none of the identities is that of a recipient.
_NOT_OURS = "No matching keys found"


class NotOpened(Refused):
    """No identity here opens what was encrypted to others."""


class Recipients:
    """The public keys that everything of one backup is encrypted to."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises ValueError for what is no public key of age."""
        self.keys = tuple(keys)
        self._parsed = [_recipient(key) for key in keys]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.keys,)

    def encrypt(self, data: bytes) -> bytes:
        """One age file of the data."""
        return _pyrage.encrypt(data, self._parsed)

    def key_check(self, text: str) -> str:
        """A known text, encrypted, by which `opens` tells whether an identity is among ours."""
        return base64.b64encode(self.encrypt(text.encode())).decode()

    def pump(self, source: io.RawIOBase, sink: io.RawIOBase) -> None:
        """Encrypt all of a stream into another; an error of either is raised."""
        _pyrage.encrypt_io(source, sink, self._parsed)


def has_identity() -> bool:
    """Whether this machine has been given an identity at all."""
    return bool(os.environ.get(BACKUP_AGE_IDENTITY, "").strip())


def opens(key_check: str, text: str) -> bool:
    """Whether an identity of this machine opens what was encrypted with this key check.

    Raises Damaged when the check is none, or of another text.
    """
    if not has_identity():
        return False
    try:
        found = decrypt(base64.b64decode(key_check, validate=True), f"the key check of {text}")
    except NotOpened:
        return False
    except binascii.Error as error:
        raise Damaged(f"the key check of {text} is damaged ({error})") from error
    if found != text.encode():
        raise Damaged(f"the key check of {text} is another's")
    return True


def decrypt(data: bytes, name: str) -> bytes:
    """What an age file holds; `name` is the object's for errors.

    Raises NotOpened without a fitting identity, and Damaged for a file that is cut or changed.
    """
    with _explained(name):
        return _pyrage.decrypt(data, identities())


def decrypted_file(pieces: Iterator[bytes], name: str) -> IO[bytes]:
    """What an age file holds, as a file without a name, from its beginning.

    It is the caller's to close. Nobody can open it by a path, and it is gone with the process.
    Raises as `decrypt`, and Failed when there is no room for the file.
    """
    source = _Pieces(pieces)
    plain = _Plain(name)
    try:
        with _explained(name, source, plain):
            _pyrage.decrypt_io(source, plain, identities())
        return plain.from_its_beginning()
    except BaseException:
        plain.discard()
        raise


class _Pieces(io.RawIOBase):
    """Pieces as a stream that remembers the error of their source."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            # An empty piece is not the end.
            while not self._left and (piece := next(self._pieces, None)) is not None:
                self._left = memoryview(piece)
        except Exception as error:
            self.error = error
            raise
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class _Plain(io.RawIOBase):
    """A file without a name that remembers why it could not be written."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.error: Failed | None = None
        with self._no_room():
            self._file: IO[bytes] = tempfile.TemporaryFile(buffering=_PIECE)  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with self._no_room():
            return self._file.write(data)

    def from_its_beginning(self) -> IO[bytes]:
        with self._no_room():
            self._file.flush()
        self._file.seek(0)
        return self._file

    def discard(self) -> None:
        # What is left in its buffer goes nowhere, and that is no news.
        with suppress(OSError):
            self._file.close()

    @contextmanager
    def _no_room(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            self.error = Failed(
                f"{self._name} cannot be decrypted into a file under {tempfile.gettempdir()} "
                f"({error.strerror}): make room there, or let TMPDIR name another folder"
            )
            raise self.error from error


def _recipient(key: str) -> Any:
    # Never with the key in a message: it may be a secret one, and would end in logs.
    if _SECRET_KEY.lower() in key.lower():
        raise ValueError("a secret key of age is named as recipient: write its public key")
    try:
        return _pyrage.x25519.Recipient.from_str(key)
    except _pyrage.RecipientError:
        raise ValueError("it is no public key of age: write one such as age1...") from None


def identities() -> list[Any]:
    """The identities that the environment gives.

    Raises NotOpened when it gives none, Refused for what is no identity.
    """
    named = os.environ.get(BACKUP_AGE_IDENTITY, "").strip()
    if not named:
        raise NotOpened(
            f"it is encrypted and {BACKUP_AGE_IDENTITY} is not set: set it to the identity, or to "
            "the path of its file"
        )
    text = named
    if _SECRET_KEY not in named:
        try:
            text = Path(named).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(
                f"{BACKUP_AGE_IDENTITY} is neither an identity of age nor a file that can be read"
            ) from error
    found = [word for word in text.split() if word.startswith(_SECRET_KEY)]
    try:
        parsed: list[Any] = [_pyrage.x25519.Identity.from_str(word) for word in found]
    except _pyrage.IdentityError as error:
        raise Refused(f"{BACKUP_AGE_IDENTITY} holds a malformed identity ({error})") from error
    if not parsed:
        raise Refused(f"{BACKUP_AGE_IDENTITY} holds no identity of age ({_SECRET_KEY}...)")
    return parsed


@contextmanager
def _explained(
    name: str, source: _Pieces | None = None, plain: _Plain | None = None
) -> Generator[None]:
    try:
        yield
    except NotOpened as error:
        raise NotOpened(f"{name} cannot be opened: {error}") from error
    except (_pyrage.DecryptError, OSError) as error:
        # pyrage keeps only the text of what its streams raise.
        if source is not None and source.error is not None:
            raise source.error from None
        if plain is not None and plain.error is not None:
            raise plain.error from None
        if _NOT_OURS in str(error):
            raise NotOpened(
                f"{name} cannot be opened: it is encrypted to others than the identity in "
                f"{BACKUP_AGE_IDENTITY}"
            ) from error
        raise Damaged(f"{name} is no whole age file: {error}") from error
