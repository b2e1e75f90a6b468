"""What a backup on a cluster takes: costs that are measured, and a simulation made of them.

`python -m benchmarks.scale` makes the tables of docs/scale.md anew from docs/scale.json;
`python -m benchmarks.scale --measure` measures on this machine first, in CPU seconds.
"""

import argparse
import heapq
import json
import re
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
PAGE, NUMBERS = PROJECT / "docs" / "scale.md", PROJECT / "docs" / "scale.json"

MB, GB, TB = 1e6, 1e9, 1e12

# As export.py cuts big tables.
PIECE_BYTES = 128 * 1024 * 1024

# Elapsed seconds of one piece that nobody computes in: the requests of two objects in S3 that are
# written, asked for and read back. Assumed, not measured.
S3_SECONDS = 0.5


@dataclass(frozen=True)
class Costs:
    """CPU seconds of an export; bytes are those of tables on the server's disk."""

    worker_per_gb: float
    server_per_gb: float
    worker_per_piece: float
    server_per_piece: float
    leader_per_piece: float
    """Of the leader and the scheduler together, which do one thing at a time."""
    fixed: float
    """Of a whole backup: its start, pg_dump, the documents, the seal."""
    worker_per_million_rows: float = 0.0
    """The same as by GB, of the rows that were measured."""
    server_per_million_rows: float = 0.0


@dataclass(frozen=True)
class Site:
    """What a backup has: threads of workers, and what its source can give."""

    threads: int
    server_cores: float
    source_mb_per_second: float
    """What the source's disks or its network give for this."""
    seconds_per_piece: float = 0.0
    shared_cores: float | None = None
    """Where workers and server are one machine: its cores."""


def simulate(sizes: Sequence[float], costs: Costs, site: Site) -> float:
    """Seconds of an export of pieces of so many bytes, in their order.

    Every piece that is being read gets the same share of the server's cores and of what the source
    gives, and a core of a worker; the leader gives out one piece after the other.
    """
    worker, server = costs.worker_per_gb / GB, costs.server_per_gb / GB
    waiting = deque(
        # What a piece costs whatever its size, as bytes that take as long.
        size + (costs.worker_per_piece + costs.server_per_piece) / (worker + server)
        for size in sizes
    )
    starts: list[float] = []
    ends: list[float] = []
    now = passed = leader = costs.fixed
    passed = 0.0

    def give_out() -> None:
        nonlocal leader
        leader = max(leader, now) + costs.leader_per_piece
        heapq.heappush(starts, leader + site.seconds_per_piece)

    for _ in range(min(site.threads, len(waiting))):
        give_out()
    left = len(waiting)
    while left:
        rate = _rate(len(ends), worker, server, site)
        done = now + (ends[0] - passed) / rate if ends else float("inf")
        if starts and starts[0] <= done:
            passed += rate * (starts[0] - now) if ends else 0.0
            now = heapq.heappop(starts)
            heapq.heappush(ends, passed + waiting.popleft())
        else:
            passed, now = heapq.heappop(ends), done
            left -= 1
            if len(waiting) > len(starts):
                give_out()
    return now


def _rate(active: int, worker: float, server: float, site: Site) -> float:
    """Bytes a second of each of the pieces that are being read."""
    if not active:
        return 0.0
    rates = [
        1 / worker,
        1 / server,
        site.server_cores / (active * server),
        site.source_mb_per_second * MB / active,
    ]
    if site.shared_cores is not None:
        rates.append(site.shared_cores / (active * (worker + server)))
    return min(rates)


