"""What the audit trail could not be told, kept on this machine until the store answers again.

One file for each, under `.spool/<system>/` of DAGSTER_HOME; the next operation writes them first.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from backup_pipelines import environment, state_log
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines.trail.audit import Happened, Head

_FOLDER = ".spool"


class _Kept(BaseModel):
    """One file of the spool."""

    store: str
    """For which store, since another must not get it; empty where it was not even known."""
    happened: Happened


def add(store_url: str, system: str, happened: Happened) -> Path:
    """Keep what happened for the trail in the store at this URL; raises OSError."""
    folder = _folder(system)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{state_log.stamp(happened.at)}-{happened.id}.json"
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w") as file:
        file.write(_Kept(store=store_url, happened=happened).model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return path


def waiting(system: str) -> list[Happened]:
    """What is kept for the trail of a system, oldest first; files that cannot be read are not."""
    return [kept.happened for _, kept in _files(system)]


def flush(store: Store, system: str) -> list[tuple[Happened, Head]]:
    """Write to the trail what is kept for this store, oldest first; gives where each is now.

    Raises Failed when the store refuses again; what is not written stays.
    """
    done: list[tuple[Happened, Head]] = []
    if not _of_store(store, system):
        return done
    with _alone(system):
        # The store may have written some, and only its answers got lost.
        there = audit.written(store, system)
        for path, happened in _of_store(store, system):
            head = there.get(happened.id) or audit.append(store, system, happened)
            done.append((happened, head))
            path.unlink()
    return done


def _of_store(store: Store, system: str) -> list[tuple[Path, Happened]]:
    found = _files(system)
    return [(path, kept.happened) for path, kept in found if kept.store in ("", store.url)]


def _files(system: str) -> list[tuple[Path, _Kept]]:
    found: list[tuple[Path, _Kept]] = []
    # The names begin with the time.
    for path in sorted(_folder(system).glob("*.json")):
        try:
            found.append((path, _Kept.model_validate_json(path.read_bytes())))
        except (ValidationError, FileNotFoundError):
            # One bad file must not hold back the others; another process may be flushing.
            continue
    return found


@contextmanager
def _alone(system: str) -> Generator[None]:
    with (_folder(system) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _folder(system: str) -> Path:
    return environment.home() / _FOLDER / system
