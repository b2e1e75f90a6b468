"""A small database: what the command line costs, from launch to sealed, and where it goes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median

import psycopg

from backup_pipelines.demo.databases import Demo
from benchmarks.bench import Bench, main_pid
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import PROJECT, server_cpu
from benchmarks.page import number

_PROJECT_FILES = ("backup_pipelines", "dagster.yaml", "workspace.yaml", "pyproject.toml")

# What the same process does before anything can be launched, each in a process of its own.
_STARTS = {
    "Python alone": "pass",
    "import of dagster": "import dagster",
    "import of the core's backup": "import backup_pipelines.backup",
    "import of dagster and our part of it": "import backup_pipelines.dagster_layer.assets",
    "the same, and the definitions built": (
        "from backup_pipelines.definitions import defs; defs().get_repository_def()"
    ),
}
_READS = (("list", "crm"), ("show", "crm", "latest"), ("status", "crm"))

_LAUNCH = "launch to run made (imports, definitions, plan)"
_RUN = "run made to start of the backup (events, step)"
_BACKUP = "start of the backup to sealed"
_RUN_END = "sealed to end of the run (events)"
_AFTER = "end of the run to end of the process"

# What Dagster says of the newest run, in seconds since 1970.
_NEWEST_RUN = "SELECT extract(epoch FROM create_timestamp), end_time FROM runs ORDER BY id DESC"


def measure(bench: Bench) -> Section:
    """The demo in a project of its own."""
    home = bench.folder / bench.new_name()
    home.mkdir()
    for name in _PROJECT_FILES:
        source, target = PROJECT / name, home / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    print("the demo from the command line", flush=True)
    _cli(home, "demo")
    try:
        # The first one makes Dagster's own tables.
        _cli(home, "backup", "crm")
        backups = [_backup(home) for _ in range(bench.repeats)]
        reads = {
            " ".join(words): median(_cli(home, *words)[0] for _ in range(bench.repeats))
            for words in _READS
        }
        starts = {
            name: median(_python(home, code) for _ in range(bench.repeats))
            for name, code in _STARTS.items()
        }
        # What it used is known no more once it has ended.
        bench.besides += server_cpu(main_pid(Demo(home).server))
    finally:
        _cli(home, "demo", "--stop")
        shutil.rmtree(home)
    parts = {name: median(one[name] for one in backups) for name in backups[0]}
    return _section(parts, reads, starts)


def _section(
    parts: Mapping[str, float], reads: Mapping[str, float], starts: Mapping[str, float]
) -> Section:
    sealed = parts[_LAUNCH] + parts[_RUN] + parts[_BACKUP]
    figures = (
        Figure("backup of the demo's crm, launch to sealed", sealed, "s", goal=5.0),
        *(Figure(f"`backup-pipelines {words}`", taken, "s", goal=0.5)
          for words, taken in reads.items()),
    )  # fmt: skip
    grids = (
        Grid("Where a backup's time goes", ("", "wall s"), _rows(parts)),
        Grid("What starting costs, each in a fresh process", ("", "wall s"), _rows(starts)),
    )
    return Section("small", "Small databases", figures, grids)


def _rows(found: Mapping[str, float]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, number(seconds)) for name, seconds in found.items())


def _backup(home: Path) -> Mapping[str, float]:
    launched = time.time()
    seconds, said = _cli(home, "backup", "crm", "--json")
    backup = json.loads(said)["id"]
    (path,) = home.rglob(f"{backup}/manifest.json")
    manifest = json.loads(path.read_text())
    with psycopg.connect(Demo(home).dagster_url()) as connection:
        run = connection.execute(_NEWEST_RUN).fetchone()
    assert run is not None
    moments = {
        _LAUNCH: float(run[0]),
        _RUN: datetime.fromisoformat(manifest["started_at"]).timestamp(),
        _BACKUP: datetime.fromisoformat(manifest["created_at"]).timestamp(),
        _RUN_END: float(run[1]),
        _AFTER: launched + seconds,
    }
    found: dict[str, float] = {}
    before = launched
    for name, moment in moments.items():
        found[name], before = moment - before, moment
    print(f"  sealed after {moments[_BACKUP] - launched:.2f} s of {seconds:.2f} s", flush=True)
    return found


def _cli(home: Path, *words: str) -> tuple[float, str]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "backup_pipelines.cli", *words],
        cwd=home,
        env=_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"backup-pipelines {' '.join(words)}: {done.stderr.strip()[-2000:]}")
    return seconds, done.stdout


def _python(home: Path, code: str) -> float:
    started = time.monotonic()
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=home, env=_environment(home), check=True, capture_output=True)
    return time.monotonic() - started


def _environment(home: Path) -> Mapping[str, str]:
    """Only the demo: nothing that leads to somebody's real systems."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return found | {"PYTHONPATH": str(home), "DAGSTER_HOME": str(home)}
