"""The versions of one record through the backups: when it came, changed, went and came back."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from backup_pipelines import encryption
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import Column, Manifest
from backup_pipelines.progress import Report
from backup_pipelines.scratch import scratch_folder
from backup_pipelines.storage.store import Store
from backup_pipelines.timeline import engine
from backup_pipelines.timeline.forms import duck_type, key_sql, text_sql
from backup_pipelines.timeline.key_values import key_text
from backup_pipelines.timeline.local_parts import LocalParts
from backup_pipelines.timeline.sources import Holding, Source, as_text, holdings, named, union_sql

if TYPE_CHECKING:
    import duckdb

Event = Literal["first", "changed", "gone", "back"]

Record = Mapping[str, str | None]
"""A record's values by column, each as PostgreSQL prints it."""


@dataclass(frozen=True)
class Changed:
    """One column of a record, before and after; None is NULL."""

    column: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Version:
    """What a backup was the first to show of a record."""

    backup_id: str
    at: datetime
    event: Event
    changes: tuple[Changed, ...]
    record: Record | None
    """None when the record is gone."""
    last_backup_id: str
    """The newest backup that shows the same."""


@dataclass(frozen=True)
class History:
    """The versions of one record, oldest first."""

    table: str
    key: Mapping[str, str]
    backups: int
    """How many backups were looked at: those that hold the table, or ought to."""
    versions: tuple[Version, ...]


def history(
    store: Store, entries: Sequence[Manifest], table: str, key: Sequence[str], report: Report
) -> History:
    """The versions of the record with this primary key; `entries` has the oldest backup first.

    `key` has a value for each column, or one with commas between them. Tables that a backup holds
    by an equal digest are read once. Raises NotFound for a table or a record that no backup has,
    Refused for a table without a primary key and for a value that is none of its type, and as
    `query.asked` does.
    """
    if not entries:
        raise NotFound("there is no completed backup to look into yet")
    name = named(entries, table)
    told = [entry for entry in entries if _tells(entry, name)]
    for entry in told:
        encryption.refuse_closed(entry)
    with _Search(store, name, _key_columns(told, name), key) as search:
        found = [(entry, search.record(entry, report)) for entry in told]
    versions = _versions(found)
    if not versions:
        wanted = ", ".join(search.key.values())
        raise NotFound(f"none of {len(told)} backups has a record {wanted} in {name}")
    return History(name, search.key, len(told), tuple(versions))


def restore_command(
    system: str, history: History, version: Version, which: StoreName = "first"
) -> str:
    """The command that brings a version back.

    It writes this one record. A value that `--key` cannot name, since it has a comma and is one of
    several, leaves only the whole table: the command then writes each row that the backup has.
    """
    words = ["backup-pipelines", "restore", system, version.last_backup_id]
    words += ["--table", history.table]
    values = list(history.key.values())
    if len(values) == 1 or not any("," in value for value in values):
        words += ["--key", ",".join(values)]
    else:
        words += ["--mode", "upsert"]
    words += ["--store", which] if which != "first" else []
    return shlex.join([*words, "--confirm", "CONFIRM"])


def _tells(entry: Manifest, name: str) -> bool:
    """Whether a backup says anything of a table, if only that there was none any more."""
    held = any(table.qualified == name for table in entry.tables)
    left_out = any(one.name == name for one in entry.excluded)
    return held or (entry.scope == "full" and not left_out)


def _key_columns(entries: Sequence[Manifest], name: str) -> tuple[Column, ...]:
    """The primary key's columns, by the newest backup that has the table."""
    newest = next(found for e in reversed(entries) if (found := holdings(e.tables).get(name)))
    table = newest.table
    if not table.primary_key:
        raise Refused(f"{name} has no primary key, so no record of it can be followed")
    columns = {column.name: column for column in table.columns}
    return tuple(columns[part] for part in table.primary_key)


