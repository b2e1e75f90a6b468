"""The peak memory of a backup by the size of its table: it must not grow with the rows.

Every size is backed up by a fresh process, whose tree (pg_dump included) is sampled for its RSS.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from backup_pipelines import modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System

SIZES = (200_000, 2_000_000)

# A table below the size of a piece is read by one reader, whatever the others could do.
READERS = (1, 2)

_SAMPLE_SECONDS = 0.02

_MIB = 1024 * 1024

# As wide as a CRM's contacts: about 500 bytes a row.
CONTACTS = """
CREATE TABLE contacts (
    id bigint PRIMARY KEY, account_id bigint NOT NULL, public_id uuid NOT NULL,
    first_name text NOT NULL, last_name text NOT NULL, email text NOT NULL, phone varchar(30),
    city text, notes text, active boolean NOT NULL, score double precision,
    balance numeric(12,2) NOT NULL, preferences jsonb NOT NULL, thumbnail bytea,
    born_on date, created_at timestamptz NOT NULL, updated_at timestamp NOT NULL)
"""

_ROWS = """
INSERT INTO contacts
SELECT g, g % 5000, gen_random_uuid(), 'First' || g % 977, 'Last' || md5(g::text),
       'contact' || g || '@example.com', '+33 1 ' || g % 99999999, 'City ' || g % 3000,
       CASE WHEN g % 3 > 0 THEN repeat(md5((g * 7)::text) || ' ', 1 + g % 5) END,
       g % 7 > 0, random(), (g % 1000000) / 100.0,
       jsonb_build_object('language', 'fr', 'tags', jsonb_build_array(g % 10, md5(g::text))),
       decode(md5((g * 3)::text) || md5((g * 5)::text), 'hex'),
       date '1950-01-01' + g % 20000, now() - g * interval '1 minute', now()
  FROM generate_series(1, %s) AS g
"""


@dataclass(frozen=True)
class Measured:
    """One backup: what it read and what it took."""

    rows: int
    readers: int
    table_bytes: int
    peak_bytes: int
    seconds: float


def fill(admin_url: str, rows: int) -> int:
    """Make the contacts table with so many rows; returns its size in bytes."""
    with psycopg.connect(admin_url) as connection:
        connection.execute(CONTACTS)
        connection.execute(_ROWS.replace("%s", str(rows)).encode())
        found = connection.execute("SELECT pg_table_size('contacts')").fetchone()
    assert found is not None
    return int(found[0])


def measure(url: str, folder: Path, rows: int, table_bytes: int, readers: int) -> Measured:
    """Back the database at `url` up in a process of its own and watch its memory."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.memory", url, folder.as_uri(), str(readers)]
    process = psutil.Popen(command, cwd=Path(__file__).resolve().parent.parent)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _tree_rss(process))
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the backup of {rows:,} rows ended with {process.returncode}")
    return Measured(rows, readers, table_bytes, peak, time.monotonic() - started)


def main(sizes: Sequence[int] = SIZES) -> None:
    """Measure every size on an embedded server of its own and print the table."""
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="bp-bench-") as folder:
        server = EmbeddedServer(Path(folder) / "postgres")
        with server.running():
            for rows in sizes:
                measured += _measured(server, Path(folder), rows)
        server.remove()
    _show(measured)


def back_up(url: str, store_url: str, readers: str) -> None:
    """One whole backup, as the measured process takes it."""
    system = System(
        system="bench",
        database_url_env="BENCH_DATABASE_URL",
        modules={"crm": ModuleSpec(tables=["*.*"])},
        readers=int(readers),
    )
    request = BackupRequest(
        system=system,
        id=BackupId.new("manual", datetime.now(UTC)),
        type="manual",
        created_by="benchmark",
        selection=frozenset(modules.entries(system)),
    )
    for _ in take_backup(request, url, Store(store_url)):
        pass


def _measured(server: EmbeddedServer, folder: Path, rows: int) -> list[Measured]:
    name = f"bench_{rows}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        url, table_bytes = server.url(name), fill(server.url(name), rows)
        return [measure(url, folder / name, rows, table_bytes, readers) for readers in READERS]
    finally:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _tree_rss(process: psutil.Process) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.Error:
        # A process of the tree ended meanwhile: this sample is incomplete, the next is not.
        return 0
    return total


def _show(measured: Sequence[Measured]) -> None:
    table = Table(title="Peak memory of a backup (process tree)")
    for head in ("readers", "rows", "table MiB", "peak MiB", "seconds", "ratio"):
        table.add_column(head, justify="right")
    smallest = {one.readers: one for one in reversed(measured)}
    for one in sorted(measured, key=lambda one: (one.readers, one.rows)):
        table.add_row(
            str(one.readers),
            f"{one.rows:,}",
            f"{one.table_bytes / _MIB:,.0f}",
            f"{one.peak_bytes / _MIB:,.0f}",
            f"{one.seconds:.1f}",
            f"{one.peak_bytes / smallest[one.readers].peak_bytes:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    back_up(*sys.argv[1:])
