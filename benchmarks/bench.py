"""What all benchmarks share: the server, its databases, the peers, and how ours is run."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.postgres.reader import BACKUP_ADBC_DRIVER
from benchmarks import data, peers
from benchmarks.measuring import Run, folder_bytes, run
from benchmarks.peers import Peers


@dataclass(frozen=True)
class Source:
    """A database that is measured."""

    name: str
    title: str
    url: str
    rows: int
    table_bytes: int


@dataclass
class Bench:
    """A server of our own, and what is measured with it."""

    folder: Path
    server: EmbeddedServer
    peers: Peers
    scale: float
    repeats: int
    driver: str | None = None
    """A driver that somebody has built, for the contender that reads by it alone."""
    besides: float = 0.0
    """CPU seconds of servers of ours beside the one above, once they have ended."""
    _sources: dict[str, Source] = field(default_factory=dict)
    _names: int = 0

    @property
    def server_pid(self) -> int:
        """The process that started all others of the server."""
        return main_pid(self.server)

    def server_version(self) -> str:
        """PostgreSQL's version."""
        with psycopg.connect(self.server.url()) as connection:
            found = connection.execute("SHOW server_version").fetchone()
        assert found is not None
        return str(found[0])

    def crm(self, scale: float) -> Source:
        """The crm database at so many times the demo."""
        return self._source(
            f"crm at {scale:g} times the demo",
            lambda name: data.make_crm(self.server.url, name, scale),
        )

    def table(self, kind: str) -> Source:
        """The database with one table of that kind."""
        fill = data.table_makers(self.scale)[kind]
        return self._source(kind, lambda name: data.make_table(self.server.url, name, fill))

    def contacts(self) -> Source:
        """The database with the big table of contacts."""
        fill = data.fill_contacts(self.scale)
        return self._source("contacts", lambda name: data.make_table(self.server.url, name, fill))

    def scales(self) -> list[float]:
        """The sizes of crm that are measured: 1, 10, 100 times the demo, up to the largest."""
        return [one for one in (1.0, 10.0) if one < self.scale] + [self.scale]

    def empty_database(self) -> str:
        """The URL of a new database."""
        name = self.new_name()
        self.administer("CREATE DATABASE {} TEMPLATE template0", name)
        return self.server.url(name)

    def copy_of(self, source: Source) -> Source:
        """The same database once more, for who changes it."""
        name = self.new_name()
        # The usual strategy would send all of it through the log.
        self.administer("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, source.name)
        return replace(source, name=name, url=self.server.url(name))

    def drop(self, url: str) -> None:
        """Remove a database again."""
        name = conninfo_to_dict(url)["dbname"]
        self.administer("DROP DATABASE {} WITH (FORCE)", str(name))

    def forget(self, source: Source) -> None:
        """Remove a database that no benchmark of this run needs any more."""
        self.drop(source.url)
        del self._sources[source.title]

    def new_name(self) -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"bench_{self._names}"

    def administer(self, statement: str, *names: str) -> None:
        """Run a statement with quoted names as the superuser."""
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            quoted = [sql.Identifier(name).as_string() for name in names]
            admin.execute(statement.format(*quoted).encode())

    def settled(self) -> None:
        """What a run before has left to be written is written."""
        self.administer("CHECKPOINT")

    def ours(self, *arguments: str) -> list[str]:
        """The command of one run of ours, in a process of its own."""
        return [sys.executable, "-m", "benchmarks.worker", *arguments]

    def back_up(
        self,
        source: Source,
        store: Path,
        *options: str,
        output: Callable[[], int] | None = None,
        keep: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """A backup of ours into a store that is a folder."""
        self.settled()
        command = self.ours("backup", source.url, store.as_uri(), *options)
        try:
            return run(
                command,
                server=self.server_pid,
                output=output or size_of(store),
                environment=environment,
            )
        finally:
            if not keep:
                shutil.rmtree(store, ignore_errors=True)

    def dump(self, source: Source, *options: str, keep: Path | None = None) -> Run:
        """A run of pg_dump."""
        self.settled()
        into = keep or self.folder / self.new_name()
        command = [self.peers.program("pg_dump"), *options, "-f", into, "-d", source.url]
        try:
            return run(command, server=self.server_pid, output=size_of(into))
        finally:
            if keep is None:
                shutil.rmtree(into) if into.is_dir() else into.unlink(missing_ok=True)

    def _source(self, title: str, make: Callable[[str], None]) -> Source:
        if title not in self._sources:
            print(f"making: {title}", flush=True)
            name = self.new_name()
            make(name)
            url = self.server.url(name)
            self._sources[title] = Source(name, title, url, *data.rows_and_bytes(url))
        return self._sources[title]


def main_pid(server: EmbeddedServer) -> int:
    """The process that started all others of a server."""
    found = server.directory / "server" / "data" / "postmaster.pid"
    return int(found.read_text().splitlines()[0])


def size_of(path: Path) -> Callable[[], int]:
    """What says how large a file or folder is by then."""
    return lambda: folder_bytes(path) if path.is_dir() else path.stat().st_size


@contextmanager
def bench(scale: float, repeats: int, *, with_peers: bool) -> Generator[Bench]:
    """A server in a temporary folder, gone afterwards."""
    found = peers.find(install=with_peers)
    # Whatever is said to be ours is what everybody has.
    driver = os.environ.pop(BACKUP_ADBC_DRIVER, None)
    with tempfile.TemporaryDirectory(prefix="bp-bench-") as name:
        folder = Path(name)
        server = EmbeddedServer(folder / "postgres", found.server_programs)
        try:
            with server.running():
                for setting in ("autovacuum = off", "max_wal_size = '4GB'"):
                    with psycopg.connect(server.url(), autocommit=True) as admin:
                        admin.execute(f"ALTER SYSTEM SET {setting}".encode())
                        admin.execute("SELECT pg_reload_conf()")
                yield Bench(folder, server, found, scale, repeats, driver)
        finally:
            server.remove()
            if driver is not None:
                os.environ[BACKUP_ADBC_DRIVER] = driver
