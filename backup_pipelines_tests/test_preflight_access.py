"""What `preflight` says of who may do what."""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backup_pipelines.access.identity import BACKUP_ACCESS_KEY
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.preflighting.access import access
from backup_pipelines.system import System
from backup_pipelines_tests.fix_postgres import Database, Server

PROJECT = Path(__file__).resolve().parent.parent


def said(**attributes: Any) -> list[tuple[str, str]]:
    """The lines of a system with these attributes."""
    system = {"system": "shop", "database_url_env": "SHOP_DATABASE_URL", "modules": {}}
    lines = access(System.model_validate({**system, **attributes}))
    return [(line.status, f"{line.found} | {line.advice}") for line in lines]


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of Dagster as it is shipped, and a key."""
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    return tmp_path


def test_open_access_is_said_and_not_wrong(
    dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo is open, and says so; it needs no key."""
    monkeypatch.delenv(BACKUP_ACCESS_KEY)
    [(status, line)] = said()
    assert status == "ok"
    assert line.startswith("open: whoever reaches the UI or the command line may do everything")


def test_enforced_access_wants_a_key_and_the_run_coordinator(
    dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without either every run would be refused, and no backup be taken."""
    enforced = {"access": "enforced", "admins": ["boss", "ann"]}
    assert said(**enforced) == [("ok", "enforced; 2 admins in the YAML | ")]
    monkeypatch.setenv(BACKUP_ACCESS_KEY, "short")
    shipped = (PROJECT / "dagster.yaml").read_text()
    (dagster_home / "dagster.yaml").write_text(shipped.replace("AccessRunCoordinator", "QueuedRun"))
    _, (key, missing), (coordinator, other) = said(**enforced)
    assert (key, coordinator) == ("wrong", "wrong")
    assert missing.startswith(
        "BACKUP_ACCESS_KEY is too short: nobody could start anything | Set the same random text"
    )
    assert f"{dagster_home}/dagster.yaml does not name AccessRunCoordinator" in other
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    left_out = shipped.replace(
        "  class: Access", "  # class: AccessRunCoordinator\n  class: Queued"
    )
    (dagster_home / "dagster.yaml").write_text(left_out)
    _, (coordinator, other) = said(**enforced)
    assert (coordinator, "does not name" in other) == ("wrong", True)


def test_the_table_of_roles_is_asked(
    dagster_home: Path,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that cannot be read is a warning: who is named in the YAML gets in."""
    database = make_database(server)
    database.run("CREATE TABLE user_roles (user_id uuid, role text)")
    monkeypatch.setenv("SHOP_DATABASE_URL", database.reader_url)
    table = {
        "table": "public.user_roles",
        "user_column": "user_id",
        "role_column": "role",
        "admins": ["super_admin"],
    }
    enforced = {"access": "enforced", "admins": ["boss"]}
    assert said(**enforced, roles_from=table)[1:] == [
        ("ok", "the roles of public.user_roles can be read | ")
    ]
    [(status, line)] = said(**enforced, roles_from={**table, "role_column": "rolle"})[1:]
    assert status == "warning"
    assert "roles of shop cannot be read from public.user_roles" in line
