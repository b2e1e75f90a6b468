"""The command line in this process for what only reads, in one of its own for what works."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from backup_pipelines import layout
from backup_pipelines.cli.__main__ import main
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.seed import create_database
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.manifest import Excluded, Manifest, Part, Table
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.bare_manifest import bare_manifest
from backup_pipelines_tests.terminals import on_terminal


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in this process."""

    def run(*arguments: str) -> Result:
        code = main(arguments)
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


def command(*arguments: str) -> list[str]:
    """A command line that runs in a process of its own."""
    return [sys.executable, "-m", "backup_pipelines.cli", *arguments]


def run_process(*arguments: str) -> Result:
    """Run a command in a process of its own, as people do."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    return Result(done.returncode, done.stdout, done.stderr)


def run_on_terminal(
    *arguments: str, stream: Literal["stdout", "stderr"], columns: int
) -> tuple[Result, str]:
    """Run a command with one stream on a terminal; its result, and what the terminal got."""
    seen = on_terminal(command(*arguments), stream=stream, columns=columns, NO_COLOR="1")
    return Result(seen.code, seen.out, seen.err), seen.shown


@pytest.fixture(scope="session")
def taken(demo: Demo) -> Result:
    """What `backup dcim --json` printed of a full backup of the demo."""
    return run_process(
        "backup", "dcim", "--json", "--label", "first", "--reason", "by a test", "--as", "ada"
    )


@pytest.fixture(scope="session")
def backup_id(taken: Result) -> str:
    """The id of that backup."""
    assert taken.code == 0, taken.err
    return str(taken.document["id"])


@pytest.fixture
def own_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of the test's own, where the command line looks for backups."""
    monkeypatch.setenv(BACKUP_STORE_URL, store.url)
    return store


@dataclass(frozen=True)
class Live:
    """A live CRM of one test, and a backup of it."""

    url: str
    backup_id: str

    def run(self, *statements: str) -> None:
        """Run SQL as the application does."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def content(self) -> list[tuple[Any, ...]]:
        """All tasks with their comments."""
        return self.rows(
            "SELECT 't', t::text FROM tasks t UNION ALL SELECT 'c', c::text FROM task_comments c"
            " ORDER BY 1, 2"
        )


@pytest.fixture
def live(cli: Cli, demo: Demo, own_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """The sample CRM in a database of the test's own, backed up into a store of its own."""
    name = f"t_{secrets.token_hex(6)}"
    create_database(demo.server.url, "crm", scale=0.05, database=name)
    url = demo.server.url(name, "crm_owner")
    monkeypatch.setenv("CRM_DATABASE_URL", url)
    try:
        taken = cli("backup", "crm", "--json")
        assert taken.code == 0, taken.err
        yield Live(url, taken.document["id"])
    finally:
        with psycopg.connect(demo.admin_url(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def put_backup(
    store: Store,
    *,
    system: str = "crm",
    hours_old: float = 1,
    modules: Sequence[str] = (),
    label: str = "",
    created_by: str = "ada",
) -> Manifest:
    """Put a manifest into a store as if a backup had been taken some hours ago."""
    at = datetime.now(UTC) - timedelta(hours=hours_old)
    entry = bare_manifest(
        at,
        system=system,
        type="module" if modules else "manual",
        scope="modules" if modules else "full",
        modules=tuple(modules) or ("leads", "deals"),
        label=label,
        created_by=created_by,
        run_id="some-run",
        started_at=at - timedelta(seconds=2),
        snapshot_at=at - timedelta(seconds=1),
        tables=tuple(
            _table(f"{m}_table", m, f"{hours_old}") for m in tuple(modules) or ("leads", "deals")
        ),
        excluded=(Excluded(name="public.sessions", reason="they end with a restore"),),
        warnings=("one thing to know",),
    )
    store.put_new(layout.manifest_key(system, entry.id), entry.to_json())
    return entry


def _table(name: str, module: str, folder: str) -> Table:
    part = Part(key=f"{folder}/{name}.parquet", rows=1200, size_bytes=5000, sha256="0", digest="0a")
    return Table(
        schema="public",
        name=name,
        module=module,
        columns=(),
        rows=1200,
        digest="00000000000000ab",
        size_bytes=5000,
        source_bytes=9000,
        seconds=0.1,
        parts=(part,),
    )
