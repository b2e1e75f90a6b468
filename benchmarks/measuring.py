"""Running a command and saying what it took: seconds, CPU of client and server, memory, bytes.

CPU of a client is what the kernel says of the process and of all that it waited for. CPU of the
server is the difference of what all of its processes have used, those that have ended included.
"""

import json
import os
import resource
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parent.parent

# Finer samples of the memory would take the CPU that is measured.
_SAMPLE_SECONDS = 0.05
_POLL_SECONDS = 0.005

# A backend that was left counts for its parent as soon as that has noticed.
_REAP_SECONDS = 0.1


@dataclass(frozen=True)
class Run:
    """What one run took, or the medians of several."""

    seconds: float
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    peak_bytes: float = 0.0
    bytes_out: float = 0.0
    temp_bytes: float = 0.0
    """Of all temporary files that it had at once, those without a name too."""
    work_seconds: float = 0.0
    """Seconds without starting Python and importing, as far as the command says them."""

    @property
    def cpu(self) -> float:
        """CPU seconds of client and server."""
        return self.client_cpu + self.server_cpu


class CommandFailed(Exception):
    """A measured command ended with an error."""


def medians(runs: Sequence[Run]) -> Run:
    """The median of each number."""
    return Run(**{f.name: median(getattr(run, f.name) for run in runs) for f in fields(Run)})


def in_turns(contenders: Mapping[str, Callable[[int], Run]], repeats: int) -> dict[str, Run]:
    """The medians of each; they run in turns, so that what else the machine does hits all."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for turn in range(repeats):
        for name, run in contenders.items():
            runs[name].append(run(turn))
            said = runs[name][-1]
            print(f"  {name}: {said.seconds:.2f} s, CPU {said.cpu:.2f} s", flush=True)
    return {name: medians(found) for name, found in runs.items()}


def run(
    command: Sequence[str | Path],
    *,
    server: int,
    output: Callable[[], int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run it to its end; `server` is the process that started all others of the server.

    `output` says afterwards how many bytes came out. A last line of stdout that is JSON with
    `seconds` says how long the work took after the imports. Raises CommandFailed.
    """
    with tempfile.TemporaryDirectory(prefix="bp-bench-run-") as folder:
        temp, said = Path(folder) / "temp", Path(folder) / "said"
        temp.mkdir()
        variables = {**os.environ, "TMPDIR": str(temp), **(environment or {})}
        used = server_cpu(server)
        with said.open("wb") as out, (Path(folder) / "errors").open("wb") as errors:
            started = time.monotonic()
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=PROJECT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )
            status, usage, peak, largest = _watch(process, temp)
            seconds = time.monotonic() - started
        if status:
            text = (Path(folder) / "errors").read_text(errors="replace")
            raise CommandFailed(f"{command[0]} ended with {status}: {text.strip()[-2000:]}")
        time.sleep(_REAP_SECONDS)
        return Run(
            seconds=seconds,
            client_cpu=usage.ru_utime + usage.ru_stime,
            server_cpu=server_cpu(server) - used,
            peak_bytes=peak,
            bytes_out=output() if output else 0,
            temp_bytes=largest,
            work_seconds=float(last_json(said.read_text()).get("seconds", 0.0)),
        )


def last_json(text: str) -> dict[str, Any]:
    """The last line of what a command said, if it is a JSON object."""
    last = text.strip().rpartition("\n")[2]
    return json.loads(last) if last.startswith("{") else {}


def server_cpu(pid: int) -> float:
    """CPU seconds of all processes of a server so far."""
    main = psutil.Process(pid)
    times = main.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in main.children(recursive=True):
        try:
            of_child = child.cpu_times()
        except psutil.Error:
            # It has ended since the listing, and counts for its parent in the next look.
            continue
        total += of_child.user + of_child.system
    return total


def folder_bytes(folder: Path) -> int:
    """How many bytes the files of a folder have."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def tree_rss(process: psutil.Process) -> int:
    """The memory of a process and of all below it; 0 when one ended meanwhile."""
    try:
        tree = (process, *process.children(recursive=True))
        return sum(one.memory_info().rss for one in tree)
    except psutil.Error:
        return 0


def _watch(
    process: subprocess.Popen[bytes], temp: Path
) -> tuple[int, resource.struct_rusage, int, int]:
    """Until it ends: its status, what it used, the peaks of its memory and its temp files."""
    tree, peak, largest, due = psutil.Process(process.pid), 0, 0, 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage, peak, largest
        if time.monotonic() >= due:
            peak = max(peak, tree_rss(tree))
            largest = max(largest, temporary_bytes(tree, temp))
            due = time.monotonic() + _SAMPLE_SECONDS
        time.sleep(_POLL_SECONDS)


def temporary_bytes(tree: psutil.Process, folder: Path) -> int:
    """What the files of a folder have, and what the tree holds open that is in no folder.

    A file that never had a name, or has lost it, is seen by its descriptor alone.
    """
    seen: dict[tuple[int, int], int] = {}
    for path in (*folder.rglob("*"), *_open_files(tree, folder)):
        # It may be gone since the listing.
        with suppress(OSError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def _open_files(tree: psutil.Process, folder: Path) -> Iterator[Path]:
    with suppress(psutil.Error, OSError):
        for process in (tree, *tree.children(recursive=True)):
            with suppress(OSError):
                for path in Path(f"/proc/{process.pid}/fd").iterdir():
                    name = os.readlink(path)
                    if name.startswith(f"{folder}/") or name.endswith("(deleted)"):
                        yield path