def _versions(found: Sequence[tuple[Manifest, Record | None]]) -> list[Version]:
    versions: list[Version] = []
    for entry, record in found:
        last = versions[-1] if versions else None
        if last is None and record is None:
            continue
        known = last.record if last else None
        if last is not None and (known is None) == (record is None):
            changes = _changes(known or {}, record or {})
            if not changes:
                versions[-1] = replace(last, last_backup_id=entry.id)
                continue
        else:
            changes = ()
        event: Event = "changed"
        if record is None:
            event = "gone"
        elif known is None:
            event = "first" if last is None else "back"
            # What it is that came back is told by what it was before it went.
            before = next((v.record for v in reversed(versions) if v.record is not None), None)
            changes = _changes(before, record) if before is not None else ()
        at = entry.snapshot_at
        versions.append(Version(entry.id, at, event, changes, record, entry.id))
    return versions


def _changes(old: Record, new: Record) -> tuple[Changed, ...]:
    """What differs; a column that one of them does not have is NULL there."""
    names = [*new, *(name for name in old if name not in new)]
    return tuple(
        Changed(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    )


class _Search:
    """One record, looked up in one backup after the other."""

    def __init__(
        self, store: Store, name: str, columns: Sequence[Column], key: Sequence[str]
    ) -> None:
        self._store, self._name, self._columns = store, name, columns
        self._given = _values(name, columns, key)
        self.key: dict[str, str] = {}
        self._found: dict[object, Record | None] = {}

    def __enter__(self) -> "_Search":
        self._stack = ExitStack()
        folder = self._stack.enter_context(scratch_folder())
        self._connection: duckdb.DuckDBPyConnection = self._stack.enter_context(
            engine.connect(folder)
        )
        self._parts = LocalParts(self._store, folder)
        pairs = zip(self._columns, self._given, strict=True)
        self.key = {c.name: key_text(self._connection, self._name, c, text) for c, text in pairs}
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def record(self, entry: Manifest, report: Report) -> Record | None:
        """The record in a backup; what two backups hold alike is read once."""
        held = holdings(entry.tables).get(self._name)
        if held is None:
            return None
        leaves = tuple((t.qualified, t.rows, t.digest, t.columns) for t in held.leaves)
        # Digests of two versions tell nothing of each other.
        content = entry.digest_version, leaves
        if content not in self._found:
            report(f"looking into {entry.id}")
            self._found[content] = self._read(entry, held)
        return self._found[content]

    def _read(self, entry: Manifest, held: Holding) -> Record | None:
        self._parts.bring(held.leaves)
        names = [column.name for column in held.table.columns]
        missing = [column.name for column in self._columns if column.name not in names]
        if missing:
            raise Refused(
                f"{self._name} has no column {', '.join(missing)} in backup {entry.id}: its "
                "primary key was another then, so a record cannot be followed through it"
            )
        selects = [self._select(Source(t, self._parts.paths(t)), names) for t in held.leaves]
        if not selects:
            return None
        values = [*self.key.values()] * len(selects)
        rows = self._connection.execute(" UNION ALL ".join(selects), values).fetchall()
        if len(rows) > 1:
            raise Refused(
                f"{self._name} has {len(rows)} rows of this key in backup {entry.id}: its primary "
                "key was another then, so a record cannot be followed through it"
            )
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def _select(self, source: Source, names: Sequence[str]) -> str:
        stored = {column.name: number for number, column in enumerate(source.table.columns)}
        conditions: list[str] = []
        for column in self._columns:
            number = stored[column.name]
            text = text_sql(f"c{number}", duck_type(source.table.columns[number]))
            conditions.append(f"{key_sql(text, column.base_type)} = ?")
        aliases = {name: f"v{number}" for number, name in enumerate(names)}
        return f"{union_sql([source], [(aliases, as_text)])} WHERE {' AND '.join(conditions)}"


def _values(name: str, columns: Sequence[Column], key: Sequence[str]) -> list[str]:
    """A value for each column of the key, from as many arguments or from one with commas."""
    values = key[0].split(",") if len(key) == 1 and len(columns) > 1 else list(key)
    if len(values) != len(columns):
        listed = ", ".join(f"{column.name} ({column.type})" for column in columns)
        raise Refused(
            f"the key of {name} is {listed}: give {len(columns)} values, with commas between them "
            f"or one after the other, not {len(values)}"
        )
    return values
