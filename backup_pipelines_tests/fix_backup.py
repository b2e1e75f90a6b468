"""Backups without Dagster: a store on disk, systems made of patterns, one call to back up."""

import secrets
import shutil
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_pipelines import modules
from backup_pipelines.backup import BackupRequest, take_backup
from backup_pipelines.backup_id import BackupId
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ExcludedSpec, ModuleSpec, System


def ignore(message: str) -> None:
    """A report that goes nowhere."""
    del message


def whole_system(name: str = "sample", *, readers: int = 2, **more: Iterable[str]) -> System:
    """A system whose every table falls into one module, but for those in `excluded`."""
    return System(
        system=name,
        database_url_env="SAMPLE_DATABASE_URL",
        modules={"all": ModuleSpec(tables=["*.*"])},
        excluded=[ExcludedSpec(table=t, reason="by the test") for t in more.get("excluded", ())],
        readers=readers,
    )


def in_json_lines(system: System | None = None) -> System:
    """The same system, or one of everything, with its rows as JSON Lines."""
    return (system or whole_system()).model_copy(update={"format": "jsonl"})


def request_for(system: System | None = None, **asked: Any) -> BackupRequest:
    """A request of a manual backup of everything, as else is asked for."""
    chosen = system or whole_system()
    wanted: dict[str, Any] = {"selection": frozenset(modules.entries(chosen)), **asked}
    return BackupRequest(
        system=chosen,
        id=BackupId.new("manual", datetime.now(UTC)),
        type="manual",
        created_by="test",
        **wanted,
    )


def back_up(
    url: str,
    store: Store,
    system: System | None = None,
    entries: Iterable[modules.Entry] = (),
    format: Format | None = None,
    **asked: Any,
) -> Manifest:
    """A sealed backup of the selected entries, or of everything, as else is asked for."""
    if entries := frozenset(entries):
        asked["selection"] = entries
    *_, sealed = take_backup(request_for(system, format=format, **asked), url, store)
    assert isinstance(sealed, Manifest)
    return sealed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a folder."""
    return Store((tmp_path / "store").as_uri())


@pytest.fixture(scope="module")
def original(
    request: pytest.FixtureRequest,
    server: EmbeddedServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[tuple[Manifest, Path]]:
    """One backup of the module's SCHEMA for all its tests, and the store's folder that it is in."""
    folder, name = tmp_path_factory.mktemp("original"), f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            connection.execute(request.module.SCHEMA)
        yield back_up(server.url(name), Store(folder.as_uri())), folder
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def sealed(original: tuple[Manifest, Path], store: Store, tmp_path: Path) -> Manifest:
    """The module's backup, in this test's own store."""
    sealed, folder = original
    shutil.copytree(folder, tmp_path / "store", dirs_exist_ok=True)
    return sealed
