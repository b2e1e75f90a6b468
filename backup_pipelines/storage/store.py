"""The object store: a local folder or an S3 bucket behind one small interface.

Objects are written once and never changed (DESIGN.md, "A manifest is written once, last").
"""

import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from backup_pipelines.errors import Refused
from backup_pipelines.storage import explain, s3, write_once
from backup_pipelines.storage.input import Input

# S3 wants parts of at least 5 MB; 8 MB at two at a time keeps an upload's memory at 16 MB.
_UPLOAD_CHUNK = 8 * 1024 * 1024
_UPLOADS_AT_ONCE = 2

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

    def __init__(self, url: str) -> None:
        """Open the store at `url`; raises Refused when the URL is of no known kind."""
        self.url = url.rstrip("/")
        parts = urlsplit(url)
        self._folder: Path | None = None
        self._s3: s3.S3 | None = None
        # Which of the two clients of a bucket is asked: see s3.S3.
        self._answered = False
        if parts.scheme == "file" and parts.path:
            self._folder = Path(unquote(parts.path))
            with self._explained(""):
                self._folder.mkdir(parents=True, exist_ok=True)
                self._local = LocalStore(self._folder)
        elif parts.scheme == "s3" and parts.netloc:
            self._s3 = s3.open_bucket(parts.netloc, parts.path.strip("/"))
        else:
            raise Refused(
                f"BACKUP_STORE_URL {url!r} is not a store: write file:///folder or "
                "s3://bucket/prefix"
            )

    @property
    def is_write_once(self) -> bool | None:
        """Whether the store itself refuses a second write; None while nothing was written yet."""
        return True if self._s3 is None else write_once.is_enforced(self._place)

    def uri(self, key: str) -> str:
        """The whole address of an object, for people and for other tools."""
        return f"{self.url}/{key}"

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

    def open_input(self, key: str) -> Input:
        """The object as a seekable file, for readers of Parquet footers."""
        with self._explained(key):
            reader = obstore.open_reader(self._store, key, buffer_size=_READ_CHUNK)
        return Input(reader, lambda: self._fetched(key), lambda: self._explained(key))

    def writer(self, key: str) -> "ObjectWriter":
        """A stream into a new object; an exception in its `with` block publishes nothing.

        Raises Failed when the object exists; no server takes a condition for this kind of write.
        """
        if self.exists(key):
            with self._explained(key):
                raise AlreadyExistsError(key)
        upload = obstore.open_writer(
            self._store, key, buffer_size=_UPLOAD_CHUNK, max_concurrency=_UPLOADS_AT_ONCE
        )
        return ObjectWriter(upload, lambda: self._explained(key))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """Every object under a folder, `prefix` ending in a slash."""
        with self._explained(prefix):
            for batch in obstore.list(self._store, prefix):
                for found in batch:
                    yield StoredObject(found["path"], found["size"], found["last_modified"])

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly under `prefix`, sorted."""
        with self._explained(prefix):
            found = obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that do not exist are no error."""
        store = self._store
        if isinstance(store, LocalStore):
            for key in keys:
                with self._explained(key), suppress(FileNotFoundError):
                    obstore.delete(store, key)
        elif keys:
            # A thousand in one request; S3 has no error for those that are not there.
            with self._explained(keys[0]):
                obstore.delete(store, keys)

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

    def _fetched(self, key: str) -> IO[bytes]:
        # It is the caller's to close, and gone with this process in any case.
        file = tempfile.TemporaryFile()  # noqa: SIM115
        for chunk in self.chunks(key):
            file.write(chunk)
        return file

    @property
    def _store(self) -> LocalStore | S3Store:
        if self._s3 is None:
            return self._local
        return self._s3.later if self._answered else self._s3.first

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
            raise explain.explained(error, self.uri(key), bucket, server) from error
        self._answered = True


class ObjectWriter(io.RawIOBase):
    """A file that pyarrow can write to; counts and hashes what passes through."""

    def __init__(self, upload: Any, explained: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._upload: Any = upload
        self._explained = explained
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Hash of everything written so far."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size_bytes

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        with self._explained():
            self._upload.write(bytes(view))
        self._hash.update(view)
        self.size_bytes += len(view)
        return len(view)

    def close(self) -> None:
        # pyarrow closes its sink; publishing is decided by how the with block is left.
        return

    def __enter__(self) -> "ObjectWriter":
        self._upload.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._explained():
            self._upload.__exit__(kind, error, trace)
        super().close()
