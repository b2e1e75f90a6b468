"""The points that the simulation of scale.py is fitted to, and checked against.

Each is a backup on a Dask cluster of processes of this machine. What is compared is CPU time, since
that is the same on a busy machine; the wall time is beside it.
"""

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import psycopg

from backup_pipelines import cluster
from backup_pipelines.backup import take_backup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.exporting import export
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.introspect import list_tables
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from benchmarks.bench import main_pid
from benchmarks.data import fill
from benchmarks.measuring import server_cpu
from benchmarks.others import cores, used
from benchmarks.scale import GB, Costs, as_json
from benchmarks.worker import request_for

_REPEATS = 3

# Of the larger table in so many pieces is what one piece costs.
_MANY = 64


@dataclass(frozen=True)
class _Point:
    """One backup: what it read, in how many pieces, by how many threads."""

    variable: str
    rows: int
    table_bytes: int
    pieces: int
    threads: int


@dataclass(frozen=True)
class _Took:
    """Seconds, of the clock and of CPUs."""

    seconds: float
    worker: float
    server: float
    leader: float

    @property
    def cpu(self) -> float:
        return self.worker + self.server + self.leader


def measure(rows: int) -> dict[str, Any]:
    """The costs, the points, and the machine that they are of."""
    with tempfile.TemporaryDirectory(prefix="bp-scale-") as name:
        server = EmbeddedServer(Path(name))
        try:
            with server.running():
                return _measured(server, Path(name), rows)
        finally:
            server.remove()


def _measured(server: EmbeddedServer, folder: Path, rows: int) -> dict[str, Any]:
    half, full = (_table(server, number, rows // part) for number, part in enumerate((2, 1)))
    double = _table(server, 2, rows * 2)
    asked = {
        "half": _Point(*half, 1, 1),
        "full": _Point(*full, 1, 1),
        "pieces": _Point(*full, _MANY, 1),
        "check": _Point(*double, 24, 1),
        "check, two threads": _Point(*double, 24, 2),
    }
    main = main_pid(server)
    before = used(main)
    took = _in_turns(server, folder, asked)
    others = cores(before, used(main))
    costs = _fitted(asked, took)
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "others": round(others, 2),
        "costs": as_json(costs),
        "points": [
            {
                "table_bytes": point.table_bytes,
                "rows": point.rows,
                "pieces": point.pieces,
                "threads": point.threads,
                "cores": psutil.cpu_count(),
                "cpu": round(took[name].cpu, 3),
                "worker": round(took[name].worker, 3),
                "server": round(took[name].server, 3),
                "leader": round(took[name].leader, 3),
                "seconds": round(took[name].seconds, 2),
                "fitted": not name.startswith("check"),
            }
            for name, point in asked.items()
        ],
    }


def _fitted(asked: dict[str, _Point], took: dict[str, _Took]) -> Costs:
    half, full, pieces = (took[name] for name in ("half", "full", "pieces"))
    more = (asked["full"].table_bytes - asked["half"].table_bytes) / GB
    rows = (asked["full"].rows - asked["half"].rows) / 1e6
    extra = _MANY - 1

    def each(what: str) -> float:
        return max(1e-4, (getattr(pieces, what) - getattr(full, what)) / extra)

    worker, server = full.worker - half.worker, full.server - half.server
    costs = Costs(
        worker_per_gb=worker / more,
        server_per_gb=server / more,
        worker_per_piece=each("worker"),
        server_per_piece=each("server"),
        leader_per_piece=each("leader"),
        fixed=0.0,
        worker_per_million_rows=worker / rows,
        server_per_million_rows=server / rows,
    )
    by_size = (costs.worker_per_gb + costs.server_per_gb) * asked["full"].table_bytes / GB
    one = costs.worker_per_piece + costs.server_per_piece + costs.leader_per_piece
    return Costs(**{**as_json(costs), "fixed": max(0.0, full.cpu - by_size - one)})


def _table(server: EmbeddedServer, number: int, rows: int) -> tuple[str, int, int]:
    """A database with so many contacts: its variable, the rows, the bytes that are read."""
    name, variable = f"scale_{number}", f"SCALE_{number}_URL"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    url = server.url(name)
    fill(url, rows)
    os.environ[variable] = url
    with connected(url) as connection:
        return variable, rows, sum(t.table_bytes for t in list_tables(connection))


def _in_turns(server: EmbeddedServer, folder: Path, asked: dict[str, _Point]) -> dict[str, _Took]:
    """The medians of each point; they run in turns, so that what else there is hits all."""
    from distributed import LocalCluster

    runs: dict[str, list[_Took]] = {name: [] for name in asked}
    for threads in sorted({point.threads for point in asked.values()}):
        with LocalCluster(
            n_workers=threads, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as local:
            os.environ[cluster.BACKUP_DASK_SCHEDULER] = local.scheduler_address
            chosen = {name: p for name, p in asked.items() if p.threads == threads}
            for turn in range(_REPEATS + 1):
                for name, point in chosen.items():
                    took = _run(server, folder, point)
                    # The first one imports what all others have.
                    if turn:
                        runs[name].append(took)
                        print(f"  {name}: CPU {took.cpu:.2f} s, {took.seconds:.1f} s", flush=True)
    return {name: _median(found) for name, found in runs.items()}


def _median(found: Sequence[_Took]) -> _Took:
    return _Took(
        median(one.seconds for one in found),
        median(one.worker for one in found),
        median(one.server for one in found),
        median(one.leader for one in found),
    )


def _run(server: EmbeddedServer, folder: Path, point: _Point) -> _Took:
    system = System(
        system="scale",
        database_url_env=point.variable,
        modules={"all": ModuleSpec(tables=["*.*"])},
    )
    request = request_for(system, full_copy=True)
    store, usual = Store((folder / "store").as_uri()), export._PIECE_BYTES
    export._PIECE_BYTES = point.table_bytes // point.pieces + 1
    main = main_pid(server)
    try:
        with cluster.workers() as workers:
            assert workers is not None
            before = _worker_cpu(), server_cpu(main), _own_cpu()
            started = time.monotonic()
            for _ in take_backup(request, os.environ[point.variable], store, executor=workers):
                pass
            seconds = time.monotonic() - started
            # Backends that have ended count for their parent a moment later.
            time.sleep(0.3)
            after = _worker_cpu(), server_cpu(main), _own_cpu()
    finally:
        export._PIECE_BYTES = usual
        shutil.rmtree(folder / "store", ignore_errors=True)
    worker, of_server, leader = (b - a for a, b in zip(before, after, strict=True))
    return _Took(seconds, worker, of_server, leader)


def _worker_cpu() -> float:
    """Of the nannies and workers, which are this process's children while it measures."""
    found = 0.0
    for child in psutil.Process().children(recursive=True):
        if any("multiprocessing" in word for word in child.cmdline()):
            times = child.cpu_times()
            found += times.user + times.system
    return found


def _own_cpu() -> float:
    """Of the leader, pg_dump, and the scheduler, which is in this process."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (
            resource.getrusage(resource.RUSAGE_SELF),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )
    )
