"""The object store: a local folder or an S3 bucket behind one small interface.

Objects are written once and never changed (DESIGN.md, "A manifest is written once, last").
"""

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from backup_pipelines.errors import Damaged, Failed, Refused

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
        if parts.scheme == "file" and parts.path:
            self._folder = Path(unquote(parts.path))
            with self._explained(""):
                self._folder.mkdir(parents=True, exist_ok=True)
                self._store: LocalStore | S3Store = LocalStore(self._folder)
        elif parts.scheme == "s3" and parts.netloc:
            self._store = _s3_store(parts.netloc, parts.path.strip("/"))
        else:
            raise Refused(
                f"BACKUP_STORE_URL {url!r} is not a store: write file:///folder or "
                "s3://bucket/prefix"
            )

    def uri(self, key: str) -> str:
        """The whole address of an object, for people and for other tools."""
        return f"{self.url}/{key}"

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object that must not exist yet; raises Failed when it does."""
        with self._explained(key):
            obstore.put(self._store, key, data, mode="create")

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

    def open_input(self, key: str) -> "io.RawIOBase":
        """The object as a seekable file, for readers of Parquet footers."""
        with self._explained(key):
            reader = obstore.open_reader(self._store, key, buffer_size=_READ_CHUNK)
        return _Input(reader, lambda: self._explained(key))

    def writer(self, key: str) -> "ObjectWriter":
        """A stream into a new object; an exception in its `with` block publishes nothing."""
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
        for key in keys:
            with self._explained(key), suppress(FileNotFoundError):
                obstore.delete(self._store, key)

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

    @contextmanager
    def _explained(self, key: str) -> Generator[None]:
        """Turn the object store's errors into ours: one sentence with the object's address."""
        try:
            yield
        except FileNotFoundError as error:
            raise Damaged(f"{self.uri(key)} is missing") from error
        except AlreadyExistsError as error:
            raise Failed(f"{self.uri(key)} exists already and objects are never changed") from error
        except (BaseError, OSError) as error:
            reason = str(error).strip().splitlines()[:1]
            raise Failed(f"the store failed at {self.uri(key)}: {' '.join(reason)}") from error


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


class _Input(io.RawIOBase):
    """obstore's reader as a RawIOBase, which pyarrow accepts."""

    def __init__(self, reader: Any, explained: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._reader = reader
        self._explained = explained

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._reader.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(self._reader.seek(offset, whence))

    def read(self, size: int = -1, /) -> bytes:
        with self._explained():
            return bytes(self._reader.read(None if size < 0 else size))


def _s3_store(bucket: str, prefix: str) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    options: dict[str, Any] = {}
    if endpoint:
        options["endpoint"] = endpoint
        options["virtual_hosted_style_request"] = False
    if endpoint.startswith("http://"):
        options["client_options"] = {"allow_http": True}
    return S3Store(bucket, prefix=prefix or None, **options)
