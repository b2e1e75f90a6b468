"""Programs that have one of their streams on a terminal, whose size the terminal alone knows."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_ROWS = 24


@dataclass(frozen=True)
class Seen:
    """What a terminal got, what came out of the other streams, and the exit code."""

    shown: str
    out: str
    err: str
    code: int


def on_terminal(
    command: Sequence[str], *, stream: Literal["stdout", "stderr"], columns: int, **environment: str
) -> Seen:
    """Run a program with this stream on a terminal of so many columns."""
    unset = ("COLUMNS", "LINES", "NO_COLOR", "TERM")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    streams: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: theirs}
    shown = b""
    env |= {"TERM": "xterm", **environment}
    with subprocess.Popen(command, env=env, text=True, **streams) as process:  # pyright: ignore
        os.close(theirs)
        while chunk := _read(ours):
            shown += chunk
        out, err = process.communicate()
    os.close(ours)
    return Seen(shown.decode(), out or "", err or "", process.returncode)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 100_000)
    except OSError:
        # Linux says so when the other side is closed.
        return b""
