"""Folders for rows on their way, which a killed process does not leave behind for long.

Each is locked by the process that works in it; whoever needs one next removes those that nobody
works in any more.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "backup-pipelines-"
_OWNER = ".owner"


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A new folder that only this user can read; it goes with the block."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name)
        with open(folder / f"{_OWNER}.new", "w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            # Under its name it is locked from the beginning: a sweep cannot come in between.
            (folder / f"{_OWNER}.new").rename(folder / _OWNER)
            yield folder


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another process may be sweeping, too, or ending just now.
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                _remove_unless_used(folder)


def _remove_unless_used(folder: Path) -> None:
    with open(folder / _OWNER) as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)
