"""What people are told of an operation: its title, the numbers, and what to do now."""

from typing import get_args

from backup_pipelines.messages.notify import Event
from backup_pipelines.settings import Severity, Topic
from backup_pipelines.trail.audit import SEVERITIES, Happened

NOT_LOCKED = "not_locked"
"""The detail of a record that says which backups could not be locked, and why."""

DAMAGED_COPIES = "damaged_copies"
"""The detail of a record that says which copies in the second store were found damaged."""

# What people subscribe to is less fine than what is recorded.
_COARSER: dict[str, Topic] = {"restore_into": "restore"}

_LOOK = "Look at the log of the run, put right what it says, and start it again."
_ROLLED_BACK = "Unless the message says otherwise everything was rolled back. "
_ANOTHER = (
    "Do not rely on this backup. Choose one before it (`backup-pipelines list {system}`), and take "
    "a new one: backup-pipelines backup {system}"
)
_AFTER_FAILURE: dict[str, str] = {
    "backup": f"Earlier backups are as they were. {_LOOK}",
    "restore": _ROLLED_BACK + _LOOK,
    "undo": _ROLLED_BACK + _LOOK,
    "drill": f"If the message blames the backup: {_ANOTHER}",
    "verify": _ANOTHER,
}


# Details of a record that tell what went wrong beside an operation that is done.
_BESIDE = (NOT_LOCKED, DAMAGED_COPIES)


def event_of(system: str, happened: Happened) -> Event | None:
    """The message about an operation; None for those that nobody is told of."""
    topic = topic_of(happened.operation)
    if topic is None:
        return None
    return Event(
        system=system,
        topic=topic,
        severity=_severity(happened),
        title=_title(happened),
        facts=_facts(happened),
        advice=_advice(system, happened),
        run_id=happened.run_id,
    )


def topic_of(operation: str) -> Topic | None:
    """What people subscribe to for an operation; None for those that nobody is told of."""
    found: dict[str, Topic] = {topic: topic for topic in get_args(Topic)}
    return (found | _COARSER).get(operation)


def _severity(happened: Happened) -> Severity:
    beside = any(happened.details.get(name) for name in _BESIDE)
    return "warning" if beside and happened.outcome == "done" else SEVERITIES[happened.outcome]


def _title(happened: Happened) -> str:
    what = happened.operation.replace("_", " ")
    return f"{what} {happened.outcome}" + (f" ({happened.backup})" if happened.backup else "")


def _facts(happened: Happened) -> dict[str, str | int | float]:
    found: dict[str, str | int | float | None] = {
        "message": happened.message,
        "backup": happened.backup,
        "operator": happened.operator,
        "reason": happened.reason,
        "rows": happened.rows,
    }
    if happened.started_at is not None:
        found["seconds"] = round((happened.at - happened.started_at).total_seconds(), 1)
    found |= {k: v for k, v in happened.details.items() if isinstance(v, (str, int, float))}
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _advice(system: str, happened: Happened) -> str:
    if happened.outcome == "refused":
        return "Nothing was changed. Do what the message says and start it again."
    if happened.outcome == "failed":
        return _AFTER_FAILURE.get(happened.operation, _LOOK).format(system=system)
    if happened.operation in ("restore", "undo") and happened.rows:
        return f"To take it back: backup-pipelines undo {system} --confirm CONFIRM"
    return ""
