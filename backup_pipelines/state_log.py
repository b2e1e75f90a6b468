"""Changes of state as write-once objects: whether a backup is pinned, damaged, being removed.

Each change is an object of its own whose name tells all that a listing needs; the newest of a
subject counts. Nothing is ever rewritten, so Object Lock works, and the bucket alone rebuilds it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backup_pipelines import layout
from backup_pipelines.errors import Damaged
from backup_pipelines.layout import StateKind
from backup_pipelines.storage.reading import read_again
from backup_pipelines.storage.store import Store

_TIME = "%Y%m%dT%H%M%S%fZ"
_NAME = re.compile(r"([0-9]{8}T[0-9]{12}Z)-([a-z]+)\.json")

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class State:
    """The newest state of a subject."""

    subject: str
    state: str
    at: datetime
    key: str


def stamp(at: datetime) -> str:
    """A UTC time to the microsecond that sorts as text and is safe in keys."""
    return at.astimezone(UTC).strftime(_TIME)


def moment(text: str) -> datetime:
    """The time in a stamp."""
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def append(
    store: Store,
    system: str,
    kind: StateKind,
    subject: str,
    state: str,
    content: Mapping[str, Any],
    *,
    now: datetime | None = None,
) -> State:
    """Write that a subject is in this state from now on."""
    before = latest(store, system, kind).get(subject)
    at = now or datetime.now(UTC)
    # A clock that was put back must not make the newest change an old one.
    if before is not None and at <= before.at:
        at = before.at + _TICK
    key = layout.state_key(system, kind, subject, stamp(at), state)
    document = {"subject": subject, "state": state, "at": at.isoformat(), **content}
    store.put_new(key, json.dumps(document, indent=1, default=str).encode())
    return State(subject, state, at, key)


def latest(store: Store, system: str, kind: StateKind) -> dict[str, State]:
    """The newest state of every subject, by one listing; foreign objects are left out."""
    prefix = layout.states_prefix(system, kind)
    found: dict[str, State] = {}
    for item in store.objects(prefix):
        subject, _, name = item.key.removeprefix(prefix).rpartition("/")
        match = _NAME.fullmatch(name)
        if match is None or not subject:
            continue
        state = State(subject, match[2], moment(match[1]), item.key)
        if subject not in found or found[subject].at < state.at:
            found[subject] = state
    return found


def content(store: Store, state: State) -> Mapping[str, Any]:
    """What was written with a change of state; raises Damaged when it is no JSON."""

    def read() -> Mapping[str, Any]:
        try:
            return json.loads(store.get(state.key))
        except ValueError as error:
            raise Damaged(f"{store.uri(state.key)} is not what was written: {error}") from error

    return read_again(read)
