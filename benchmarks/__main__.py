"""Measure, and make docs/performance.md: `python -m benchmarks [NAME ...]`, all without names."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    changes,
    encryption,
    export,
    figures,
    memory,
    page,
    profiling,
    restore,
    small,
    source_load,
    upload,
)
from benchmarks.bench import Bench, bench
from benchmarks.figures import Section, Taken
from benchmarks.measuring import PROJECT
from benchmarks.others import cores, used
from benchmarks.page import FULL_SCALE

BENCHMARKS: Mapping[str, Callable[[Bench], Section]] = {
    "export": export.measure,
    "restore": restore.measure,
    "changes": changes.measure,
    "small": small.measure,
    "load": source_load.measure,
    "memory": memory.measure_all,
    "upload": upload.measure_all,
    "encryption": encryption.measure_all,
}

PAGE = PROJECT / "docs" / "performance.md"
REPEATS = 3


def main(arguments: Sequence[str]) -> int:
    """Run the named benchmarks, all without names; returns the exit code."""
    parser = _parser()
    found = parser.parse_args(arguments)
    unknown = [name for name in found.names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    # The page of the project has full runs only.
    is_full = found.scale >= FULL_SCALE or found.only_page
    into = None if found.profile else found.page or (PAGE if is_full else None)
    if into is None and found.profile is None:
        parser.error("a smaller run does not make docs/performance.md: say --page FILE")
    if into is not None and found.only_page:
        into.write_text(page.render(figures.load(into.with_suffix(".json")), list(BENCHMARKS)))
        return 0
    failed: list[str] = []
    with bench(found.scale, found.repeats, with_peers=not found.without_peers) as made:
        if into is None:
            profiling.write(made, found.profile)
            return 0
        for name in found.names or BENCHMARKS:
            print(f"{name} at {found.scale:g} times the demo", flush=True)
            try:
                keep(into, name, _taken(made, name))
            except Exception:
                # What the others measure for an hour is not thrown away.
                traceback.print_exc()
                failed.append(name)
    print(f"made {into}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}")
    add(
        "--scale",
        type=float,
        default=FULL_SCALE,
        help="times the demo of the largest data; all other sizes follow it",
    )
    add("--repeats", type=int, default=REPEATS, help="runs behind each median")
    add("--page", type=Path, help="the page to make, its numbers in JSON beside it")
    add("--only-page", action="store_true", help="make the page of its numbers, measure nothing")
    add(
        "--without-peers",
        action="store_true",
        help="install nothing: what the project's own PostgreSQL can do only",
    )
    add(
        "--profile",
        type=Path,
        metavar="DIR",
        help="write where the CPU time of our export goes, and measure nothing",
    )
    return parser


def _taken(made: Bench, name: str) -> Taken:
    started, at = time.monotonic(), figures.now()
    before, made.besides = used(made.server_pid), 0.0
    section = BENCHMARKS[name](made)
    # Backends that have ended count for their parent a moment later.
    time.sleep(0.3)
    others = cores(before, used(made.server_pid), made.besides)
    print(f"others used {others:.2f} cores meanwhile", flush=True)
    return Taken(
        section=section,
        at=at,
        seconds=time.monotonic() - started,
        scale=made.scale,
        repeats=section.runs or made.repeats,
        others=others,
        machine=figures.machine(),
        versions={
            "PostgreSQL": made.server_version(),
            **made.peers.versions(),
            **figures.versions(),
        },
    )


def keep(into: Path, name: str, taken: Taken) -> None:
    """Renew one section of the page; the others stay as they were measured."""
    numbers = into.with_suffix(".json")
    known = {**figures.load(numbers), name: taken}
    ordered = {one: known[one] for one in BENCHMARKS if one in known}
    figures.save(numbers, ordered)
    into.write_text(page.render(ordered, list(BENCHMARKS)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
