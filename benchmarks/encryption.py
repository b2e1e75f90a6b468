"""What encryption costs: the same data backed up and restored plain and encrypted, and age alone.

The `age` tool, where there is one, works on the same bytes in the same run.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree, which
from statistics import median
from typing import Any

import pyrage

from backup_pipelines.manifest import Manifest
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage import age
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY, Recipients
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines.verify import verify
from benchmarks import worker
from benchmarks.bench import Bench
from benchmarks.data import fill
from benchmarks.figures import Figure, Grid, Section
from benchmarks.page import number

# Its functions are made when it is imported, so that no type checker knows them.
_pyrage: Any = pyrage

# At 100 times the demo.
ROWS = 200_000

# As large as a part can be, at 100 times the demo.
_RAW_BYTES = 240 * 1024 * 1024
_PIECE = 4 * 1024 * 1024

_VERBS = ("backup", "verify", "restore, proved")


def measure_all(bench: Bench) -> Section:
    """Both ways of each verb, and age alone."""
    identity = _pyrage.x25519.Identity.generate()
    before = os.environ.get(BACKUP_AGE_IDENTITY)
    os.environ[BACKUP_AGE_IDENTITY] = str(identity)
    public = str(identity.to_public())
    folder = bench.folder / bench.new_name()
    folder.mkdir()
    try:
        raw = _raw(folder, public, str(identity), bench)
        url = bench.empty_database()
        rows = max(1_000, round(ROWS * bench.scale / 100))
        table_bytes = fill(url, rows)
        seconds = _compared(bench, folder, url, public)
        bench.drop(url)
    finally:
        rmtree(folder)
        os.environ.pop(BACKUP_AGE_IDENTITY)
        if before is not None:
            os.environ[BACKUP_AGE_IDENTITY] = before
    title = f"{rows:,} contacts, {table_bytes / 1e6:,.0f} MB"
    figures = tuple(
        Figure(f"{verb}, encrypted, {title}", found["encrypted"], "s", "plain", found["plain"])
        for verb, found in seconds.items()
    )
    return Section("encryption", "Encryption", figures, (raw,))


def _compared(bench: Bench, folder: Path, url: str, public: str) -> dict[str, dict[str, float]]:
    systems = {"plain": _system(), "encrypted": _system(public)}
    seconds: dict[str, dict[str, list[float]]] = {
        verb: {name: [] for name in systems} for verb in _VERBS
    }
    # In turns, so that what else the machine does hits both; whoever comes second finds what the
    # first has warmed, so that they take turns in that too. The first turn of all is not measured.
    for turn in range(bench.repeats + 1):
        for name in order(list(systems), turn):
            system = systems[name]
            store = Store((folder / f"store-{name}-{turn}").as_uri())
            made: list[Manifest] = []
            target = bench.empty_database()
            work: dict[str, Callable[[], object]] = {
                "backup": lambda: made.append(_back_up(url, store, system)),  # noqa: B023
                "verify": lambda: verify(store, made[0], report=_ignore),  # noqa: B023
                "restore, proved": lambda: restore_into_empty(
                    store,  # noqa: B023
                    made[0],  # noqa: B023
                    target,  # noqa: B023
                    report=_ignore,
                ),
            }
            for verb, run in work.items():
                took = _timed(run)
                if turn:
                    seconds[verb][name].append(took)
            bench.drop(target)
    return {
        verb: {name: median(taken) for name, taken in found.items()}
        for verb, found in seconds.items()
    }


def order(names: Sequence[str], turn: int) -> list[str]:
    """Who comes when in a turn: the other way round each time."""
    return list(names if turn % 2 else reversed(names))


def _raw(folder: Path, public: str, identity: str, bench: Bench) -> Grid:
    """Encrypt and decrypt one object of the largest size, by us and by the tool."""
    store, made = Store((folder / "raw").as_uri()), list[str]()
    size = max(_PIECE, round(_RAW_BYTES * min(1.0, bench.scale / 100)))
    plain, sealed, keys = folder / "plain", folder / "sealed", folder / "identity"
    keys.write_text(identity)
    data = secrets.token_bytes(_PIECE) * (size // _PIECE)
    plain.write_bytes(data)
    recipients = Recipients([public])

    def write() -> None:
        # Nothing is written twice.
        made.append(f"raw/object-{len(made)}.age")
        with store.writer(made[-1], recipients) as out:
            for start in range(0, len(data), _PIECE):
                out.write(memoryview(data)[start : start + _PIECE])

    def tool(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run(["age", *arguments], check=True)

    def speed(work: Callable[[], object]) -> float:
        return len(data) / 1e6 / median(_timed(work) for _ in range(bench.repeats))

    speeds = {"ours, into the store": speed(write)}
    speeds["ours, into a file without a name"] = speed(lambda: store.open_input(made[0]).close())
    speeds["pyrage alone, in memory"] = speed(lambda: recipients.encrypt(data))
    encrypted = recipients.encrypt(data)
    speeds["pyrage alone, in memory, back"] = speed(lambda: age.decrypt(encrypted, "it"))
    if which("age"):
        speeds["age"] = speed(tool("-r", public, "-o", str(sealed), str(plain)))
        arguments = ("-d", "-i", str(keys), "-o", str(folder / "opened"), str(sealed))
        speeds["age -d"] = speed(tool(*arguments))
    rows = tuple((name, number(found)) for name, found in speeds.items())
    return Grid(f"age, {len(data) / 1e6:,.0f} MB", ("", "MB a second"), rows)


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _system(*recipients: str) -> System:
    return System(
        system="bench",
        database_url_env="BENCH_DATABASE_URL",
        modules={"crm": ModuleSpec(tables=["*.*"])},
        encryption=EncryptionSpec(recipients=list(recipients)),
    )


def _back_up(url: str, store: Store, system: System) -> Manifest:
    return worker.sealed_by(worker.request_for(system), url, store)


def _ignore(message: str) -> None:
    del message