def pieces_of(total: float, piece: float = PIECE_BYTES) -> list[float]:
    """The sizes of the pieces of one big table."""
    whole = int(total // piece)
    rest = total - whole * piece
    return [piece] * whole + ([rest] if rest >= 1 else [])


def limit_of(costs: Costs, site: Site) -> str:
    """What a larger cluster of the same site would wait for, in words."""
    worker, server = costs.worker_per_gb / GB, costs.server_per_gb / GB
    each = PIECE_BYTES * worker + costs.worker_per_piece + site.seconds_per_piece
    rates = {
        "workers": site.threads * PIECE_BYTES / each,
        "the source's cores": site.server_cores / server,
        "the source's disks or network": site.source_mb_per_second * MB,
        "the leader": PIECE_BYTES / costs.leader_per_piece,
    }
    return min(rates, key=lambda name: rates[name])


# The source's gigabits and cores are those of servers one can rent; 400 MB/s is a plain network
# volume, 1,200 MB/s ten gigabit.
SITES = (
    ("one machine, 2 readers", Site(2, 8, 400, S3_SECONDS)),
    ("one machine, 8 readers", Site(8, 8, 400, S3_SECONDS)),
    ("16 threads", Site(16, 16, 1200, S3_SECONDS)),
    ("32 threads", Site(32, 16, 1200, S3_SECONDS)),
    ("64 threads", Site(64, 32, 1200, S3_SECONDS)),
    ("64 threads, fast replica", Site(64, 64, 3000, S3_SECONDS)),
)


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The tables of the page, of what was measured."""
    costs = Costs(**found["costs"])
    return {
        "costs": _costs_table(costs),
        "points": f"{_points_table(costs, found['points'])}\n\n{_machine(found)}",
        "sizes": _sizes_table(costs),
    }


def _machine(found: Mapping[str, Any]) -> str:
    cores = found["points"][0]["cores"]
    others = found["others"]
    # None: of a run that did not measure it, on a machine that was busy.
    what = "something else ran" if others is None else f"others used {others:g} of them"
    return (
        f"Measured {found['at']} on {cores} cores while {what}: CPU times are to be compared, "
        "wall times only where others used next to nothing."
    )


def _costs_table(costs: Costs) -> str:
    rows = [
        ("1 GB of a table", costs.worker_per_gb, costs.server_per_gb, 0.0),
        ("1 million rows of it", costs.worker_per_million_rows, costs.server_per_million_rows, 0.0),
        ("one piece", costs.worker_per_piece, costs.server_per_piece, costs.leader_per_piece),
    ]
    lines = [
        "| CPU seconds of | worker | server | leader and scheduler |",
        "|---|---|---|---|",
        *(f"| {name} | {a:.3g} | {b:.3g} | {c:.3g} |" for name, a, b, c in rows),
        f"| a whole backup besides | | | {costs.fixed:.3g} |",
    ]
    return "\n".join(lines)


def _points_table(costs: Costs, points: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| table | pieces | worker threads | CPU s, model | CPU s, measured | wall s, model |"
        " wall s, measured | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in points:
        cpu, wall = predicted(costs, one)
        of = "fitted to it" if one["fitted"] else "not fitted to it"
        lines.append(
            f"| {one['table_bytes'] / MB:,.0f} MB | {one['pieces']} | {one['threads']} |"
            f" {cpu:.2f} | {one['cpu']:.2f} | {wall:.1f} | {one['seconds']:.1f} | {of} |"
        )
    return "\n".join(lines)


def predicted(costs: Costs, point: Mapping[str, Any]) -> tuple[float, float]:
    """CPU and wall seconds of a measured point, by the model."""
    size, count = point["table_bytes"], point["pieces"]
    each = costs.worker_per_piece + costs.server_per_piece + costs.leader_per_piece
    by_size = (costs.worker_per_gb + costs.server_per_gb) * size / GB
    site = Site(point["threads"], point["cores"], 1e6, shared_cores=point["cores"])
    wall = simulate([size / count] * count, costs, site)
    return by_size + count * each + costs.fixed, wall


def _sizes_table(costs: Costs) -> str:
    lines = [
        "| cluster | source | 100 GB | 1 TB | 10 TB | it waits for |",
        "|---|---|---|---|---|---|",
    ]
    for name, site in SITES:
        hours = [
            _duration(simulate(pieces_of(size), costs, site)) for size in (100 * GB, TB, 10 * TB)
        ]
        source = f"{site.server_cores:g} cores, {site.source_mb_per_second:,.0f} MB/s"
        lines.append(f"| {name} | {source} | {' | '.join(hours)} | {limit_of(costs, site)} |")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def rendered(text: str, found: Mapping[str, Any]) -> str:
    """The page with its tables made anew."""
    for name, table in tables(found).items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(
            pattern, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"{PAGE} has no place for the table {name}")
    return text


def main(arguments: Sequence[str]) -> int:
    """Make the page anew, and measure before if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure first, some minutes")
    parser.add_argument("--rows", type=int, default=400_000, help="rows of the larger table")
    found = parser.parse_args(arguments)
    if found.measure:
        from benchmarks.scale_points import measure

        NUMBERS.write_text(json.dumps(measure(found.rows), indent=1) + "\n")
    PAGE.write_text(rendered(PAGE.read_text(), json.loads(NUMBERS.read_text())))
    return 0


def as_json(costs: Costs) -> dict[str, float]:
    """The costs as they are kept."""
    return asdict(costs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
