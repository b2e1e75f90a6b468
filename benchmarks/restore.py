"""What a restore costs: five deleted rows beside a full reload, and that beside pg_restore.

`python -m benchmarks restore` takes 200,000 rows, `python -m benchmarks.restore --rows 1000000`
as many as named. All times are of one run on one server.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from backup_pipelines import modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.manifest import Manifest
from backup_pipelines.plan import plan_restore
from backup_pipelines.postgres.pg_dump import find_pg_dump
from backup_pipelines.restore import LiveRestore, restore, restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from benchmarks.memory import fill

ROWS = 200_000

_MORE = (
    "CREATE TABLE notes (id bigint PRIMARY KEY, contact_id bigint NOT NULL, body text)",
    "INSERT INTO notes SELECT id, id, 'note ' || id FROM contacts WHERE id % 2 = 0",
    "ALTER TABLE notes ADD FOREIGN KEY (contact_id) REFERENCES contacts ON DELETE CASCADE",
    "CREATE INDEX ON contacts (email)",
    "CREATE INDEX ON notes (contact_id)",
)

_SYSTEM = System(
    system="bench",
    database_url_env="BENCH_DATABASE_URL",
    modules={"crm": ModuleSpec(tables=["*.*"])},
)


class _Bench:
    """The source database, its store, and the seconds measured so far."""

    def __init__(self, server: EmbeddedServer, folder: Path, rows: int) -> None:
        self.server = server
        self.folder = folder
        self.store = Store((folder / "store").as_uri())
        self.url = self.empty("source")
        fill(self.url, rows)
        self.execute(*_MORE)
        self.seconds: dict[str, float] = {}

    def empty(self, name: str) -> str:
        """A new database."""
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"bench_{name}")))
        return self.server.url(f"bench_{name}")

    def execute(self, *statements: str) -> None:
        """Run statements in the source."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def back_up(self, kind: BackupType = "manual", only: frozenset[str] = frozenset()) -> Manifest:
        """A backup of the source, or of some of its tables."""
        request = BackupRequest(
            system=_SYSTEM,
            id=BackupId.new(kind, datetime.now(UTC)),
            type=kind,
            created_by="benchmark",
            selection=frozenset(modules.entries(_SYSTEM)),
            only=only,
        )
        *_, sealed = take_backup(request, self.url, self.store)
        assert isinstance(sealed, Manifest)
        return sealed

    def timed(self, what: str, work: Callable[[], object]) -> None:
        """Run it and keep its seconds."""
        started = time.monotonic()
        work()
        self.seconds[what] = time.monotonic() - started


def main(rows: int = ROWS) -> None:
    """Measure everything on an embedded server of its own and print the table."""
    with tempfile.TemporaryDirectory(prefix="bp-bench-") as folder:
        server = EmbeddedServer(Path(folder) / "postgres")
        with server.running():
            bench = _Bench(server, Path(folder), rows)
            entry = bench.back_up()
            _full(bench, entry)
            _five_rows(bench, entry)
        server.remove()
    _show(rows, bench.seconds)


def _full(bench: _Bench, entry: Manifest) -> None:
    pg_dump = find_pg_dump(18)
    dump = str(bench.folder / "dump")
    subprocess.run([pg_dump, "-Fd", "-Z1", "-f", dump, bench.url], check=True)
    for name, option in (("parallel", "-j2"), ("single", "--single-transaction")):
        url = bench.empty(name)
        command = [pg_dump.with_name("pg_restore"), option, "-d", url, dump]
        bench.timed(f"pg_restore {option}", lambda c=command: subprocess.run(c, check=True))
    url = bench.empty("ours")
    bench.timed(
        "full restore, proved",
        lambda: restore_into_empty(bench.store, entry, url, report=_ignore),
    )


def _five_rows(bench: _Bench, entry: Manifest) -> None:
    def live(*, with_safety: bool) -> None:
        bench.execute("DELETE FROM contacts WHERE id IN (10, 100, 1000, 10000, 100000)")
        what = "5 rows, safety backup included" if with_safety else "5 rows"
        if not with_safety:
            bench.timed(
                "plan of 5 rows",
                lambda: plan_restore(
                    bench.store,
                    entry,
                    bench.url,
                    selection=Selection(),
                    mode="replace",
                    report=_ignore,
                ),
            )
        bench.timed(
            what,
            lambda: restore(
                LiveRestore(entry),
                bench.url,
                bench.store,
                safety=(lambda roots: bench.back_up("safety", roots)) if with_safety else None,
                report=_ignore,
            ),
        )

    live(with_safety=False)
    live(with_safety=True)


def _ignore(message: str) -> None:
    del message


def _show(rows: int, seconds: dict[str, float]) -> None:
    full = seconds["full restore, proved"]
    table = Table(title=f"Restores of {rows:,} contacts and their notes")
    for head in ("", "seconds", "over our full restore"):
        table.add_column(head, justify="right" if head else "left")
    for what, taken in seconds.items():
        table.add_row(what, f"{taken:.2f}", f"{taken / full:.2f}")
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    main(parser.parse_args().rows)
