"""What people are told of each operation and each guard, as it arrives by HTTP and by mail."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from backup_pipelines.health import health_notices
from backup_pipelines.health.finding import Finding, Status
from backup_pipelines.health.guards import GUARDS
from backup_pipelines.messages import notify
from backup_pipelines.settings import Topic
from backup_pipelines.system import System
from backup_pipelines.trail import notices
from backup_pipelines.trail.audit import Happened, Outcome
from backup_pipelines_tests.fix_receivers import HttpReceiver, SmtpReceiver

CRM = System(system="crm", database_url_env="CRM_DATABASE_URL", modules={})
NOW = datetime(2026, 1, 15, 2, tzinfo=UTC)

OPERATIONS = [topic for topic in get_args(Topic) if topic != "guard"]
TYPES = {"done": "success", "failed": "failure", "refused": "warning"}


@pytest.fixture(autouse=True)
def _channels(
    monkeypatch: pytest.MonkeyPatch, http_receiver: HttpReceiver, smtp_receiver: SmtpReceiver
) -> None:
    channels = f"{http_receiver.url('json')} {smtp_receiver.url()}"
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", channels)
    monkeypatch.setenv(notify.DAGSTER_URL, "http://dagster.example:3000")


def happened(operation: str, outcome: Outcome) -> Happened:
    """An operation of which everything is known."""
    return Happened(
        operation=operation,
        outcome=outcome,
        operator="ada",
        at=NOW + timedelta(seconds=90),
        started_at=NOW,
        reason="the ticket says so",
        message="what it came to",
        backup="20260115T020000Z-manual-9f3c1a",
        rows=5,
        run_id="8d3f",
    )


@pytest.mark.parametrize("outcome", get_args(Outcome))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_arrives_however_it_ended(
    operation: str, outcome: Outcome, http_receiver: HttpReceiver, smtp_receiver: SmtpReceiver
) -> None:
    """Both channels get what happened, the numbers, the run's link, and what to do if not well."""
    event = notices.event_of("crm", happened(operation, outcome))
    assert event is not None
    assert notify.send(CRM, event) == []
    [request] = http_receiver.received
    assert request.json["title"] == f"crm: {operation} {outcome} ({happened('', 'done').backup})"
    assert request.json["type"] == TYPES[outcome]
    mail = smtp_receiver.text()
    for text in (request.json["message"], mail):
        for said in ("what it came to", "ada", "the ticket says so", "90"):
            assert said in text
        assert "http://dagster.example:3000/runs/8d3f" in text
    assert bool(event.advice) == (outcome != "done" or operation in ("restore", "undo"))
    assert event.advice.split(":")[0] in request.json["message"]


@pytest.mark.parametrize("operation", ["list", "plan", "prune_plan", "pin", "notify"])
def test_what_changes_nothing_that_matters_is_told_to_nobody(operation: str) -> None:
    """Looking, and telling itself, make no message."""
    assert notices.event_of("crm", happened(operation, "done")) is None


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_arrives_when_it_turns(
    guard: str, http_receiver: HttpReceiver, smtp_receiver: SmtpReceiver
) -> None:
    """Red and green each make a message with the numbers, and the red one says what to do."""
    turns: list[tuple[Status, str, str]] = [
        ("error", "is red", "failure"),
        ("warning", "warns", "warning"),
        ("ok", "is green again", "success"),
    ]
    for status, said, kind in turns:
        finding = Finding(
            guard=guard,
            status=status,
            message="half of it is gone",
            advice="" if status == "ok" else "run this",
            numbers={"rows": 50.0},
        )
        assert notify.send(CRM, health_notices.guard_event("crm", finding, "8d3f")) == []
        got = http_receiver.received[-1].json
        assert (got["title"], got["type"]) == (f"crm: guard {guard} {said}", kind)
        for text in (got["message"], smtp_receiver.text()):
            assert "half of it is gone" in text
            assert "50" in text
            assert ("run this" in text) == (status != "ok")
