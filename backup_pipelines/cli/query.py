"""The verb `query`: SQL over one backup or many. It reads the store only and runs no job."""

import os
import sys
import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from backup_pipelines import catalog, systems
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
from backup_pipelines.wording import count

if TYPE_CHECKING:
    from backup_pipelines.manifest import Manifest
    from backup_pipelines.storage.store import Store
    from backup_pipelines.timeline.query import Answer, Row

# What a person may still look through, and one JSON document may hold.
_ROWS = 1000


@click.command()
@click.argument("system")
@click.argument("backup")
@click.argument("sql")
@click.option(
    "--rows",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Rows at most: {_ROWS} unless told otherwise, all of them with --csv.",
)
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV; NULL is nothing, an empty text two quotes."
)
@store_option
@by_option
@json_option
def query(
    system: str,
    backup: str,
    sql: str,
    rows: int | None,
    as_csv: bool,
    which: StoreName,
    operator: str | None,
    as_json: bool,
) -> None:
    """Answer one statement of SQL from a BACKUP of SYSTEM; nothing is changed by it.

    BACKUP may also be all, or FROM..TO with dates or ids: the tables then have the columns
    backup_id and backed_up_at.
    """
    from backup_pipelines.timeline.query import asked

    if as_csv and as_json:
        raise Refused("give either --csv or --json")
    systems.require_known(system)
    cli_audit.allow(system, "query", operator, which)
    started, store = time.monotonic(), store_named(system, which)
    entries, many = chosen(store, system, backup)
    limit, found = rows if as_csv else rows or _ROWS, list["Row"]()
    with (
        progress(f"{system}: asking {about(entries)}"),
        # One row more tells whether there are more.
        asked(store, entries, sql, many=many, limit=limit and limit + 1) as answer,
    ):
        if as_csv:
            shown = _print_csv(answer, limit)
            truncated = False
        else:
            found = list(answer.rows)
            truncated, found = len(found) > (limit or 0), found[:limit]
            shown = len(found)
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        print_json(
            {
                "system": system,
                "backups": [entry.id for entry in entries],
                "tables": list(answer.tables),
                "columns": [{"name": name, "type": kind} for name, kind in answer.columns],
                "rows": found,
                "truncated": truncated,
                "seconds": seconds,
            }
        )
    elif not as_csv:
        _print_rows(answer, found)
        more = "; there are more: --rows N, or --csv for all of them" if truncated else ""
        tell(f"{count(shown, 'row')} of {about(entries)}, {seconds:.1f} s{more}")
    cli_audit.note(
        system,
        "query",
        "done",
        operator=operator,
        backup=entries[0].id if len(entries) == 1 else "",
        message=f"{count(shown, 'row')} of {', '.join(answer.tables) or 'no table'} in "
        f"{about(entries)}",
        which=which,
    )


def chosen(store: "Store", system: str, backup: str) -> "tuple[Sequence[Manifest], bool]":
    """The backups that BACKUP names, oldest first, and whether it may be many."""
    from backup_pipelines.timeline import moments

    if moments.names_many(backup):
        return moments.chosen(store, system, backup, tell), True
    return [catalog.find(store, system, backup)], False


def about(entries: "Sequence[Manifest]") -> str:
    """The backups in words."""
    return entries[0].id if len(entries) == 1 else f"{len(entries)} backups"


def _print_rows(answer: "Answer", rows: "Sequence[Row]") -> None:
    # Two columns may have one name, and tables are printed by name.
    names = [name for name, _ in answer.columns]
    numbers = [
        name for name, kind in answer.columns if kind.endswith("INT") or kind.startswith("DECIMAL")
    ]
    print_table(names, [[_cell(value) for value in row] for row in rows], numbers=numbers)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "NULL" if value is None else value


def _print_csv(answer: "Answer", limit: int | None) -> int:
    """Print the rows as they come, and say how many they were."""
    shown = 0
    try:
        sys.stdout.write(_csv_line([name for name, _ in answer.columns]))
        for row in islice(answer.rows, limit):
            sys.stdout.write(_csv_line(row))
            shown += 1
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` does; Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return shown


def _csv_line(values: "Row") -> str:
    quoted = ("" if v is None else '"' + str(_cell(v)).replace('"', '""') + '"' for v in values)
    return ",".join(quoted) + "\n"
