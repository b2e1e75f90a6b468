"""How a live table's columns differ from the backup's: fine, adapted and how, or refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from backup_pipelines.manifest import Column, Table
from backup_pipelines.postgres.introspect import LiveColumn, LiveTable

Verdict = Literal["fine", "adapted", "refused"]

# Every value of the first type is a value of the second one with the same text.
_WIDER = {
    ("int2", "int4"),
    ("int2", "int8"),
    ("int4", "int8"),
    ("int2", "numeric"),
    ("int4", "numeric"),
    ("int8", "numeric"),
    ("float4", "float8"),
    ("varchar", "text"),
    ("bpchar", "text"),
    ("name", "text"),
    ("json", "jsonb"),
    ("date", "timestamp"),
    ("cidr", "inet"),
}


@dataclass(frozen=True)
class Drift:
    """One difference between a backup's table and the live one."""

    column: str
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class TableDrift:
    """All differences of one table, and the columns that a restore writes."""

    differences: tuple[Drift, ...]
    columns: tuple[str, ...]

    @property
    def refused(self) -> tuple[str, ...]:
        """Why the table cannot be restored, or nothing."""
        return tuple(d.text for d in self.differences if d.verdict == "refused")

    @property
    def adapted(self) -> tuple[str, ...]:
        """What a restore does differently because of the drift."""
        return tuple(d.text for d in self.differences if d.verdict == "adapted")

    @property
    def is_exact(self) -> bool:
        """Whether the digest of the backup applies to the live table."""
        return not any(d.verdict != "fine" for d in self.differences)


def drift_of(table: Table, live: LiveTable | None) -> TableDrift:
    """Compare the columns of a backup's table with the live ones."""
    if live is None:
        text = f"{table.qualified} does not exist any more"
        return TableDrift((Drift("", "refused", text),), ())
    if (live.kind == "p") != (table.kind == "partitioned"):
        text = f"{table.qualified} is partitioned in one of backup and database, not in both"
        return TableDrift((Drift("", "refused", text),), ())
    stored = {column.name: column for column in table.columns}
    current = {column.name: column for column in live.columns}
    differences: list[Drift] = []
    for name, column in stored.items():
        if name in current:
            differences += _changed(table, column, current[name])
        else:
            differences.append(_dropped(table, column, live))
    for name, column in current.items():
        if name not in stored:
            differences.append(_added(table, column))
    columns = tuple(
        name for name, column in current.items() if name in stored and not column.generated
    )
    return TableDrift(tuple(differences), columns)


def _changed(table: Table, stored: Column, live: LiveColumn) -> Iterator[Drift]:
    name = f"{table.qualified}.{stored.name}"
    if stored.base_type != live.base_type:
        before, now = stored.base_type.split(".")[-1], live.base_type.split(".")[-1]
        if (before, now) in _WIDER:
            yield Drift(stored.name, "adapted", f"{name} was {before} and is {now}: values fit")
        else:
            yield Drift(stored.name, "refused", f"{name} was {stored.type} and is {live.type} now")
    elif stored.type != live.type:
        yield Drift(
            stored.name,
            "adapted",
            f"{name} was {stored.type} and is {live.type}: every value is checked, none is cut",
        )
    if live.not_null and not stored.not_null:
        yield Drift(stored.name, "fine", f"{name} is NOT NULL now: every value is checked")
    if bool(stored.generated) != bool(live.generated):
        text = "computed now" if live.generated else "stored as it was in the backup"
        yield Drift(stored.name, "adapted", f"{name} is {text}")


def _dropped(table: Table, stored: Column, live: LiveTable) -> Drift:
    known = {column.name for column in table.columns}
    alike = [c.name for c in live.columns if c.name not in known and c.type == stored.type]
    hint = f"; was it renamed to {alike[0]}?" if alike else ""
    return Drift(
        stored.name,
        "adapted",
        f"{table.qualified}.{stored.name} is gone, its values stay in the backup only{hint}",
    )


def _added(table: Table, live: LiveColumn) -> Drift:
    name = f"{table.qualified}.{live.name}"
    if live.generated:
        return Drift(live.name, "adapted", f"{name} is new and computed")
    if live.not_null and live.default is None and not live.identity:
        return Drift(
            live.name, "refused", f"{name} is new, NOT NULL and without a default: give it one"
        )
    return Drift(
        live.name, "adapted", f"{name} is new: rows keep their values, inserted rows its default"
    )
