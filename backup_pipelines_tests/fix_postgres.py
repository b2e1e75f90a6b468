"""Real PostgreSQL servers: the embedded one for the whole session, Debian's where there is one."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from backup_pipelines.demo.binaries import server_account
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.server import EmbeddedServer

_PROJECT = Path(__file__).resolve().parent.parent

# Variables that would lead the tests to somebody's real databases or buckets.
_FOREIGN = ("CRM_DATABASE_URL", "DCIM_DATABASE_URL", "BACKUP_STORE_URL", "DAGSTER_POSTGRES_URL")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A DAGSTER_HOME of the tests' own, with the project's configuration."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(_PROJECT / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        patch.setenv("DAGSTER_HOME", str(folder))
        patch.setenv("PYTHONPATH", str(_PROJECT))
        yield folder


@pytest.fixture(scope="session")
def demo(home: Path) -> Iterator[Demo]:
    """The demo of the tests' home: its server is up for the whole session."""
    made = Demo(home)
    with made.server.running():
        yield made
    made.server.remove()


@pytest.fixture(scope="session")
def server(demo: Demo) -> EmbeddedServer:
    """The embedded server."""
    return demo.server


@dataclass(frozen=True)
class DebianServer:
    """A server of Debian's packages, on a Unix socket in its own folder."""

    folder: Path
    major: int

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The libpq URL of one of its databases."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}&port=5432"


@pytest.fixture(scope="session")
def debian_server() -> Iterator[DebianServer]:
    """A server of the newest PostgreSQL that Debian installed here; skips where there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL of Debian's packages on this machine")
    bin_dir = programs[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="bp-deb-"))
    account = server_account(folder)
    run_as: dict[str, object] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, account.uid, account.gid)
        run_as = {"user": account.uid, "group": account.gid, "extra_groups": []}

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **run_as)  # type: ignore[call-overload]

    run(str(bin_dir / "initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
        "--locale=C.UTF-8")  # fmt: skip
    options = (
        f"-k {folder} -c listen_addresses='' -c max_locks_per_transaction=256"
        " -c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0"
    )
    run(str(bin_dir / "pg_ctl"), "-D", "data", "-l", "log", "-o", options, "-w", "start")
    try:
        yield DebianServer(folder, int(bin_dir.parent.name))
    finally:
        run(str(bin_dir / "pg_ctl"), "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


Server = EmbeddedServer | DebianServer


@pytest.fixture(params=["embedded", "debian"])
def any_server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn: the newest major version and Debian's older one."""
    name = "server" if request.param == "embedded" else "debian_server"
    return request.getfixturevalue(name)


@dataclass(frozen=True)
class Database:
    """A database of one test, its superuser's and its owner's URL."""

    name: str
    admin_url: str
    owner_url: str
    reader_url: str

    def run(self, *statements: str, as_admin: bool = False) -> None:
        """Run SQL scripts, each in a transaction of its own, as the owner."""
        url = self.admin_url if as_admin else self.owner_url
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture
def make_database() -> Iterator[Callable[[Server], Database]]:
    """Makes empty databases: owned by a role without superuser, readable by a read-only one."""
    made: list[tuple[Server, str]] = []

    def make(on: Server) -> Database:
        name = f"t_{secrets.token_hex(6)}"
        owner, reader = f"{name}_owner", f"{name}_reader"
        with psycopg.connect(on.url(), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE {owner} LOGIN".encode())
            admin.execute(f"CREATE ROLE {reader} LOGIN BYPASSRLS IN ROLE pg_read_all_data".encode())
            admin.execute(
                f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'".encode()
            )
        made.append((on, name))
        return Database(name, on.url(name), on.url(name, owner), on.url(name, reader))

    yield make
    # All databases first: one may hold what the roles of another one own.
    for on, name in made:
        with psycopg.connect(on.url(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    for on, name in made:
        with psycopg.connect(on.url(), autocommit=True) as admin:
            for role in (f"{name}_owner", f"{name}_reader"):
                admin.execute(f"DROP ROLE {role}".encode())
