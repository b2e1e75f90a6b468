"""Locking backups as part of a run: the backup is whole by then, and nothing here undoes that."""

import dagster as dg

from backup_pipelines.dagster_layer.operations import Operation
from backup_pipelines.progress import sparse
from backup_pipelines.storage import bucket
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.trail.notices import NOT_LOCKED


def prepare(context: dg.OpExecutionContext, system: System, store: Store) -> None:
    """Make the bucket if there is none, and tell what is left for people to do.

    Raises Refused when the YAML promises locks and the bucket cannot keep them.
    """
    wanted = system.object_lock is not None
    for advice in bucket.ensure(store.url, store.variables, object_lock=wanted):
        context.log.warning(advice)
    if wanted:
        from backup_pipelines.retention import locking

        locking.refuse_unable(store, system)


def lock_due(
    context: dg.OpExecutionContext, system: System, store: Store, work: Operation | None = None
) -> None:
    """Lock what is not locked as the YAML promises; what stands against it becomes a warning."""
    if system.object_lock is None:
        return
    from backup_pipelines.retention import locking

    found = locking.lock_due(store, system, report=sparse(context.log.info))
    if found.done and work is not None:
        work.details["locked"] = len(found.done)
    if found.problems:
        context.log.warning(found.in_words)
        if work is not None:
            work.details[NOT_LOCKED] = found.in_words
