"""The peak memory of a backup by the size of its table: it must not grow with the rows.

Every size is backed up by a fresh process, whose tree (pg_dump included) is sampled for its RSS.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.bench import Bench
from benchmarks.data import fill
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import PROJECT, tree_rss
from benchmarks.page import number

# Rows at 100 times the demo.
SIZES = (200_000, 2_000_000)

# A table below the size of a piece is read by one reader, whatever the others could do.
READERS = (1, 2)

_SAMPLE_SECONDS = 0.02

_MB = 1e6


@dataclass(frozen=True)
class Measured:
    """One backup: what it read and what it took."""

    rows: int
    readers: int
    table_bytes: int
    peak_bytes: int
    seconds: float


def measure(url: str, folder: Path, rows: int, table_bytes: int, readers: int) -> Measured:
    """Back the database at `url` up in a process of its own and watch its memory."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.worker", "backup", url, folder.as_uri()]
    command += ["--readers", str(readers)]
    process = psutil.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_rss(process))
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the backup of {rows:,} rows ended with {process.returncode}")
    return Measured(rows, readers, table_bytes, peak, time.monotonic() - started)


def measure_all(bench: Bench) -> Section:
    """Every size by every number of readers."""
    measured: list[Measured] = []
    for size in SIZES:
        rows = max(1_000, round(size * bench.scale / 100))
        url = bench.empty_database()
        table_bytes = fill(url, rows)
        for readers in READERS:
            runs: list[Measured] = []
            for _ in range(bench.repeats):
                store = bench.folder / bench.new_name()
                runs.append(measure(url, store, rows, table_bytes, readers))
                shutil.rmtree(store)
            peak, seconds = (median(found) for found in zip(
                *((one.peak_bytes, one.seconds) for one in runs), strict=True))  # fmt: skip
            measured.append(Measured(rows, readers, table_bytes, round(peak), seconds))
            print(f"  {rows:,} rows, {readers} readers: {peak / _MB:,.0f} MB", flush=True)
        bench.drop(url)
    return _section(measured)


def _section(measured: Sequence[Measured]) -> Section:
    figures: list[Figure] = []
    for readers in READERS:
        small, large = [one for one in measured if one.readers == readers]
        what = f"peak memory, {large.rows:,} contacts, {readers} reader{'s' * (readers > 1)}"
        against = f"{small.rows:,} contacts"
        figures.append(
            Figure(what, large.peak_bytes / _MB, "MB", against, small.peak_bytes / _MB, 1.3)
        )
    heads = ("", "rows", "table MB", "peak MB", "wall s")
    rows = tuple(
        (
            f"{one.readers} reader{'s' * (one.readers > 1)}",
            f"{one.rows:,}",
            number(one.table_bytes / _MB),
            number(one.peak_bytes / _MB),
            number(one.seconds),
        )
        for one in sorted(measured, key=lambda one: (one.readers, one.rows))
    )
    grid = Grid("Contacts", heads, rows)
    return Section("memory", "Memory by size of the table", tuple(figures), (grid,))
