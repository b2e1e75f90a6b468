"""Freezes: while a guard's alarm is not acknowledged, nothing good is pruned."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from backup_pipelines import state_log
from backup_pipelines.errors import Refused
from backup_pipelines.storage.store import Store

_FROZEN, _ACKNOWLEDGED = "frozen", "acknowledged"


@dataclass(frozen=True)
class Frozen:
    """A freeze in force: which guard, since when, and what it has found."""

    guard: str
    at: datetime
    message: str


def freeze(store: Store, system: str, guard: str, message: str, *, subject: str = "") -> None:
    """Stop pruning until somebody acknowledges it; `subject` is the backup it is about.

    Said of the same backup again it changes nothing: not while it is in force, and not once it was
    acknowledged, or an acknowledgement would last until the guard looks again.
    """
    last = state_log.latest(store, system, "freezes").get(guard)
    if last is not None:
        about = str(state_log.content(store, last).get("about", ""))
        # Ids sort by time.
        anew = subject > about if subject else last.state != _FROZEN
        if not anew:
            return
    content = {"message": message, "about": subject}
    state_log.append(store, system, "freezes", guard, _FROZEN, content)


def active(store: Store, system: str) -> list[Frozen]:
    """The freezes in force, by the guards' names."""
    return [
        Frozen(state.subject, state.at, str(state_log.content(store, state).get("message", "")))
        for state in _in_force(store, system)
    ]


def acknowledge(
    store: Store, system: str, *, operator: str, reason: str, guards: Collection[str] = ()
) -> list[Frozen]:
    """End the freezes of some guards, or all; returns what was ended.

    Raises Refused without a reason, when none is in force, or when a guard has not frozen anything.
    """
    if not reason.strip():
        raise Refused(
            "acknowledging a freeze needs a reason: say what was found and why it is well"
        )
    found = _in_force(store, system)
    if not found:
        raise Refused(f"nothing is frozen in {system}, so there is nothing to acknowledge")
    names = [state.subject for state in found]
    unknown = sorted(set(guards) - set(names))
    if unknown:
        raise Refused(
            f"{', '.join(unknown)} has frozen nothing in {system}; in force: {', '.join(names)}"
        )
    ended: list[Frozen] = []
    for state in found:
        if guards and state.subject not in guards:
            continue
        content = state_log.content(store, state)
        message, about = str(content.get("message", "")), content.get("about", "")
        said = {"operator": operator, "reason": reason, "message": message, "about": about}
        state_log.append(store, system, "freezes", state.subject, _ACKNOWLEDGED, said)
        ended.append(Frozen(state.subject, state.at, message))
    return ended


def _in_force(store: Store, system: str) -> list[state_log.State]:
    found = state_log.latest(store, system, "freezes").values()
    return sorted((s for s in found if s.state == _FROZEN), key=lambda state: state.subject)
