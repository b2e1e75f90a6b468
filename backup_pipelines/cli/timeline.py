"""The verbs `history` and `diff`: what became of one record, and of all of them."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backup_pipelines import environment, systems
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli.jobs import by_option, json_option, store_named, store_option
from backup_pipelines.cli.output import (
    print_json,
    print_table,
    progress,
    tell,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.progress import sparse
from backup_pipelines.wording import clean, count, counts

if TYPE_CHECKING:
    from backup_pipelines.system import System
    from backup_pipelines.timeline.differences import Differences, RowDifference, TableDifference
    from backup_pipelines.timeline.history import History
    from backup_pipelines.timeline.reports import Rows

_ROWS = 20


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
    from backup_pipelines.timeline import moments, reports

    systems.require_known(system)
    cli_audit.allow(system, "history", operator, which)
    store = store_named(system, which)
    with progress(f"{system}: following {', '.join(key)} of {table}") as step:
        entries = moments.completed(store, system, tell)
        found = core.history(store, entries, table, key, sparse(step))
    if as_json:
        print_json(reports.history_document(system, which, found))
    else:
        _print_history(system, which, found)
    message = f"{count(len(found.versions), 'version')} of a record of {found.table}"
    cli_audit.note(system, "history", "done", operator=operator, message=message, which=which)


def _print_history(system: str, which: StoreName, found: "History") -> None:
    from backup_pipelines.timeline.history import restore_command
    from backup_pipelines.timeline.reports import EVENTS, value

    lines: list[Sequence[str]] = []
    for version in found.versions:
        start = (version.backup_id, f"{version.at:%Y-%m-%d %H:%M:%S}", EVENTS[version.event])
        changes = [(c.column, value(c.old), value(c.new)) for c in version.changes]
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
    from backup_pipelines.timeline import difference_file, reports

    systems.require_known(system)
    cli_audit.allow(system, "diff", operator, which)
    started, file = time.monotonic(), Path(to) if to else None
    if file is not None:
        difference_file.refuse_existing(file)
    store = store_named(system, which)
    with (
        progress(f"{system}: comparing {backup} with {other}") as step,
        reports.compared(
            store, system, backup, other, tables, lambda: _live(system), sparse(step)
        ) as (first, second, found),
    ):
        shown = reports.some_rows(found, rows)
        written = difference_file.write(found, file) if file else 0
        document = reports.diff_document(system, first, second, found, shown)
    document["file"] = str(file.absolute()) if file else None
    document["seconds"] = round(time.monotonic() - started, 3)
    if as_json:
        print_json(document)
    else:
        _print_diff(found, shown)
        said = f"{first.name} to {second.name}: {reports.in_words(found)}"
        print(f"{said}, {document['seconds']:.1f} s")
        if file is not None:
            print(f"{count(written, 'row')} written to {file}")
    message = f"until {second.name}: {reports.in_words(found)}"
    cli_audit.note(
        system, "diff", "done", operator=operator, backup=first.name, message=message, which=which
    )


@contextmanager
def _live(system: str) -> "Generator[tuple[System, str]]":
    loaded = systems.load_system(system)
    with environment.source_url(loaded) as url:
        yield loaded, url


def _print_diff(found: "Differences", shown: "Rows") -> None:
    from backup_pipelines.timeline.reports import COUNTS, left

    changed = [table for table in found.tables if not table.is_nothing]
    if changed:
        print_table(
            ("table", *COUNTS, "changed columns"),
            [(t.table, *(f"{vars(t)[n]:,}" for n in COUNTS), _columns(t)) for t in changed],
            numbers=COUNTS,
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
        more = left(table, shown)
        if more and shown:
            tell(f"{count(more, 'row')} of {table.table} more: --rows N, or --to FILE.parquet")


def _print_rows(table: "TableDifference", rows: "Sequence[RowDifference]") -> None:
    from backup_pipelines.timeline.reports import of_row, value

    if not rows:
        return
    print()
    lines = [(row.op, ", ".join(map(value, row.key.values())), of_row(row)) for row in rows]
    print_table((table.table, ", ".join(table.key), "columns"), lines)


def _columns(table: "TableDifference") -> str:
    return counts(table.changed_columns)
