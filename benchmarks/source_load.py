"""What a backup does to the application beside it: pgbench alone, beside ours, beside pg_dump."""

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import psycopg
from psycopg import Connection

from benchmarks.bench import Bench, Source
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import PROJECT, CommandFailed
from benchmarks.page import number

_CLIENTS = 4

# pgbench's own tables: 10 * 100,000 accounts, so that its clients seldom wait for each other.
_PGBENCH_SCALE = 10

# A window at 100 times the demo, in which a backup beside pgbench ends, and at the least; a try
# for the tests alone is shorter.
_SECONDS = 120.0
_LEAST_SECONDS = 20.0
_TRY_SECONDS = 6.0

_LOOK_SECONDS = 0.02

# The first moments fill caches.
_WARM_UP = 1.0

# The last query of a session that waits is in it too: short ones are seen.
_COPYING = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND query ILIKE 'COPY %'
   AND (application_name LIKE 'backup_pipelines%' OR application_name = 'pg_dump')
"""

_A_SECOND = "transactions a second"

_ALONE = "pgbench alone"
_OURS = "beside our backup"


# Seconds since 1970.
Span = tuple[float, float]


@dataclass(frozen=True)
class Felt:
    """What pgbench's clients had of it."""

    transactions: float
    """A second."""
    p95: float
    """Milliseconds."""
    rounds: float
    """How many backups ended meanwhile."""
    seconds: float
    """How long rows were read."""


def measure(bench: Bench) -> Section:
    """All three, in turns."""
    source = bench.crm(bench.scale)
    copy = bench.copy_of(source)
    url = copy.url
    seconds = max(_LEAST_SECONDS, _SECONDS * min(1.0, bench.scale / 100))
    if bench.scale < 1:
        seconds = _TRY_SECONDS
    scale = _PGBENCH_SCALE if bench.scale >= 1 else 1
    print(f"pgbench beside backups of {source.title}", flush=True)
    subprocess.run(
        [bench.peers.program("pgbench"), "-i", "-q", "-s", str(scale), url],
        check=True,
        capture_output=True,
    )
    pg_dump = f"beside {bench.peers.pg_dump}"
    beside: dict[str, Callable[[Path], list[str]] | None] = {
        _ALONE: None,
        _OURS: lambda into: bench.ours("backup", url, into.as_uri()),
        pg_dump: lambda into: [
            str(bench.peers.program("pg_dump")), "--no-sync", "-Fd", "-j2", "-Z",
            bench.peers.compression, "-f", str(into), "-d", url,
        ],
    }  # fmt: skip
    felt: dict[str, list[Felt]] = {name: [] for name in beside}
    for _ in range(bench.repeats):
        for name, command in beside.items():
            felt[name].append(_felt(bench, copy, command, seconds))
            one = felt[name][-1]
            print(f"  {name}: {one.transactions:.0f} a second, p95 {one.p95:.1f} ms", flush=True)
    bench.drop(url)
    return section(felt, pg_dump, source.title)


def section(felt: Mapping[str, Sequence[Felt]], pg_dump: str, title: str) -> Section:
    """What is published: of windows in which a backup ended only."""
    heads = ("", _A_SECOND, "p95 ms", "seconds of reading", "backups that ended meanwhile")
    found = {name: _medians(windows) for name, windows in felt.items()}
    missing = [n for n in (_OURS, pg_dump) if any(one.rounds < 1 for one in felt[n])]
    rows = tuple(
        (
            name,
            *(("not measured",) * 2 if name in missing else (number(one.transactions),
                                                             number(one.p95))),
            number(one.seconds),
            f"{one.rounds:.0f}",
        )
        for name, one in found.items()
    )  # fmt: skip
    figures = _figures(found, pg_dump, missing)
    notes = tuple(f"Not measured: pgbench {name}. No backup ended in time." for name in missing)
    return Section("load", "Load on the source", figures, (Grid(title, heads, rows),), notes)


