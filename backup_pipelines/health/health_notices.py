"""What people are told of the health: a guard that has turned, a store that does not answer."""

from backup_pipelines.health.finding import Finding, Status
from backup_pipelines.messages.notify import Event
from backup_pipelines.settings import Severity

_SEVERITIES: dict[Status, Severity] = {"error": "error", "warning": "warning", "ok": "info"}
_SAID: dict[Status, str] = {"error": "is red", "warning": "warns", "ok": "is green again"}


def turned(finding: Finding) -> str:
    """How a guard is now, as a title: `guard shrink is red`."""
    return f"guard {finding.guard} {_SAID[finding.status]}"


def guard_event(system: str, finding: Finding, run_id: str) -> Event:
    """The message about a guard that has turned red or green, or warns."""
    return Event(
        system=system,
        topic="guard",
        severity=_SEVERITIES[finding.status],
        title=turned(finding),
        facts={"message": finding.message, **finding.numbers},
        advice=finding.advice,
        run_id=run_id,
    )


def store_failed(system: str, message: str, run_id: str) -> Event:
    """The message that the store cannot be read or written."""
    return Event(
        system=system,
        topic="guard",
        severity="error",
        title="the store cannot be reached or written",
        facts={"message": message},
        advice="Nothing can be backed up or restored until it answers: look at its address in "
        "BACKUP_STORE_URL, its credentials and permissions, and its room.",
        run_id=run_id,
    )


def store_answers(system: str, run_id: str) -> Event:
    """The message that it is over."""
    return Event(
        system=system,
        topic="guard",
        severity="info",
        title="the store answers again",
        facts={},
        run_id=run_id,
    )
