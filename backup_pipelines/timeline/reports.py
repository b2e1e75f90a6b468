"""What the command line and the jobs say of a history and of differences, and how they get them."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from backup_pipelines import catalog, encryption
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import Refused
from backup_pipelines.progress import Report
from backup_pipelines.scratch import scratch_folder
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System, qualify
from backup_pipelines.timeline.differences import Differences, RowDifference, differences
from backup_pipelines.timeline.history import History, restore_command
from backup_pipelines.timeline.pairs import TableDifference
from backup_pipelines.timeline.sides import LIVE, Side, of_backup, of_live

Live = Callable[[], AbstractContextManager[tuple[System, str]]]
"""Gives the system and the URL of its live database, when that is one of the sides."""

Rows = Mapping[str, Sequence[RowDifference]]
"""Rows that differ, by table."""

COUNTS = ("insert", "update", "delete", "unchanged")
EVENTS = {"first": "first seen", "changed": "changed", "gone": "gone", "back": "came back"}


@contextmanager
def compared(
    store: Store,
    system: str,
    backup: str,
    other: str,
    tables: Sequence[str],
    live: Live,
    report: Report,
) -> Generator[tuple[Side, Side, Differences]]:
    """The two sides that `diff BACKUP OTHER` names, and what differs between them."""
    with ExitStack() as stack:
        entries = [catalog.find(store, system, name) for name in (backup, other) if name != LIVE]
        if backup == LIVE:
            raise Refused("name the backup first: diff SYSTEM BACKUP live")
        for entry in entries:
            encryption.refuse_closed(entry)
        first = of_backup(store, entries[0])
        folder = stack.enter_context(scratch_folder())
        if other == LIVE:
            loaded, url = stack.enter_context(live())
            wanted = frozenset(map(qualify, tables))
            read = stack.enter_context(scratch_folder())
            second = stack.enter_context(of_live(loaded, url, first, wanted, read, report))
        else:
            second = of_backup(store, entries[1])
        found = stack.enter_context(differences(first, second, tables, folder, report))
        yield first, second, found


def some_rows(found: Differences, limit: int) -> Rows:
    """The first rows of each table that differ, in the order of its key."""
    return {t.table: list(found.rows(t, limit)) for t in found.tables} if limit else {}


def diff_document(
    system: str, first: Side, second: Side, found: Differences, shown: Rows
) -> dict[str, Any]:
    """What `diff --json` prints, but for how long it took."""
    return {
        "system": system,
        "first": first.name,
        "first_at": first.at.isoformat(),
        "second": second.name,
        "second_at": second.at.isoformat(),
        "tables": [vars(table) for table in found.tables],
        "rows": [vars(row) for rows in shown.values() for row in rows],
        "truncated": [t.table for t in found.tables if left(t, shown)],
        "not_compared": list(found.not_compared),
    }


def left(table: TableDifference, shown: Rows) -> int:
    """How many rows of a table differ and are not among the shown ones."""
    return table.insert + table.update + table.delete - len(shown.get(table.table, ()))


def in_words(found: Differences) -> str:
    """The sums of all tables."""
    words = (("insert", "inserted"), ("update", "updated"), ("delete", "deleted"))
    sums = [(sum(vars(t)[name] for t in found.tables), word) for name, word in words]
    return ", ".join(f"{rows:,} {word}" for rows, word in sums if rows) or "no row differs"


def of_row(row: RowDifference) -> str:
    """What became of one row, column by column."""
    if row.before is not None and row.after is not None:
        pairs = ((n, value(row.before[n]), value(row.after[n])) for n in row.changed)
        return "; ".join(f"{name}: {old} -> {new}" for name, old, new in pairs)
    record = row.after if row.before is None else row.before
    values = ((name, text) for name, text in (record or {}).items() if name not in row.key)
    return "; ".join(f"{name}: {value(text)}" for name, text in values)


def value(text: str | None) -> str:
    """A value as people read it."""
    return "NULL" if text is None else text


def history_document(system: str, which: StoreName, found: History) -> dict[str, Any]:
    """What `history --json` prints."""
    return {
        "system": system,
        "table": found.table,
        "key": found.key,
        "backups": found.backups,
        "versions": [
            {
                "backup": version.backup_id,
                "at": version.at.isoformat(),
                "event": version.event,
                "changes": [vars(change) for change in version.changes],
                "record": version.record,
                "last_backup": version.last_backup_id,
                "restore": restore_command(system, found, version, which)
                if version.record
                else None,
            }
            for version in found.versions
        ],
    }
