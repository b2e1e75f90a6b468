"""Run the benchmarks that are named, or all: `python -m benchmarks [memory restore ...]`."""

import sys
from collections.abc import Callable

from benchmarks import encryption, memory, restore, upload

BENCHMARKS: dict[str, Callable[[], None]] = {
    "memory": memory.main,
    "restore": restore.main,
    "upload": upload.main,
    "encryption": encryption.main,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, all without names; returns the exit code."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
