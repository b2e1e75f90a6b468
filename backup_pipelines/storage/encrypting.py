"""A writer between an exporter and an object: what goes in is stored as an age file."""

import io
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, Any

from pyrage import EncryptError  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

from backup_pipelines.storage.age import Recipients

_GAVE_UP = "the writer gave up"


class EncryptingWriter(io.RawIOBase):
    """Bytes in, an age file out, into a writer that counts and hashes what is stored.

    The file is complete only when the `with` block is left without an exception: a pipe that is
    merely closed would make a valid age file of half the data. What goes wrong with the object is
    raised as the object's writer says it.
    """

    def __init__(self, sink: Any, recipients: Recipients) -> None:
        super().__init__()
        self._sink: Any = sink
        self._recipients = recipients
        self._plain_bytes = 0
        self._given_up = threading.Event()
        self._pipe: IO[bytes] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="age")
        self._done: Future[None] | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the age file so far, all of it when the block has been left."""
        return int(self._sink.size_bytes)

    @property
    def sha256(self) -> str:
        """Hash of the age file."""
        return str(self._sink.sha256)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._plain_bytes

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        assert self._pipe is not None and self._done is not None
        if self._pipe.closed:
            # pyarrow writes a footer even after an error, which must stay the one that is raised.
            self._done.result()
        left = view
        try:
            while left:
                left = left[self._pipe.write(left) :]
        except BrokenPipeError:
            # The other end has stopped: its own error says why.
            self._settle()
            raise
        self._plain_bytes += len(view)
        return len(view)

    def close(self) -> None:
        # pyarrow closes its sink; publishing is decided by how the with block is left.
        return

    def __enter__(self) -> "EncryptingWriter":
        read, write = os.pipe()
        self._pipe = os.fdopen(write, "wb", buffering=0)
        try:
            self._sink.__enter__()
            self._done = self._worker.submit(self._run, read)
        except BaseException:
            self._pipe.close()
            os.close(read)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._given_up.set()
        try:
            self._settle()
        except BaseException as failure:
            # An interrupt may come while the rest is still being written.
            self._given_up.set()
            if kind is None:
                kind, error, trace = type(failure), failure, failure.__traceback__
                raise
        finally:
            # Before the object is ended: the other thread must not write to it any more.
            self._worker.shutdown()
            super().close()
            self._sink.__exit__(kind, error, trace)

    def _run(self, read: int) -> None:
        with os.fdopen(read, "rb", buffering=0) as source:
            sink = _Sink(self._sink, self._given_up)
            try:
                self._recipients.pump(_Whole(source, self._given_up), sink)
            except EncryptError as error:
                raise sink.error or error from None
            # Of its last write, which ends the file, pyrage says nothing.
            if sink.error is not None:
                raise sink.error

    def _settle(self) -> None:
        """Wait for the end of the encryption; raises its error, the sink's own where it has one."""
        assert self._pipe is not None and self._done is not None
        self._pipe.close()
        self._done.result()


class _Whole(io.RawIOBase):
    """A stream whose end counts only if its writer left in peace."""

    def __init__(self, source: IO[bytes], given_up: threading.Event) -> None:
        super().__init__()
        self._source = source
        self._given_up = given_up

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        found = self._source.read(len(buffer))
        if not found and self._given_up.is_set():
            raise BrokenPipeError(_GAVE_UP)
        buffer[: len(found)] = found
        return len(found)


class _Sink(io.RawIOBase):
    """A writer that remembers its error: pyrage keeps only the text of it."""

    def __init__(self, sink: Any, given_up: threading.Event) -> None:
        super().__init__()
        self._sink: Any = sink
        self._given_up = given_up
        self.error: Exception | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self._given_up.is_set():
            raise BrokenPipeError(_GAVE_UP)
        try:
            return int(self._sink.write(data))
        except Exception as error:
            self.error = error
            raise
