"""What a first backup needs of a store: a trial object is written, read and removed again.

Its key is that of the marker of a backup that has started: a host's rights may end at the folder
of backups, and should this look be killed, the next backup clears the marker away.
"""

import shutil
import ssl
import stat
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.exceptions import AlreadyExistsError

from backup_pipelines import layout
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import BackupError, Failed, NoStore
from backup_pipelines.exporting.estimate import Estimate
from backup_pipelines.preflighting.line import Line, collected, not_checked, ok, warning, wrong
from backup_pipelines.settings import parse_size
from backup_pipelines.storage import s3, write_once
from backup_pipelines.storage.object_lock import Locks
from backup_pipelines.storage.store import Store
from backup_pipelines.storage.variables import USUAL, Variables
from backup_pipelines.system import System
from backup_pipelines.wording import size

_TRIAL = b'{"preflight": "removed at once; the next backup removes it where that failed"}'

_LINK_LIFETIME = timedelta(minutes=1)
_ANSWER_SECONDS = 10.0

_LOOK_YOURSELF = "Look at the bucket's policy yourself."


@contextmanager
def left_as_it_was(url: str, name: str) -> Generator[None]:
    """Remove the folders that opening and trying a store made, if it is one in a folder."""
    folder = _folder(url)
    inside = folder / layout.backups_prefix(name) if folder else None
    missing = [path for path in (inside, *inside.parents) if not path.exists()] if inside else []
    try:
        yield
    finally:
        # The deepest comes first; what others have put something into stays.
        for made in missing:
            with suppress(OSError):
                made.rmdir()


def look(check: str, name: str, url: str, variables: Variables = USUAL) -> Iterator[Line]:
    """Whether objects of a system with this name can be written once, read and removed."""
    store = Store(url, variables)
    try:
        store.folders("")
    except NoStore as error:
        yield warning(check, str(error), "Look again when it is there: nothing was tried yet.")
        return
    yield ok(check, f"{store.url} can be listed")
    backup = str(BackupId.new("manual", datetime.now(UTC)))
    try:
        yield from _tried(check, store, layout.started_key(name, backup))
    finally:
        with suppress(BackupError):
            store.delete_folder(layout.backup_prefix(name, backup))


@contextmanager
def trial(store: Store, name: str) -> Generator[str]:
    """The id of a backup that there is not, with its marker in the store while the block lasts."""
    backup = str(BackupId.new("manual", datetime.now(UTC)))
    key = layout.started_key(name, backup)
    store.put_new(key, _TRIAL)
    try:
        yield backup
    finally:
        with suppress(BackupError):
            store.delete([key])
            store.delete_folder(layout.backup_prefix(name, backup))


def room(url: str, system: System, estimate: Estimate) -> Iterator[Line]:
    """Whether a backup of the estimated size fits on the disk and into the limit of the YAML."""
    limit, expected = parse_size(system.storage_limit), size(estimate.stored_bytes)
    folder = _folder(url)
    if folder is not None:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        said = f"{size(free)} free on the disk of the store, about {expected} for a backup"
        if free < estimate.stored_bytes:
            yield wrong("room", said, "Make room there, or name another store.")
        elif free < limit:
            yield warning(
                "room",
                f"{said}, but the YAML's storage_limit is {system.storage_limit}",
                "The disk will be full before any guard says so: lower storage_limit.",
            )
        else:
            yield ok("room", said)
    kept = system.retention.keep_last
    if estimate.stored_bytes * max(1, kept) > limit:
        yield warning(
            "storage_limit",
            f"{system.storage_limit}, and {max(1, kept)} backups of about {expected} are kept",
            "Raise storage_limit, or lower keep_last under retention.",
        )
    else:
        yield ok("storage_limit", f"{system.storage_limit}, about {expected} for a backup")


def locks(system: System, store: Store | None) -> Iterator[Line]:
    """Whether the bucket locks objects, where the YAML wants them locked; None is no bucket yet."""
    spec = system.object_lock
    if spec is None:
        yield ok("object lock", "not asked for in the YAML")
    elif store is None:
        yield not_checked("object lock", "the store does not answer, or is not there yet")
    else:
        Locks(store).refuse_unable()
        yield ok("object lock", f"the bucket locks objects; {spec.mode}, {spec.days} days")


def _tried(check: str, store: Store, key: str) -> Iterator[Line]:
    def write() -> Line:
        store.put_new(key, _TRIAL)
        return ok(f"{check}: write", "a trial object was written")

    def read() -> Line:
        if store.get(key) == _TRIAL:
            return ok(f"{check}: read", "and read back")
        return wrong(f"{check}: read", f"{store.uri(key)} reads back with other bytes")

    def remove() -> Line:
        store.delete([key])
        if store.exists(key):
            return wrong(f"{check}: remove", f"{store.uri(key)} is there after its removal")
        return ok(f"{check}: remove", "and removed")

    # Each step by itself: what is refused in one does not end the others.
    written = collected(f"{check}: write", lambda: [write()])
    yield from written
    if any(line.status == "wrong" for line in written):
        return
    once, private = f"{check}: write once", f"{check}: private"
    yield from collected(f"{check}: read", lambda: [read()])
    yield from collected(once, lambda: [_once(once, store, key)])
    yield from collected(private, lambda: [_private(private, store, key)])
    yield from collected(f"{check}: remove", lambda: [remove()])


def _once(check: str, store: Store, key: str) -> Line:
    try:
        store.put_new(key, _TRIAL)
    except Failed as error:
        if not isinstance(error.__cause__, AlreadyExistsError):
            # It says nothing about whether the object would have been replaced.
            raise
        if store.is_write_once is False:
            return warning(
                check,
                write_once.NOT_ENFORCED,
                "It is looked for before each write instead; let one host write to this store.",
            )
        return ok(check, "a second write was refused")
    return wrong(check, f"{store.uri(key)} could be overwritten")


def _private(check: str, store: Store, key: str) -> Line:
    """Whether somebody without any credentials is refused the trial object."""
    folder = _folder(store.url)
    if folder is not None:
        if _is_open(folder):
            return warning(
                check,
                f"other users of this machine may look into {folder}",
                f"Take it from them: chmod o-rwx {folder}",
            )
        return ok(check, f"other users of this machine may not look into {folder}")
    [link] = store.links([key], _LINK_LIFETIME)
    authority = s3.ca_bundle(store.variables)
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    asked = link.partition("?")[0]
    try:
        with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS, context=context) as answer:
            is_read = answer.read(len(_TRIAL) + 1) == _TRIAL
    except urllib.error.HTTPError as error:
        error.close()
        return ok(check, f"without credentials the server answers {error.code}")
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split())
        return warning(
            check,
            f"not known: without credentials there was no answer ({reason})",
            _LOOK_YOURSELF,
        )
    if not is_read:
        said = "not known: without credentials the server answers with something else"
        return warning(check, said, _LOOK_YOURSELF)
    return wrong(
        check,
        "anybody can read the objects of this bucket, without credentials",
        "Block all public access to the bucket before the first backup.",
    )


def _is_open(folder: Path) -> bool:
    """Whether any user of the machine may list the folder, or go further into it."""
    above = all(path.stat().st_mode & stat.S_IXOTH for path in folder.parents)
    return above and bool(folder.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH))


def _folder(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" and parts.path else None
