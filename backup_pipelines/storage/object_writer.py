"""A stream into a new object, which exists only when its block was left in peace."""

import hashlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from backup_pipelines.errors import BackupError, Failed


class ObjectWriter(io.RawIOBase):
    """A file that pyarrow can write to; counts and hashes what passes through."""

    def __init__(
        self,
        upload: Any,
        explained: Callable[[], AbstractContextManager[None]],
        stored: Callable[[], tuple[int, str]],
    ) -> None:
        super().__init__()
        self._upload: Any = upload
        self._explained = explained
        self._stored = stored
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
        try:
            with self._explained():
                self._upload.__exit__(kind, error, trace)
        except BackupError as failure:
            # What an abort leaves is the bucket's to clear away; what went wrong first is told.
            if kind is None and not self._has_arrived():
                raise Failed(f"the upload broke off: {failure}") from failure
        finally:
            super().close()

    def _has_arrived(self) -> bool:
        """Whether only the answer got lost: asked once more, servers do not know the upload."""
        try:
            return self._stored() == (self.size_bytes, self.sha256)
        except BackupError:
            return False
