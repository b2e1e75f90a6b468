"""A table of 2 GB uploaded to an S3 server over HTTP: peak memory, and what overlaps.

The backup runs in a process of its own; requests are seen by a proxy in front of rclone's server,
the reading of rows by `pg_stat_progress_copy`.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from backup_pipelines_tests.fix_s3 import rclone
from backup_pipelines_tests.s3_proxy import Proxy, proxied
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import PROJECT, tree_rss
from benchmarks.page import number

# At 100 times the demo.
GB = 2.0

READERS = (1, 2)

LIMIT_MB = 300

_SAMPLE_SECONDS = 0.05
_MB = 1_000_000

# About 1,120 bytes a row, of which zstd gets rid of a quarter only.
_ROW_BYTES = 1_120
_TABLE = "CREATE TABLE big (id bigint, note text)"
_ROWS = """
INSERT INTO big
SELECT g, encode(a || b || c || d || sha512(a) || sha512(b) || sha512(c) || sha512(d) ||
                 sha512(a || b) || sha512(b || c) || sha512(c || d) || sha512(d || a), 'base64')
  FROM generate_series(1, %s) AS g,
       LATERAL (SELECT sha512(g::text::bytea) AS a, sha512((g || 'b')::bytea) AS b,
                       sha512((g || 'c')::bytea) AS c, sha512((g || 'd')::bytea) AS d) AS x
"""


@dataclass(frozen=True)
class Measured:
    """One backup of the table over HTTP; moments in seconds since its process was started."""

    readers: int
    seconds: float
    peak_bytes: int
    tree_bytes: int
    uploaded_bytes: int
    first_upload: float
    last_read: float
    uploads_while_reading: int
    uploads: int


def measure_all(bench: Bench) -> Section:
    """One backup of the table by each number of readers: what it holds does not vary."""
    url = bench.empty_database()
    table_bytes = _fill(url, GB * bench.scale / 100)
    measured = [_measure(url, bench.folder / bench.new_name(), readers) for readers in READERS]
    bench.drop(url)
    return _section(table_bytes, measured)


def _fill(url: str, gb: float) -> int:
    with psycopg.connect(url) as connection:
        # In the transaction that makes the table its rows need no log.
        connection.execute(_TABLE)
        connection.execute((_ROWS % int(gb * 1e9 / _ROW_BYTES)).encode())
        found = connection.execute("SELECT pg_table_size('big')").fetchone()
    assert found is not None
    return int(found[0])


def _measure(url: str, folder: Path, readers: int) -> Measured:
    folder.mkdir()
    with rclone(folder) as server, proxied(server) as proxy:
        bucket = server.bucket()
        command = [sys.executable, "-m", "benchmarks.worker", "backup", url, f"s3://{bucket}"]
        command += ["--readers", str(readers)]
        environment = {**os.environ, **proxy.server.environment()}
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
        tree, last_read = _watch(process.pid, url)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        if status:
            raise RuntimeError(f"the backup ended with status {status}")
        uploaded = sum(f.stat().st_size for f in (folder / "data").rglob("*") if f.is_file())
        uploads = _uploads(proxy)
    shutil.rmtree(folder)
    return Measured(
        readers=readers,
        seconds=seconds,
        peak_bytes=usage.ru_maxrss * (1024 if sys.platform == "linux" else 1),
        tree_bytes=tree,
        uploaded_bytes=uploaded,
        first_upload=(uploads or [started])[0] - started,
        last_read=last_read - started,
        uploads_while_reading=sum(moment < last_read for moment in uploads),
        uploads=len(uploads),
    )


def _watch(pid: int, url: str) -> tuple[int, float]:
    """Until the process ends: the peak of its tree's RSS, and when a row was last being read."""
    ended = threading.Event()
    peak, last_read = 0, 0.0
    process = psutil.Process(pid)
    with psycopg.connect(url, autocommit=True) as connection:
        while not ended.is_set():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    break
                peak = max(peak, tree_rss(process))
            except psutil.Error:
                # It ended meanwhile.
                break
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_progress_copy WHERE command = 'COPY TO'"
            ).fetchone()
            if found and found[0]:
                last_read = time.monotonic()
            ended.wait(_SAMPLE_SECONDS)
    return peak, last_read


def _uploads(proxy: Proxy) -> list[float]:
    """When each piece of a part of the table came."""
    return sorted(
        moment
        for moment, (method, path, _) in zip(proxy.moments, proxy.requests, strict=True)
        if method == "PUT" and "partNumber=" in path
    )


def _section(table_bytes: int, measured: Sequence[Measured]) -> Section:
    size = f"a table of {table_bytes / _MB:,.0f} MB over HTTP"
    peak = max(one.peak_bytes for one in measured) / _MB
    heads = ("", "wall s", "peak MB", "peak MB with pg_dump", "uploaded MB", "first upload after s",
             "last row read after s", "uploads before it")  # fmt: skip
    rows = tuple(
        (
            f"{one.readers} reader{'s' * (one.readers > 1)}",
            number(one.seconds),
            number(one.peak_bytes / _MB),
            number(one.tree_bytes / _MB),
            number(one.uploaded_bytes / _MB),
            number(one.first_upload),
            number(one.last_read),
            f"{one.uploads_while_reading} of {one.uploads}",
        )
        for one in measured
    )
    return Section(
        "upload",
        "Upload to S3",
        (Figure(f"peak memory of uploading {size}", peak, "MB", goal=LIMIT_MB),),
        (Grid(size, heads, rows),),
        runs=1,
    )
