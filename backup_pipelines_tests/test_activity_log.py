"""Rows about operations in the application's own log."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from backup_pipelines import systems
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.seed import create_database
from backup_pipelines.settings import ActivityLogSpec
from backup_pipelines.trail import activity_log
from backup_pipelines.trail.audit import Happened

VARIABLE = "DCIM_ACTIVITY_LOG_URL"
AT = datetime(2026, 1, 31, 14, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def assetdex(demo: Demo) -> Iterator[str]:
    """The URL of a small AssetDex of these tests, as its owner."""
    name = f"t_{secrets.token_hex(6)}"
    create_database(demo.server.url, "dcim", scale=0.02, database=name)
    yield demo.server.url(name, "dcim_owner")
    with psycopg.connect(demo.admin_url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def spec(assetdex: str, monkeypatch: pytest.MonkeyPatch) -> ActivityLogSpec:
    """What the shipped YAML of dcim says, its variable set."""
    monkeypatch.setenv(VARIABLE, assetdex)
    found = systems.load_system("dcim").activity_log
    assert found is not None
    return found


def happened(operation: str = "restore", outcome: str = "done", **more: Any) -> Happened:
    """Something that somebody did."""
    return Happened.model_validate(
        {"operation": operation, "outcome": outcome, "operator": "ada@example.com", "at": AT}
        | {"backup": "20260131T020000Z-manual-9f3c1a", **more}
    )


def newest(url: str) -> tuple[Any, ...]:
    """The newest row of the log."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT category::text, action, resource_type, resource_id, severity::text, user_email,"
            " created_at, details FROM activity_logs ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("operation", "outcome", "action", "severity"),
    [
        ("backup", "done", "backup_created", "info"),
        ("list", "done", "backup_list_viewed", "info"),
        ("download", "done", "backup_downloaded", "info"),
        ("restore", "done", "backup_restored", "info"),
        ("delete", "done", "backup_deleted", "info"),
        ("delete", "refused", "unauthorized_backup_access", "warning"),
        ("backup", "failed", "backup_failed", "error"),
        ("restore", "failed", "backup_restore_failed", "error"),
    ],
)
def test_assetdex_gets_a_row(
    spec: ActivityLogSpec, assetdex: str, operation: str, outcome: str, action: str, severity: str
) -> None:
    """What the shipped YAML maps goes into AssetDex's own table, enums and JSON included."""
    awkward = 'O\'Brien said "{backup}" \\ and \0 %s €'
    said = activity_log.write(spec, "dcim", happened(operation, outcome, rows=5, reason=awkward))
    assert said == ""
    *row, details = newest(assetdex)
    assert row == ["backup", action, "backup", "20260131T020000Z-manual-9f3c1a", severity,
                   "ada@example.com", AT]  # fmt: skip
    assert (details["system"], details["rows"]) == ("dcim", 5)
    assert details["reason"] == awkward.replace("\0", "?")


def test_nothing_is_written_while_the_variable_is_not_set(
    spec: ActivityLogSpec, assetdex: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An activity log without a URL is no problem, and gets nothing."""
    with psycopg.connect(assetdex) as connection:
        before = connection.execute("SELECT count(*) FROM activity_logs").fetchone()
        monkeypatch.delenv(VARIABLE)
        assert activity_log.write(spec, "dcim", happened()) == ""
        assert connection.execute("SELECT count(*) FROM activity_logs").fetchone() == before


def test_a_locked_table_is_not_waited_for(spec: ActivityLogSpec, assetdex: str) -> None:
    """A migration that holds the table costs two seconds and a sentence."""
    started = time.monotonic()
    with psycopg.connect(assetdex) as other:
        other.execute("LOCK TABLE activity_logs IN ACCESS EXCLUSIVE MODE")
        said = activity_log.write(spec, "dcim", happened())
    assert "lock timeout" in said
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("url", "columns", "reason"),
    [
        ("postgresql://nobody:hunter2@127.0.0.1:1/x", {"action": "{action}"}, "refused"),
        ("nonsense://hunter2", {"action": "{action}"}, "malformed"),
        ("", {"action": "{action}", "severity": "awful"}, "awful"),
        ("", {'acti"on; --': "{action}"}, "does not exist"),
        ("", {"action": "{action}", "user_id": "{operator}"}, "uuid"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    spec: ActivityLogSpec,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    columns: dict[str, str],
    reason: str,
) -> None:
    """A log that cannot be written says why, without the password, and raises nothing."""
    monkeypatch.setenv(VARIABLE, url or os.environ[VARIABLE])
    wrong = spec.model_copy(update={"columns": {"category": "backup", **columns}})
    said = activity_log.write(wrong, "dcim", happened())
    assert said.startswith("public.activity_logs: ")
    assert reason in said
    assert "hunter2" not in said


def test_braces_that_mean_nothing_are_refused() -> None:
    """A template with an unknown name is refused with the names there are; JSON braces are not."""
    good = {"details": json.dumps({"of": "{backup}"})}
    base = {"database_url_env": VARIABLE, "table": "public.activity_logs"}
    assert ActivityLogSpec.model_validate({**base, "columns": good}).columns == good
    with pytest.raises(ValidationError, match=r"there is no \{who\}; there are \{operation\}"):
        ActivityLogSpec.model_validate({**base, "columns": {"action": "{who}"}})
