"""Readers of a snapshot in other processes, on other machines: each opens connections of its own.

The URL is not sent, since it has a password: a worker of the cluster has the variable of the same
name in its own environment.
"""

import os
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
from psycopg import sql

from backup_pipelines.errors import BackupError, Failed
from backup_pipelines.postgres import adbc
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.reader import Passed, Piece, Readers
from backup_pipelines.source_load import Throttle

# The next task comes at once or not here; an idle session holds locks and keeps VACUUM waiting.
_IDLE_SECONDS = 5.0


@dataclass(frozen=True)
class RemoteReaders:
    """Connections of a worker that have imported the snapshot, kept there from task to task."""

    variable: str
    """The environment variable with the URL of the database."""
    snapshot: str
    backup_id: str
    rate: float = 0.0
    """How many bytes a second one task may read; 0 is as fast as it goes."""
    keeps: bool = True
    """Whether a connection stays for the next task, where their number is not limited."""

    def watched(self, piece: Piece, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches of a piece, no faster than the throttle lets them pass."""
        del piece
        throttle = Throttle(self.rate)
        for batch in batches:
            throttle.passed(batch.nbytes)
            yield batch

    def charge(self, size: int) -> None:
        """Note that the server has read so many bytes that did not come here."""
        Throttle(self.rate).passed(size)

    def tell(self, passed: Passed) -> None:
        """Tell nobody: of a piece that is read elsewhere, only its end is known here."""
        del passed

    def stop(self) -> None:
        """End the sessions of the tasks that still read, so that these fail at once."""
        if url := os.environ.get(self.variable):
            end_all(url, self.backup_id)

    @contextmanager
    def lent(self) -> Generator[adbc.Session]:
        """A connection inside the snapshot, of the process that asks for it."""
        pool = _entered(self)
        try:
            with pool.readers.lent() as connection:
                yield connection
            if not self.keeps:
                pool.readers.close()
        finally:
            _left(self, pool)


def problem(variable: str) -> str:
    """What is wrong with this process as a reader; empty where nothing is."""
    if not os.environ.get(variable):
        return f"{variable} is not set there: set it to the URL of the same database as here"
    return ""


def end_all(url: str, backup_id: str) -> None:
    """End the sessions that read for a backup, wherever they are.

    A worker that was cut off would hold the snapshot, and with it VACUUM, for as long as it likes.
    """
    with (
        suppress(BackupError, psycopg.Error),
        connected(url, doing="backup") as connection,
    ):
        connection.execute(query("end_readers"), {"name": _name(backup_id)})


@dataclass
class _Joined(Readers):
    """The connections of one process; their sessions have the backup's name."""

    variable: str = ""
    backup_id: str = ""

    def _open(self) -> adbc.Session:
        try:
            connection = super()._open()
        except adbc.Error as error:
            raise Failed(
                f"a worker cannot join the snapshot by its {self.variable} "
                f"({' '.join(str(error).split())}): it must lead to the same server and database "
                "as here"
            ) from error
        name = sql.Literal(_name(self.backup_id)).as_string()
        try:
            connection.execute(f"SET application_name = {name}")
        except BaseException:
            connection.close()
            raise
        return connection


@dataclass
class _Pool:
    readers: _Joined
    users: int = 0
    timer: threading.Timer | None = field(default=None, repr=False)


_pools: dict[RemoteReaders, _Pool] = {}
_lock = threading.Lock()


def _entered(wanted: RemoteReaders) -> _Pool:
    with _lock:
        pool = _pools.get(wanted)
        if pool is None:
            if said := problem(wanted.variable):
                raise Failed(f"a worker cannot read: {said}")
            url = os.environ[wanted.variable]
            readers = _Joined(url, wanted.snapshot)
            readers.variable, readers.backup_id = wanted.variable, wanted.backup_id
            pool = _pools[wanted] = _Pool(readers)
        pool.users += 1
        if pool.timer is not None:
            pool.timer.cancel()
            pool.timer = None
        return pool


def _left(wanted: RemoteReaders, pool: _Pool) -> None:
    with _lock:
        pool.users -= 1
        if not pool.users:
            pool.timer = threading.Timer(_IDLE_SECONDS, _close_idle, [wanted, pool])
            pool.timer.daemon = True
            pool.timer.start()


def _close_idle(wanted: RemoteReaders, pool: _Pool) -> None:
    with _lock:
        if pool.users or _pools.get(wanted) is not pool:
            return
        del _pools[wanted]
    with suppress(adbc.Error):
        pool.readers.close()


def _name(backup_id: str) -> str:
    # As long as PostgreSQL keeps: 63 bytes.
    return f"backup_pipelines backup {backup_id}"
