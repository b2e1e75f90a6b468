"""A stored object as a seekable file, for readers of Parquet footers."""

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, Any

# What the client says of a server that answers a request for a range with status 200.
_NO_RANGES = "non-partial response"


class Input(io.RawIOBase):
    """obstore's reader as a RawIOBase, which pyarrow accepts.

    Of a server that knows no ranges the whole object is fetched, into a file without a name.
    """

    def __init__(
        self,
        reader: Any,
        whole: Callable[[], IO[bytes]],
        explained: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._reader: Any = reader
        self._whole = whole
        self._fetched: IO[bytes] | None = None
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
        at = self.tell()
        with self._explained():
            try:
                return self._read(size)
            except OSError as error:
                if _NO_RANGES not in str(error) or self._fetched is not None:
                    raise
        self._reader = self._fetched = self._whole()
        self._reader.seek(at)
        return self._read(size)

    def close(self) -> None:
        if self._fetched is not None:
            self._fetched.close()
        super().close()

    def _read(self, size: int) -> bytes:
        return bytes(self._reader.read(None if size < 0 else size))
