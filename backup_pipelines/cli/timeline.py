"""The verbs `history` and `diff`: what became of one record, and of all of them."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli.jobs import by_option, json_option, store_named, store_option
from backup_pipelines.cli.output import (
    print_json,
    print_table,
    progress,
    tell,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import Refused
from backup_pipelines.progress import Report, sparse
from backup_pipelines.wording import clean, count

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store
    from backup_pipelines.timeline.differences import Differences, RowDifference, TableDifference
    from backup_pipelines.timeline.history import History
    from backup_pipelines.timeline.sides import Side

_EVENTS = {"first": "first seen", "changed": "changed", "gone": "gone", "back": "came back"}

_ROWS = 20
_COUNTS = ("insert", "update", "delete", "unchanged")


@click.command()
@click.argument("system")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
@store_option
@by_option
@json_option
def history(
    system: str,
    table: str,
    key: tuple[str, ...],
    which: StoreName,
    operator: str | None,
    as_json: bool,
) -> None:
    """Show what became of one record of TABLE through the backups of SYSTEM, oldest first.

    KEY is its primary key; several columns one after the other, or with commas between them.
    """
    from backup_pipelines.timeline import history as core
    from backup_pipelines.timeline import moments

    systems.require_known(system)
    store = store_named(system, which)
    with progress(f"{system}: following {', '.join(key)} of {table}") as step:
        entries = moments.completed(store, system, tell)
        found = core.history(store, entries, table, key, sparse(step))
    if as_json:
        print_json(_history_document(system, which, found))
    else:
        _print_history(system, which, found)
    message = f"{count(len(found.versions), 'version')} of a record of {found.table}"
    cli_audit.note(system, "history", "done", operator=operator, message=message, which=which)


def _history_document(system: str, which: StoreName, found: "History") -> Mapping[str, Any]:
    from backup_pipelines.timeline.history import restore_command

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


def _print_history(system: str, which: StoreName, found: "History") -> None:
    from backup_pipelines.timeline.history import restore_command

    lines: list[Sequence[str]] = []
    for version in found.versions:
        start = (version.backup_id, f"{version.at:%Y-%m-%d %H:%M:%S}", _EVENTS[version.event])
        changes = [(c.column, _value(c.old), _value(c.new)) for c in version.changes]
        for place, change in enumerate(changes or [("", "", "")]):
            lines.append((*(start if not place else ("", "", "")), *change))
    print_table(
        ("backup", "time (UTC)", "what", "column", "before", "after"), lines, whole=("backup",)
    )
    print(f"{count(found.backups, 'backup')} looked into. Bring a version back:")
    for version in found.versions:
        if version.record:
            command = restore_command(system, found, version, which)
            print(f"  as of {version.last_backup_id}: {command}")
    one = "--key" in restore_command(system, found, found.versions[0], which)
    print(
        "Each writes this one record and deletes nothing; see it first: plan in place of restore, "
        "without --confirm."
        if one
        else "Each writes every row of the table that the backup has, since a value of the key has "
        "a comma, and deletes nothing; see it first: plan in place of restore, without --confirm."
    )


@click.command()
@click.argument("system")
@click.argument("backup")
@click.argument("other", default="live")
@click.option("--table", "tables", metavar="T", multiple=True, help="Only this; may be repeated.")
@click.option(
    "--rows",
    metavar="N",
    type=click.IntRange(min=0),
    default=_ROWS,
    help=f"Rows of each table to show at most; {_ROWS} unless told otherwise.",
)
@click.option("--to", "to", metavar="FILE", help="Write all rows that differ to this Parquet file.")
@store_option
@by_option
@json_option
def diff(
    system: str,
    backup: str,
    other: str,
    tables: tuple[str, ...],
    rows: int,
    to: str | None,
    which: StoreName,
    operator: str | None,
    as_json: bool,
) -> None:
    """Show what became of the rows of BACKUP until OTHER: another backup, or live, the default."""
    from backup_pipelines.timeline import difference_file

    systems.require_known(system)
    started, file = time.monotonic(), Path(to) if to else None
    if file is not None:
        difference_file.refuse_existing(file)
    store = store_named(system, which)
    with (
        progress(f"{system}: comparing {backup} with {other}") as step,
        _compared(store, system, backup, other, tables, sparse(step)) as (first, second, found),
    ):
        shown = {t.table: list(found.rows(t, rows)) for t in found.tables} if rows else {}
        written = difference_file.write(found, file) if file else 0
        document = _diff_document(system, first, second, found, shown)
    document["file"] = str(file.absolute()) if file else None
    document["seconds"] = round(time.monotonic() - started, 3)
    if as_json:
        print_json(document)
    else:
        _print_diff(found, shown)
        print(f"{first.name} to {second.name}: {_in_words(found)}, {document['seconds']:.1f} s")
        if file is not None:
            print(f"{count(written, 'row')} written to {file}")
    message = f"until {second.name}: {_in_words(found)}"
    cli_audit.note(
        system, "diff", "done", operator=operator, backup=first.name, message=message, which=which
    )


@contextmanager
def _compared(
    store: "Store",
    system: str,
    backup: str,
    other: str,
    tables: Sequence[str],
    report: Report,
) -> "Generator[tuple[Side, Side, Differences]]":
    from backup_pipelines import encryption
    from backup_pipelines.system import qualify
    from backup_pipelines.timeline.differences import differences
    from backup_pipelines.timeline.local_parts import private_folder
    from backup_pipelines.timeline.sides import LIVE, of_backup, of_live

    with ExitStack() as stack:
        entries = [catalog.find(store, system, name) for name in (backup, other) if name != LIVE]
        if backup == LIVE:
            raise Refused("name the backup first: diff SYSTEM BACKUP live")
        for entry in entries:
            encryption.refuse_closed(entry)
        first = of_backup(store, entries[0])
        folder = stack.enter_context(private_folder())
        if other == LIVE:
            loaded = systems.load_system(system)
            url = stack.enter_context(environment.source_url(loaded))
            wanted = frozenset(map(qualify, tables))
            live = stack.enter_context(private_folder())
            second = stack.enter_context(of_live(loaded, url, first, wanted, live, report))
        else:
            second = of_backup(store, entries[1])
        found = stack.enter_context(differences(first, second, tables, folder, report))
        yield first, second, found


def _diff_document(
    system: str,
    first: "Side",
    second: "Side",
    found: "Differences",
    shown: "Mapping[str, Sequence[RowDifference]]",
) -> dict[str, Any]:
    return {
        "system": system,
        "first": first.name,
        "first_at": first.at.isoformat(),
        "second": second.name,
        "second_at": second.at.isoformat(),
        "tables": [vars(table) for table in found.tables],
        "rows": [vars(row) for rows in shown.values() for row in rows],
        "truncated": [t.table for t in found.tables if _left(t, shown)],
        "not_compared": list(found.not_compared),
    }


def _print_diff(found: "Differences", shown: "Mapping[str, Sequence[RowDifference]]") -> None:
    changed = [table for table in found.tables if not table.is_nothing]
    if changed:
        print_table(
            ("table", *_COUNTS, "changed columns"),
            [(t.table, *(f"{vars(t)[n]:,}" for n in _COUNTS), _columns(t)) for t in changed],
            numbers=_COUNTS,
        )
    same = len(found.tables) - len(changed)
    unread = sum(table.by_digest for table in found.tables)
    if same:
        print(f"{count(same, 'table')} unchanged, {unread} by digest, without reading a row")
    for table in found.tables:
        for note in table.notes:
            print(f"{table.table}: {clean(note)}")
    if found.not_compared:
        listed = ", ".join(found.not_compared)
        print(f"not compared, since one side was never to hold them: {listed}")
    for table in changed:
        _print_rows(table, shown.get(table.table, ()))
        left = _left(table, shown)
        if left and shown:
            tell(f"{count(left, 'row')} of {table.table} more: --rows N, or --to FILE.parquet")


def _print_rows(table: "TableDifference", rows: "Sequence[RowDifference]") -> None:
    if not rows:
        return
    print()
    lines = [(row.op, ", ".join(map(_value, row.key.values())), _said(row)) for row in rows]
    print_table((table.table, ", ".join(table.key), "columns"), lines)


def _said(row: "RowDifference") -> str:
    if row.before is not None and row.after is not None:
        pairs = ((n, _value(row.before[n]), _value(row.after[n])) for n in row.changed)
        return "; ".join(f"{name}: {old} -> {new}" for name, old, new in pairs)
    record = row.after if row.before is None else row.before
    values = ((name, text) for name, text in (record or {}).items() if name not in row.key)
    return "; ".join(f"{name}: {_value(text)}" for name, text in values)


def _left(table: "TableDifference", shown: "Mapping[str, Sequence[RowDifference]]") -> int:
    return table.insert + table.update + table.delete - len(shown.get(table.table, ()))


def _columns(table: "TableDifference") -> str:
    return ", ".join(f"{name} ({rows:,})" for name, rows in table.changed_columns.items())


def _in_words(found: "Differences") -> str:
    words = (("insert", "inserted"), ("update", "updated"), ("delete", "deleted"))
    sums = [(sum(vars(t)[name] for t in found.tables), word) for name, word in words]
    return ", ".join(f"{rows:,} {word}" for rows, word in sums if rows) or "no row differs"


def _value(text: str | None) -> str:
    return "NULL" if text is None else text
