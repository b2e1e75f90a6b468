"""A primary with a hot standby that replays it: the embedded server's programs, twice."""

import secrets
import shlex
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.binaries import (
    Account,
    own_directory,
    run_as,
    server_account,
    server_bin_dir,
)

_INITDB = ("-D", "primary", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
           "--no-sync", "--no-instructions")  # fmt: skip

# Small, and nothing waits for a disk: the machine may lose power, the tests need not survive it.
_SETTINGS = (
    "listen_addresses=",
    "wal_level=replica",
    "max_wal_senders=3",
    "max_connections=30",
    "shared_buffers=32MB",
    "max_locks_per_transaction=256",
    "fsync=off",
    "timezone=UTC",
    # A standby that has nothing to replay looks for it this often.
    "wal_retrieve_retry_interval=100ms",
    "autovacuum=off",
)


@dataclass(frozen=True)
class Replicated:
    """A primary and its standby, each on a Unix socket in a folder of its own."""

    folder: Path
    account: Account

    def primary(self, database: str = "postgres", user: str = "postgres") -> str:
        """The libpq URL of a database of the primary."""
        return self._url("p", database, user)

    def standby(self, database: str = "postgres", user: str = "postgres") -> str:
        """The libpq URL of the same database of the standby."""
        return self._url("s", database, user)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs in the folder."""
        command: Sequence[str | Path] = [server_bin_dir(self.account) / program, *arguments]
        done = run_as(self.account, command, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def start(self, data: str, *settings: str) -> None:
        """Start the server of a folder of data."""
        socket = f"unix_socket_directories={self.folder / data[0]}"
        parts = [part for each in (*_SETTINGS, socket, *settings) for part in ("-c", each)]
        options = f"--options={shlex.join(parts)}"
        self.run("pg_ctl", "start", "-s", "-w", "-D", data, "-l", f"{data}.log", options)

    def caught_up(self) -> None:
        """Wait until the standby has replayed all that the primary has written."""
        with (
            psycopg.connect(self.primary(), autocommit=True) as primary,
            psycopg.connect(self.standby(), autocommit=True) as standby,
        ):
            written = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            assert written is not None
            deadline = time.monotonic() + 30
            while standby.execute(
                "SELECT pg_last_wal_replay_lsn() < %s::pg_lsn", written
            ).fetchone() == (True,):
                assert time.monotonic() < deadline, "the standby does not replay"
                time.sleep(0.02)

    @contextmanager
    def setting(self, **settings: str) -> Generator[None]:
        """The standby with other settings, for those that it reads again without a restart."""
        with psycopg.connect(self.standby(), autocommit=True) as admin:

            def change(to: Mapping[str, str]) -> None:
                for name, value in to.items():
                    quoted = sql.Literal(value).as_string(admin)
                    admin.execute(f"ALTER SYSTEM SET {name} = {quoted}".encode())
                admin.execute("SELECT pg_reload_conf()")
                for name, value in to.items():
                    while _shown(admin, name) != value:
                        time.sleep(0.02)

            before = {name: _shown(admin, name) for name in settings}
            change(settings)
            try:
                yield
            finally:
                change(before)

    def _url(self, which: str, database: str, user: str) -> str:
        host = quote(str(self.folder / which), safe="")
        return f"postgresql://{user}@/{database}?host={host}&port=5432"


def _shown(connection: psycopg.Connection[tuple[str]], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture(scope="session")
def replicated() -> Iterator[Replicated]:
    """A primary and its standby, for all tests of the session."""
    folder = Path("/tmp") / f"bp-pair-{secrets.token_hex(4)}"
    account = server_account(folder)
    own_directory(folder, account)
    made = Replicated(folder, account)
    for name in ("p", "s"):
        own_directory(folder / name, account)
    try:
        made.run("initdb", *_INITDB)
        made.start("primary")
        made.run("pg_basebackup", "-h", str(folder / "p"), "-U", "postgres", "-D", "standby",
                 "-R", "-c", "fast", "--no-sync")  # fmt: skip
        made.start("standby")
        yield made
    finally:
        for data in ("standby", "primary"):
            if (folder / data / "postmaster.pid").exists():
                made.run("pg_ctl", "stop", "-s", "-w", "-m", "immediate", "-D", data)
        shutil.rmtree(folder, ignore_errors=True)
