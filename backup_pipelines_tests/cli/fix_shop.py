"""The system shop, whose database, store and channels are all right, for tests of `preflight`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_pipelines import environment
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines_tests.cli.shop_system import BACKED_UP, OWNED, define
from backup_pipelines_tests.fix_postgres import Database


@pytest.fixture
def shop_defs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of systems of the test's own."""
    made = tmp_path / "defs"
    made.mkdir()
    monkeypatch.setattr(environment, "defs_folder", lambda: made)
    return made


@pytest.fixture
def shop(
    shop_defs: Path,
    server: EmbeddedServer,
    make_database: Callable[..., Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Database:
    """A system with a database that is all right, a store that is not there yet, and channels."""
    made = make_database(server)
    made.run(
        "CREATE TABLE orders (id serial PRIMARY KEY); INSERT INTO orders VALUES (1)",
        "CREATE TABLE order_lines (id int PRIMARY KEY, order_id int REFERENCES orders)",
    )
    define(shop_defs)
    monkeypatch.setenv(BACKED_UP, made.reader_url)
    monkeypatch.setenv(OWNED, made.owner_url)
    monkeypatch.setenv(environment.BACKUP_STORE_URL, (tmp_path / "a" / "store").as_uri())
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", "json://localhost")
    monkeypatch.setenv("BACKUP_HEARTBEAT_URL", "https://watchdog.example.com/x")
    return made
