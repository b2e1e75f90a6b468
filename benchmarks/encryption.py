"""What encryption costs: the same data backed up and restored plain and encrypted, and age alone.

`python -m benchmarks encryption` takes 200,000 rows, `python -m benchmarks.encryption --rows
1000000` as many as named. The `age` tool, where there is one, works on the same bytes in the same
run.
"""

import argparse
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import psycopg
import pyrage
from psycopg import sql
from rich.console import Console
from rich.table import Table

from backup_pipelines import modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.manifest import Manifest
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage import age
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY, Recipients
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines.verify import verify
from benchmarks.memory import fill

ROWS = 200_000

# One run alone says more about the machine's other work than about us.
_TIMES = 3

# As large as a part can be.
_RAW_BYTES = 240 * 1024 * 1024
_PIECE = 4 * 1024 * 1024

_VERBS = ("backup", "verify", "restore, proved")


def main(rows: int = ROWS) -> None:
    """Measure everything on an embedded server of its own and print both tables."""
    identity = pyrage.x25519.Identity.generate()
    os.environ[BACKUP_AGE_IDENTITY] = str(identity)
    public = str(identity.to_public())
    with tempfile.TemporaryDirectory(prefix="bp-bench-") as folder:
        _raw(Path(folder), public, str(identity))
        server = EmbeddedServer(Path(folder) / "postgres")
        with server.running():
            _compared(server, Path(folder), rows, public)
        server.remove()


def _compared(server: EmbeddedServer, folder: Path, rows: int, public: str) -> None:
    url = _database(server, "source")
    table_bytes = fill(url, rows)
    systems = {"plain": _system(), "encrypted": _system(public)}
    seconds: dict[str, dict[str, float]] = {verb: {} for verb in _VERBS}
    # In turns, so that what else the machine does hits both.
    for turn in range(_TIMES):
        for name, system in systems.items():
            store = Store((folder / f"store-{name}-{turn}").as_uri())
            made: list[Manifest] = []
            target = _database(server, f"{name}_{turn}")
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
                taken = _timed(run)
                seconds[verb][name] = min(taken, seconds[verb].get(name, taken))
    shown = Table(title=f"{rows:,} contacts, {table_bytes / 1e6:,.0f} MB, the best of {_TIMES}")
    for head in ("", "plain, s", "encrypted, s", "ratio"):
        shown.add_column(head, justify="right" if head else "left")
    for verb, found in seconds.items():
        plain, encrypted = found["plain"], found["encrypted"]
        shown.add_row(verb, f"{plain:.2f}", f"{encrypted:.2f}", f"{encrypted / plain:.2f}")
    Console().print(shown)


def _raw(folder: Path, public: str, identity: str) -> None:
    """Encrypt and decrypt one object of the largest size, by us and by the tool."""
    store, made = Store((folder / "raw").as_uri()), list[str]()
    plain, sealed, keys = folder / "plain", folder / "sealed", folder / "identity"
    keys.write_text(identity)
    data = secrets.token_bytes(_PIECE) * (_RAW_BYTES // _PIECE)
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

    speeds = {"ours, into the store": _speed(write)}
    speeds["ours, into a file without a name"] = _speed(lambda: store.open_input(made[0]).close())
    speeds["pyrage alone, in memory"] = _speed(lambda: recipients.encrypt(data))
    encrypted = recipients.encrypt(data)
    speeds["pyrage alone, in memory, back"] = _speed(lambda: age.decrypt(encrypted, "it"))
    if which("age"):
        speeds["age"] = _speed(tool("-r", public, "-o", str(sealed), str(plain)))
        arguments = ("-d", "-i", str(keys), "-o", str(folder / "opened"), str(sealed))
        speeds["age -d"] = _speed(tool(*arguments))
    shown = Table(title=f"age, {_RAW_BYTES / 1e6:,.0f} MB")
    shown.add_column("")
    shown.add_column("MB/s", justify="right")
    for name, speed in speeds.items():
        shown.add_row(name, f"{speed:,.0f}")
    Console().print(shown)


def _speed(work: Callable[[], object]) -> float:
    return _RAW_BYTES / 1e6 / min(_timed(work) for _ in range(_TIMES))


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _database(server: EmbeddedServer, name: str) -> str:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"bench_{name}")))
    return server.url(f"bench_{name}")


def _system(*recipients: str) -> System:
    return System(
        system="bench",
        database_url_env="BENCH_DATABASE_URL",
        modules={"crm": ModuleSpec(tables=["*.*"])},
        encryption=EncryptionSpec(recipients=list(recipients)),
    )


def _back_up(url: str, store: Store, system: System) -> Manifest:
    request = BackupRequest(
        system=system,
        id=BackupId.new("manual", datetime.now(UTC)),
        type="manual",
        created_by="benchmark",
        selection=frozenset(modules.entries(system)),
    )
    *_, sealed = take_backup(request, url, store)
    assert isinstance(sealed, Manifest)
    return sealed


def _ignore(message: str) -> None:
    del message


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    main(parser.parse_args().rows)
