"""Processes that tests start, and all that these have started, whoever their parent is now."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

# In the environment of a process and of everything that it starts.
MARK = "BACKUP_PIPELINES_TEST"


def start(
    command: Sequence[str], *, folder: Path, log: Path, mark: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command in a group of its own that Ctrl-C can interrupt, as in a terminal."""
    # A runner in the background of a script ignores Ctrl-C, and all that it starts would as well.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    finally:
        signal.signal(signal.SIGINT, before)


def marked(mark: str) -> list[psutil.Process]:
    """The processes that carry a mark and still live."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # The dead have no environment any more.
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found
