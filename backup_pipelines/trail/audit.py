"""The audit trail: who did what, when and why, and how it ended; each record holds the last's hash.

Records lie in the store, outside any database that is restored, numbered without a gap. A record is
created only where none is, so that two writers at once make two records.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backup_pipelines import layout
from backup_pipelines.errors import Failed
from backup_pipelines.settings import Severity
from backup_pipelines.storage.reading import READS_AT_ONCE, read_all
from backup_pipelines.storage.store import Store

Outcome = Literal["done", "failed", "refused"]

SEVERITIES: dict[Outcome, Severity] = {"done": "info", "failed": "error", "refused": "warning"}
"""How much an outcome is worth to those who are told of it."""

NOTIFY = "notify"
"""The operation of the record about people who could not be told."""

FIRST_PREVIOUS = "0" * 64
"""What the first record has in place of the hash of the one before it."""

# Enough to keep those busy; more would be read in vain where the newest few are wanted.
_READ_AHEAD = 4 * READS_AT_ONCE
# So many others may be faster, one after the other, before something else must be wrong.
_TRIES = 100
# How far back a record is looked for whose writer was not told whether it was written.
_LOOKED_BACK = 500

# As layout.audit_key makes them; anything else beside them was put there by somebody else.
_NAME = re.compile(r"(?!0{12})[0-9]{12}\.json")


class Happened(BaseModel):
    """What an operation has to tell the audit trail."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(
        default_factory=lambda: uuid4().hex,
        description="Tells this from anything else that happened, however alike.",
    )
    operation: str = Field(description="backup, restore, undo, prune, delete, pin, list ...")
    outcome: Outcome
    operator: str
    at: datetime = Field(description="When it ended.")
    started_at: datetime | None = None
    reason: str = Field(default="", description="Why, in the operator's words.")
    message: str = Field(default="", description="What it came to, or why it failed.")
    backup: str = ""
    plan_hash: str = ""
    rows: int | None = Field(default=None, description="Rows written, changed or removed.")
    digests_before: dict[str, str] = Field(default_factory=dict)
    digests_after: dict[str, str] = Field(default_factory=dict)
    run_id: str = ""
    details: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _make_writable(cls, value: Any) -> Any:
        return _writable(value)


class Record(Happened):
    """One link of the chain."""

    version: Literal[1] = 1
    system: str
    sequence: int
    previous: str = Field(description="sha256 of the bytes of the record before this.")


@dataclass(frozen=True)
class Head:
    """The newest record: its number and the sha256 of its bytes."""

    sequence: int = 0
    sha256: str = FIRST_PREVIOUS

    def __str__(self) -> str:
        return f"{self.sequence} {self.sha256}"


@dataclass(frozen=True)
class Verified:
    """What a look at the whole chain found."""

    head: Head
    problems: tuple[str, ...] = field(default=())


def append(store: Store, system: str, happened: Happened) -> Head:
    """Write the next record of a system's trail, which becomes the head."""
    head = newest(store, system)
    for _ in range(_TRIES):
        record = Record(
            **happened.model_dump(),
            system=system,
            sequence=head.sequence + 1,
            previous=head.sha256,
        )
        data = record.model_dump_json(indent=1).encode()
        key = layout.audit_key(system, record.sequence)
        try:
            store.put_new(key, data)
        except Failed:
            if not store.exists(key):
                raise
            there = store.get(key)
            head = _head(record.sequence, there)
            # An answer that got lost makes the store's client try again, and find its own object.
            if there == data:
                return head
            continue
        return _head(record.sequence, data)
    raise Failed(f"the audit trail of {system} has no room: {_TRIES} others were faster")


def newest(store: Store, system: str) -> Head:
    """The head of a system's trail; of an empty one, the number 0."""
    numbers = _numbers(store, system)
    if not numbers:
        return Head()
    return _head(numbers[-1], store.get(layout.audit_key(system, numbers[-1])))