def _figures(found: Mapping[str, Felt], pg_dump: str, missing: Sequence[str]) -> tuple[Figure, ...]:
    if _OURS in missing:
        return ()
    ours = found[_OURS]
    figures: list[Figure] = []
    for name in (_ALONE, pg_dump):
        other = found[name]
        speed, p95 = (None, None) if name in missing else (other.transactions, other.p95)
        figures += [
            Figure("pgbench beside our backup", ours.transactions, _A_SECOND, name, speed,
                   at_least=True),
            Figure("p95 of a transaction beside our backup", ours.p95, "ms", name, p95),
        ]  # fmt: skip
    return tuple(figures)


def _medians(found: Sequence[Felt]) -> Felt:
    return Felt(
        median(one.transactions for one in found),
        median(one.p95 for one in found),
        median(one.rounds for one in found),
        median(one.seconds for one in found),
    )


def _felt(
    bench: Bench, source: Source, command: Callable[[Path], list[str]] | None, seconds: float
) -> Felt:
    bench.settled()
    logs = bench.folder / bench.new_name()
    logs.mkdir()
    pgbench = subprocess.Popen(
        [str(bench.peers.program("pgbench")), "-n", "-c", str(_CLIENTS), "-T",
         str(round(seconds + 2 * _WARM_UP)), "--log", f"--log-prefix={logs / 'log'}", source.url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(_WARM_UP)
        rounds, spans = _keep_on(bench, source, command, seconds)
        if pgbench.wait():
            raise RuntimeError(f"pgbench ended with {pgbench.returncode}")
    finally:
        pgbench.kill()
        pgbench.wait()
    latencies = sorted(_latencies(logs, spans))
    shutil.rmtree(logs)
    counted = sum(ended - started for started, ended in spans)
    if not latencies:
        return Felt(0.0, 0.0, rounds, counted)
    p95 = latencies[int(len(latencies) * 0.95)] / 1000
    return Felt(len(latencies) / counted, p95, rounds, counted)


def _keep_on(
    bench: Bench, source: Source, command: Callable[[Path], list[str]] | None, seconds: float
) -> tuple[int, list[Span]]:
    """One backup after the other until the time is over: how many ended, and when rows were read.

    What comes before the first COPY is the start of a program, which the database does not notice.
    """
    until, rounds, spans = time.monotonic() + seconds, 0, list[Span]()
    if command is None:
        started = time.time()
        time.sleep(seconds)
        return 0, [(started, time.time())]
    with psycopg.connect(source.url, autocommit=True) as looks:
        while time.monotonic() < until:
            into = bench.folder / bench.new_name()
            span, has_ended = _round(looks, command(into), into.with_suffix(".errors"), until)
            shutil.rmtree(into, ignore_errors=True)
            if span is not None:
                spans.append(span)
                rounds += has_ended
    return rounds, spans


def _round(
    looks: Connection, command: Sequence[str], errors: Path, until: float
) -> tuple[Span | None, bool]:
    """One backup: from its first COPY to its end, or to `until`, and whether it has ended."""
    before, started = _copying(looks), None
    with errors.open("wb") as said:
        running = psutil.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=said)
    while running.poll() is None and time.monotonic() < until:
        if started is None and _copying(looks) - before:
            started = time.time()
        time.sleep(_LOOK_SECONDS)
    ended, status = time.time(), running.poll()
    if status is None:
        _stop(running)
    elif status:
        text = errors.read_text(errors="replace")
        raise CommandFailed(f"the backup beside pgbench ended with {status}: {text}")
    return None if started is None else (started, ended), status is not None


def _copying(looks: Connection) -> set[int]:
    """The sessions of a backup that read rows, or have done so."""
    return {int(pid) for (pid,) in looks.execute(_COPYING)}


def _stop(running: psutil.Popen) -> None:
    for one in (*running.children(recursive=True), running):
        # It may have ended since the listing.
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    running.wait()


def _latencies(logs: Path, spans: Sequence[Span]) -> list[int]:
    """Microseconds of the transactions that ended in one of the spans."""
    found: list[int] = []
    for log in logs.iterdir():
        for line in log.read_text().splitlines():
            # client, transaction, latency, script, second, microsecond
            fields = line.split()
            at = int(fields[4]) + int(fields[5]) / 1e6
            if any(started <= at <= ended for started, ended in spans):
                found.append(int(fields[2]))
    return found
