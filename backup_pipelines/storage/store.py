"""The object store: a local folder or an S3 bucket behind one small interface.

Objects are written once and never changed.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from backup_pipelines import layout
from backup_pipelines.errors import Refused
from backup_pipelines.storage import age, explain, s3, write_once
from backup_pipelines.storage.attempts import repeated
from backup_pipelines.storage.encrypting import EncryptingWriter
from backup_pipelines.storage.input import Input
from backup_pipelines.storage.object_writer import ObjectWriter
from backup_pipelines.storage.variables import USUAL, Variables

# S3 wants parts of at least 5 MB; 8 MB at two at a time keeps an upload's memory at 16 MB.
_UPLOAD_CHUNK = 8 * 1024 * 1024
_UPLOADS_AT_ONCE = 2

# What obstore writes in a folder until an object is whole.
_STAGED = re.compile(r"#\d+$")

# Large enough to make requests few, small enough that reading back stays flat in memory.
_READ_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    size_bytes: int
    modified_at: datetime


class Store:
    """Objects under one URL, `file:///dir` or `s3://bucket/prefix`."""

    def __init__(self, url: str, variables: Variables = USUAL, *, make: bool = True) -> None:
        """Open the store at `url`; raises Refused when the URL is of no known kind.

        A folder that is not there is made; with `make` False whatever is asked of it raises Failed.
        """
        self.url = url.rstrip("/")
        self.variables = variables
        parts = urlsplit(url)
        self._folder: Path | None = None
        self._local: LocalStore | None = None
        self._s3: s3.S3 | None = None
        # Which of the two clients of a bucket is asked: see s3.S3.
        self._answered = False
        if parts.scheme == "file" and parts.path:
            self._folder = Path(unquote(parts.path))
            with self._explained(""):
                # A new one is for its owner alone: whoever reads it has all the rows.
                if make:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._local = LocalStore(self._folder)
        elif parts.scheme == "s3" and parts.netloc:
            self._s3 = s3.open_bucket(parts.netloc, parts.path.strip("/"), variables)
        else:
            raise Refused(
                f"{variables.url_env} {url!r} is not a store: write file:///folder or "
                "s3://bucket/prefix"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # To a worker of a cluster, which has credentials of its own.
        # A folder that is made there would look like this store, and lack all that is in it.
        return partial(type(self), make=False), (self.url, self.variables.without_secrets())

    @property
    def is_write_once(self) -> bool | None:
        """Whether the store itself refuses a second write; None while nothing was written yet."""
        return True if self._s3 is None else write_once.is_enforced(self._place)

    def uri(self, key: str) -> str:
        """The whole address of an object, for people and for other tools."""
        return f"{self.url}/{key}"

    def local_path(self, key: str) -> Path | None:
        """The file of an object, if the store is a folder; the object need not exist."""
        return None if self._folder is None else self._folder / key

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object that must not exist yet; raises Failed when it does."""
        with self._explained(key):
            store = self._store
            if isinstance(store, LocalStore):
                obstore.put(store, key, data, mode="create")
            else:
                write_once.put_new(store, self._place, key, data)

    def get(self, key: str) -> bytes:
        """The whole object; raises Damaged when it is missing."""
        with self._explained(key):
            return bytes(obstore.get(self._store, key).bytes())

    def content(self, key: str) -> bytes:
        """What an object holds, decrypted where it is encrypted.

        Raises Damaged when it is missing or no whole age file, NotOpened without its identity.
        """
        data = self.get(key)
        return age.decrypt(data, self.uri(key)) if layout.is_encrypted(key) else data

    def chunks(self, key: str) -> Iterator[bytes]:
        """The object in pieces of about 4 MB; raises Damaged when it is missing."""
        with self._explained(key):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=_READ_CHUNK):
                yield bytes(chunk)

    def checksum(self, key: str) -> tuple[int, str]:
        """Size and sha256 of the object as it can be read back now."""
        digest, size = hashlib.sha256(), 0
        for chunk in self.chunks(key):
            digest.update(chunk)
            size += len(chunk)
        return size, digest.hexdigest()

    def exists(self, key: str) -> bool:
        """Whether the object exists."""
        with self._explained(key):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return False
        return True

    def links(self, keys: Sequence[str], lifetime: timedelta) -> list[str]:
        """Links by which anybody who has them can read the objects for so long.

        Raises Refused for a folder, which has no server to ask.
        """
        store = self._store
        if isinstance(store, LocalStore):
            raise Refused(
                f"{self.url} is a folder, and links need a server: copy the files, or make one of "
                "the whole backup with `backup-pipelines download`"
            )
        with self._explained(keys[0] if keys else ""):
            return list(obstore.sign(store, "GET", list(keys), lifetime))

    def open_input(self, key: str) -> Input | IO[bytes]:
        """What an object holds as a seekable file, for readers of Parquet footers.

        One that is encrypted is decrypted as a whole, into a file without a name. Raises as
        `content`.
        """
        if layout.is_encrypted(key):
            return age.decrypted_file(self.chunks(key), self.uri(key))
        with self._explained(key):
            reader = obstore.open_reader(self._store, key, buffer_size=_READ_CHUNK)
        return Input(reader, lambda: self._fetched(key), lambda: self._explained(key))

    def writer(
        self, key: str, recipients: age.Recipients | None = None
    ) -> ObjectWriter | EncryptingWriter:
        """A stream into a new object; an exception in its `with` block publishes nothing.

        With recipients, an age file for them is stored, and counted and hashed.

        Raises Failed when the object exists; no server takes a condition for this kind of write.
        """
        if self.exists(key):
            with self._explained(key):
                raise AlreadyExistsError(key)
        with self._explained(key):
            upload = obstore.open_writer(
                self._store, key, buffer_size=_UPLOAD_CHUNK, max_concurrency=_UPLOADS_AT_ONCE
            )
        writer = ObjectWriter(upload, lambda: self._explained(key), lambda: self.checksum(key))
        return EncryptingWriter(writer, recipients) if recipients else writer

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """Every object under a folder, `prefix` ending in a slash."""

        def listed() -> list[StoredObject]:
            return [
                StoredObject(found["path"], found["size"], found["last_modified"])
                for batch in obstore.list(self._store, prefix)
                for found in batch
            ]

        with self._explained(prefix):
            yield from repeated(listed, patient=self._answered)

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly under `prefix`, sorted."""
        with self._explained(prefix):
            listed = repeated(
                lambda: obstore.list_with_delimiter(self._store, prefix), patient=self._answered
            )
        found = listed["common_prefixes"]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that do not exist are no error."""
        if self._s3 is None:
            for key in keys:
                with self._explained(key), suppress(FileNotFoundError):
                    obstore.delete(self._store, key)
        elif keys:
            # A thousand in one request; S3 has no error for those that are not there.
            with self._explained(keys[0]):
                repeated(lambda: obstore.delete(self._store, keys), patient=self._answered)

    def delete_folder(self, prefix: str) -> int:
        """Remove everything under `prefix`, which ends in a slash; returns how many objects.

        A local folder goes as a whole: a killed writer leaves staging files there that no
        listing shows.
        """
        keys = [found.key for found in self.objects(prefix)]
        self.delete(keys)
        if self._folder is not None:
            shutil.rmtree(self._folder / prefix, ignore_errors=True)
        return len(keys)

    def drop_unfinished(self, prefix: str) -> None:
        """Remove what killed writers left under `prefix`, which no listing shows.

        Of a folder only: a bucket has a rule of its own for uploads that nobody finished.
        """
        if self._folder is None:
            return
        for path in (self._folder / prefix).rglob("*"):
            if _STAGED.search(path.name):
                path.unlink(missing_ok=True)

    def _fetched(self, key: str) -> IO[bytes]:
        # It is the caller's to close, and gone with this process in any case.
        file = tempfile.TemporaryFile()  # noqa: SIM115
        for chunk in self.chunks(key):
            file.write(chunk)
        return file

    @property
    def _store(self) -> LocalStore | S3Store:
        if self._s3 is not None:
            return self._s3.later if self._answered else self._s3.first
        assert self._folder is not None
        if self._local is None:
            if not self._folder.is_dir():
                # No FileNotFoundError, which says that an object is missing.
                raise OSError(f"there is no folder {self._folder} on this machine: mount it there")
            self._local = LocalStore(self._folder)
        return self._local

    @property
    def _place(self) -> str:
        return f"{self._s3.server} {self._s3.bucket}" if self._s3 else ""

    @contextmanager
    def _explained(self, key: str) -> Generator[None]:
        """Turn the object store's errors into ours: one sentence with the object's address."""
        try:
            yield
        except (BaseError, OSError) as error:
            self._answered |= isinstance(error, (FileNotFoundError, AlreadyExistsError))
            bucket, server = (self._s3.bucket, self._s3.server) if self._s3 else ("", "")
            said = explain.explained(error, self.uri(key), bucket, server)
            raise type(said)(self.variables.in_words(str(said))) from error
        self._answered = True