def written(store: Store, system: str) -> dict[str, Head]:
    """Where each of the newest records is, by the id of what happened."""
    found: dict[str, Head] = {}
    for number, data in _newest_first(store, system, _LOOKED_BACK):
        record = _parse(data)
        if isinstance(record, Record):
            found[record.id] = _head(number, data)
    return found


def newest_first(store: Store, system: str) -> Iterator[Record | str]:
    """Every record of a system, read as it is asked for; a sentence for one that is unreadable."""
    for number, data in _newest_first(store, system, None):
        record = _parse(data)
        yield record if isinstance(record, Record) else f"record {number}: {record}"


def records(store: Store, system: str, *, last: int | None = None) -> list[Record]:
    """The newest records of a system, newest first; those that cannot be read are left out."""
    parsed = [_parse(data) for _, data in _newest_first(store, system, last)]
    return [record for record in parsed if isinstance(record, Record)]


def verify(store: Store, system: str, anchors: Iterable[Head] = ()) -> Verified:
    """Whether every record follows from the one before; `anchors` are heads seen elsewhere.

    Without anchors the removal of the newest records cannot be told from their never having been.
    """
    names = _names(store, system)
    numbers = _canonical(names)
    problems = [f"{name} is not a record" for name in names if not _NAME.fullmatch(name)]
    hashes: dict[int, str] = {0: FIRST_PREVIOUS}
    for number, data in _read(store, system, numbers):
        hashes[number] = hashlib.sha256(data).hexdigest()
        problem = _problem(_parse(data), system, number, hashes.get(number - 1))
        if problem:
            problems.append(f"record {number}: {problem}")
    highest = numbers[-1] if numbers else 0
    problems += [_missing(a + 1, b - 1) for a, b in itertools.pairwise([0, *numbers]) if b - a > 1]
    for anchor in anchors:
        if anchor.sequence > highest:
            problems.append(f"record {anchor.sequence} is missing: a run has written it")
        elif hashes.get(anchor.sequence, anchor.sha256) != anchor.sha256:
            problems.append(f"record {anchor.sequence} is not the one that a run has written")
    return Verified(Head(highest, hashes.get(highest, FIRST_PREVIOUS)), tuple(problems))


def _writable(value: Any) -> Any:
    """The value with texts that every JSON can hold: a terminal gives others, too."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "?")
    if isinstance(value, Mapping):
        return {_writable(name): _writable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(item) for item in value]
    return value


def _problem(record: "Record | str", system: str, number: int, previous: str | None) -> str:
    if isinstance(record, str):
        return record
    if (record.system, record.sequence) != (system, number):
        return f"it is record {record.sequence} of {record.system}"
    # A gap is reported as such; the hash over it cannot be checked.
    if previous is not None and record.previous != previous:
        return "the record before it was altered, or this one was"
    return ""


def _parse(data: bytes) -> "Record | str":
    try:
        return Record.model_validate_json(data)
    except ValidationError as error:
        return f"it cannot be read: {error.errors()[0]['msg']}"


def _missing(first: int, last: int) -> str:
    return (
        f"record {first} is missing" if first == last else f"records {first} to {last} are missing"
    )


def _newest_first(store: Store, system: str, last: int | None) -> Iterator[tuple[int, bytes]]:
    numbers = _numbers(store, system)[::-1][:last]
    for start in range(0, len(numbers), _READ_AHEAD):
        yield from _read(store, system, numbers[start : start + _READ_AHEAD])


def _read(store: Store, system: str, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
    def read(number: int) -> tuple[int, bytes]:
        return number, store.get(layout.audit_key(system, number))

    return read_all(read, numbers)


def _numbers(store: Store, system: str) -> list[int]:
    return _canonical(_names(store, system))


def _canonical(names: Iterable[str]) -> list[int]:
    return sorted(int(name.removesuffix(".json")) for name in names if _NAME.fullmatch(name))


def _names(store: Store, system: str) -> list[str]:
    prefix = layout.audit_prefix(system)
    return [item.key.removeprefix(prefix) for item in store.objects(prefix)]


def _head(sequence: int, data: bytes) -> Head:
    return Head(sequence, hashlib.sha256(data).hexdigest())
