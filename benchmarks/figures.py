"""What benchmarks come to: figures, some with a goal, and tables; as they are kept in JSON."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.others import LIMIT

# A median of fewer is one run's luck.
ENOUGH_RUNS = 3

_LIBRARIES = ("pyarrow", "adbc-driver-postgresql", "psycopg", "obstore", "dagster")


@dataclass(frozen=True)
class Figure:
    """One number of ours, mostly against that of a peer in the same run."""

    what: str
    value: float
    unit: str
    against: str = ""
    against_value: float | None = None
    goal: float | None = None
    """What the ratio, or without a peer the value, has to be."""
    at_least: bool = False
    """Whether more is better."""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        if self.against_value is None or not self.against_value:
            return None
        return self.value / self.against_value

    @property
    def judged(self) -> float | None:
        """The number that the goal is about; None where the peer could not be measured."""
        return self.ratio if self.against else self.value

    @property
    def is_met(self) -> bool | None:
        """Whether it is as good as the goal; None without a goal or a number."""
        if self.goal is None or self.judged is None:
            return None
        return self.judged >= self.goal if self.at_least else self.judged <= self.goal

    @property
    def is_of_time(self) -> bool:
        """Whether it says how long something took, which depends on what else the machine did."""
        return self.unit in ("s", "ms") or self.unit.endswith("a second")


@dataclass(frozen=True)
class Grid:
    """A table of the page; its first column says what each row is."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """All that one benchmark found."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()
    runs: int | None = None
    """How many are behind each number, where it measures less often than asked to."""


@dataclass(frozen=True)
class Taken:
    """When, where and how a section was measured."""

    section: Section
    at: str
    seconds: float
    scale: float
    repeats: int
    others: float | None
    """Cores that others used meanwhile, on average; None where nobody measured it."""
    machine: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def why_not_judged(self) -> str:
        """Why its seconds are no proof of anything; empty where they are."""
        if self.repeats < ENOUGH_RUNS:
            return "one run" if self.repeats == 1 else f"{self.repeats} runs"
        if self.others is None:
            return "nobody measured what else the machine did"
        if self.others > LIMIT:
            return f"others used {self.others:.1f} cores meanwhile"
        return ""


def now() -> str:
    """This moment, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


def machine() -> dict[str, str]:
    """What this machine is."""
    cpu = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        lines = described.read_text().splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = named[0] if named else cpu
    memory = psutil.virtual_memory().total / 2**30
    return {
        "CPU": f"{os.cpu_count()} cores, {cpu}",
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """The versions of the libraries that matter."""
    return {name: version(name) for name in _LIBRARIES}


def load(path: Path) -> dict[str, Taken]:
    """What was measured before, by the benchmark's name."""
    if not path.exists():
        return {}
    return {name: _taken(found) for name, found in json.loads(path.read_text()).items()}


def save(path: Path, taken: Mapping[str, Taken]) -> None:
    """Keep it for the next run, which may measure some benchmarks only."""
    document = {name: asdict(one) for name, one in taken.items()}
    path.write_text(json.dumps(document, indent=1) + "\n")


def _taken(found: dict[str, Any]) -> Taken:
    kept = found["section"]
    section = Section(
        name=kept["name"],
        title=kept["title"],
        figures=tuple(Figure(**one) for one in kept["figures"]),
        grids=tuple(
            Grid(one["title"], tuple(one["heads"]), tuple(tuple(row) for row in one["rows"]))
            for one in kept["grids"]
        ),
        notes=tuple(kept["notes"]),
        runs=kept.get("runs"),
    )
    others: dict[str, Any] = {name: value for name, value in found.items() if name != "section"}
    return Taken(section=section, **others)
