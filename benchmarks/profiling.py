"""Where the CPU time of an export goes: threads and processes by the kernel, code by py-spy."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.bench import Bench, Source
from benchmarks.measuring import PROJECT, server_cpu

_SAMPLE_SECONDS = 0.2
_RATE = "200"
_SHOWN = 40


def write(bench: Bench, folder: Path) -> None:
    """Profile our backup of crm into `folder`: threads.txt, stacks.txt and hottest.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    source = bench.crm(bench.scale)
    (folder / "threads.txt").write_text(_threads(bench, source))
    python = bench.peers.python
    if python is None:
        print(f"wrote {folder / 'threads.txt'}; without the peers there is no py-spy")
        return
    stacks = folder.resolve() / "stacks.txt"
    spy = [str(python.with_name("py-spy")), "record", "--native", "--rate", _RATE]
    spy += ["--format", "raw", "--threads", "--output", str(stacks), "--"]
    store = bench.folder / bench.new_name()
    subprocess.run(
        [*spy, *bench.ours("backup", source.url, store.as_uri())], cwd=PROJECT, check=True
    )
    (folder / "hottest.txt").write_text(_hottest(stacks))
    print(f"wrote threads.txt, stacks.txt and hottest.txt into {folder}")


def _threads(bench: Bench, source: Source) -> str:
    """CPU seconds of each thread of the client and each process of the server."""
    bench.settled()
    store = bench.folder / bench.new_name()
    before, started = server_cpu(bench.server_pid), time.monotonic()
    process = psutil.Popen(bench.ours("backup", source.url, store.as_uri()), cwd=PROJECT)
    server = psutil.Process(bench.server_pid)
    used: dict[str, float] = {}
    total = 0.0
    while process.poll() is None:
        try:
            for thread in process.threads():
                name = _thread_name(process.pid, thread.id)
                used[f"client {thread.id} thread {name}"] = thread.user_time + thread.system_time
            for child in process.children(recursive=True):
                _note(used, "client", child)
            for child in server.children():
                _note(used, "server", child)
            times = process.cpu_times()
            total = times.user + times.system
        except psutil.Error:
            # It ended while we looked.
            continue
        time.sleep(_SAMPLE_SECONDS)
    seconds = time.monotonic() - started
    lines = [
        f"{source.title}: {seconds:.2f} s, client {total:.2f} CPU s,"
        f" server {server_cpu(bench.server_pid) - before:.2f} CPU s",
        *(f"{cpu:8.2f}  {name}" for name, cpu in _falling(used) if cpu >= 0.01),
    ]
    return "\n".join(lines) + "\n"


def _note(used: dict[str, float], whose: str, process: psutil.Process) -> None:
    try:
        times = process.cpu_times()
        what = " ".join(process.cmdline())[:100] or process.name()
        key = next((one for one in used if one.startswith(f"{whose} {process.pid} ")), None)
        # A server process names in its title what it does, which changes.
        used[key or f"{whose} {process.pid} {what}"] = times.user + times.system
    except psutil.Error:
        return


def _thread_name(pid: int, thread: int) -> str:
    try:
        return Path(f"/proc/{pid}/task/{thread}/comm").read_text().strip()
    except OSError:
        return ""


def _hottest(stacks: Path) -> str:
    """The innermost frames, and the outer ones of Python, by their share of the samples."""
    own, within = Counter[str](), Counter[str]()
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        within.update(dict.fromkeys(set(frames), int(count)))
    total = sum(own.values()) or 1
    lines = [f"{total} samples at {_RATE} a second", "", "Of the innermost frame:"]
    lines += [f"{n / total:7.1%}  {name}" for name, n in own.most_common(_SHOWN)]
    lines += ["", "With everything below:"]
    lines += [f"{n / total:7.1%}  {name}" for name, n in within.most_common(2 * _SHOWN)]
    return "\n".join(lines) + "\n"


def _falling(used: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(used.items(), key=lambda item: -item[1])
