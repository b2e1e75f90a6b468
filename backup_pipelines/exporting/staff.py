"""Who reads for a backup: threads of this machine, or the workers of a cluster."""

from collections.abc import Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from backup_pipelines.cluster import Cluster
from backup_pipelines.errors import BackupError
from backup_pipelines.exporting import attempts
from backup_pipelines.exporting.export import Destination
from backup_pipelines.postgres import remote_readers
from backup_pipelines.postgres.reader import Lender, Readers
from backup_pipelines.postgres.remote_readers import RemoteReaders
from backup_pipelines.progress import Report
from backup_pipelines.source_load import Allowance, Throttle
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

_NO_LIMIT = Allowance()


@dataclass(frozen=True)
class Staff:
    """Readers of the snapshot, and what runs tasks."""

    readers: Lender
    workers: Executor
    beside: Executor
    """For what stays on the leader's machine: pg_dump."""


@contextmanager
def hired(
    system: System,
    url: str,
    snapshot: str,
    destination: Destination,
    executor: Executor | None,
    report: Report,
    allowance: Allowance = _NO_LIMIT,
) -> Generator[Staff]:
    """The staff of one backup, whose marker is written: the executor's, or threads of our own.

    Raises Refused where a worker of a cluster cannot reach the database or the store.
    """
    doing = f"backup {system.system}"
    with ExitStack() as stack:
        if not isinstance(executor, Cluster):
            readers = Readers(url, snapshot, doing, Throttle(allowance.bytes_per_second))
            stack.callback(readers.close)
            # pg_dump is the first task, so that no more read beside it.
            at_once = allowance.readers(system.readers)
            workers = executor or stack.enter_context(ThreadPoolExecutor(at_once))
            # Whatever ended the backup, its tasks need not read to their ends.
            stack.callback(readers.stop)
            yield Staff(readers, workers, workers)
            return
        store, backup_id = destination.store, destination.backup_id
        variable = system.database_url_env
        executor.refuse_unfit(_unfit, variable, store, system.system, backup_id)
        attempts.remove_late(store, system.system, report)
        stack.callback(remote_readers.end_all, url, backup_id)
        beside = stack.enter_context(ThreadPoolExecutor(1))
        most = allowance.readers_elsewhere()
        rate = allowance.bytes_per_second
        # Only of a known number of tasks can each have its share.
        share = rate / executor.hold(most) if rate or most else 0.0
        remote = RemoteReaders(variable, snapshot, backup_id, share, keeps=most is None)
        yield Staff(remote, executor, beside)


def _unfit(variable: str, store: Store, system: str, backup_id: str) -> str:
    """What a worker lacks; empty where it lacks nothing."""
    lacking = (remote_readers.problem(variable), attempts.problem(store, system, backup_id))
    return "; ".join(each for each in lacking if each)


def unable(readers: RemoteReaders, store: Store | None, system: str, backup_id: str) -> str:
    """What a worker lacks that tries: it joins a snapshot, and looks for the marker of a backup."""
    lacking: list[str] = []
    try:
        with readers.lent():
            pass
    except BackupError as error:
        lacking.append(str(error))
    try:
        if store is not None:
            lacking.append(attempts.problem(store, system, backup_id))
    except BackupError as error:
        lacking.append(str(error))
    return "; ".join(each for each in lacking if each)
