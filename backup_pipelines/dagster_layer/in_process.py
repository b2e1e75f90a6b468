"""Runs that live in a process of the command line: their place in the pool, and their end.

The daemon watches the workers it starts, not these: whoever launches the next one looks whether
the process of an unfinished one still exists.
"""

import socket
import time
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import psutil

PROCESS_TAG = "backup_pipelines/process"

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# The clock may have been set between a process's start and ours.
_SAME_START_SECONDS = 10

_KILLED = "The process that executed this run is gone; it was killed or its machine restarted."


def tags(run_id: str) -> Mapping[str, str]:
    """The tag that says in which process a run executes."""
    # A re-execution copies its parent's tags, so the tag names its run as well.
    process = psutil.Process()
    # A process id is used again; with its start time it is not.
    where = f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"
    return {PROCESS_TAG: f"{run_id} {where}"}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of killed processes of this host as failed; returns their ids."""
    found = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
    dead = [run for run in found if _is_dead(run)]
    for run in dead:
        instance.report_run_failed(run, _KILLED)
        release(instance, run.run_id)
    return [run.run_id for run in dead]


def wait_for_pools(
    instance: dg.DagsterInstance,
    pools: Sequence[str],
    tell: Callable[[str], None],
    poll_seconds: float,
) -> None:
    """Return when nothing holds or waits for the pools, saying meanwhile what does."""
    told: set[str] = set()
    missing: set[str] = set()
    while True:
        users = _users(instance, pools)
        for run_id in sorted(users):
            run = instance.get_run_by_id(run_id)
            if run is None:
                # Deleted with its place still taken; a new one appears within a moment.
                if run_id in missing:
                    release(instance, run_id)
                missing.add(run_id)
            elif run.is_finished:
                # The daemon would do this as well, if there is one.
                release(instance, run_id)
            elif run_id not in told:
                told.add(run_id)
                tell(f"waiting for run {run_id} ({run.job_name}) to end")
        if not users:
            return
        time.sleep(poll_seconds)
        fail_dead_runs(instance)


def claim(
    instance: dg.DagsterInstance, run_id: str, slots: Sequence[tuple[str | None, str]]
) -> bool:
    """Take the places of a run's steps in their pools; its executor finds them taken by itself."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return True
    for pool, step in slots:
        if pool is None:
            continue
        if pool not in storage.get_concurrency_keys():
            storage.initialize_concurrency_limit_to_default(pool)
            if pool not in storage.get_concurrency_keys():
                # An instance that sets no limit has no places; the database's lock remains.
                continue
        if not storage.claim_concurrency_slot(pool, run_id, step).is_claimed:
            return False
    return True


def release(instance: dg.DagsterInstance, run_id: str) -> None:
    """Give back whatever a run holds or waits for."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def end(instance: dg.DagsterInstance, run_id: str) -> None:
    """Mark a run that was left without an end as failed."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "The run was interrupted.")


def _users(instance: dg.DagsterInstance, pools: Sequence[str]) -> set[str]:
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return set()
    infos = [storage.get_concurrency_info(pool) for pool in pools]
    return {used.run_id for info in infos for used in (*info.claimed_slots, *info.pending_steps)}


def _is_dead(run: dg.DagsterRun) -> bool:
    try:
        run_id, host, pid, started = run.tags.get(PROCESS_TAG, "").split()
        if run_id != run.run_id or host != socket.gethostname():
            return False
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < _SAME_START_SECONDS
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except ValueError:
        return False
    except psutil.NoSuchProcess:
        return True
