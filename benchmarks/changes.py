"""What a second backup costs when nothing, or 1 % of the rows, has changed since the first."""

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.bench import Bench, Source
from benchmarks.figures import Figure, Grid, Section
from benchmarks.measuring import Run, folder_bytes, in_turns
from benchmarks.page import number

_FIRST = "first backup"
_SECOND = "nothing changed"
_CLUSTERED = "1 % of each table changed, in one place"
_SCATTERED = "1 % of each table changed, all over it"

# What grows with the system, with a column that nothing watches.
_TABLES = {
    "contacts": "phone",
    "leads": "phone",
    "tasks": "title",
    "meeting_notes": "body",
    "task_comments": "body",
    "contact_emails": "verified_at",
    "deals": "next_step",
    "deal_stage_history": "left_at",
    "lead_activities": "summary",
}

_MB = 1e6


def measure(bench: Bench) -> Section:
    """A first backup, and a second one after each kind of change."""
    source = bench.crm(bench.scale)
    print(f"second backups of {source.title}", flush=True)

    def after(change: Callable[[str], None] | None) -> Callable[[int], Run]:
        return lambda _: _second(bench, source, change)

    found = in_turns(
        {
            _FIRST: lambda _: _first(bench, source),
            _SECOND: after(None),
            _CLUSTERED: after(_change_together),
            _SCATTERED: after(_change_scattered),
        },
        bench.repeats,
    )
    first = found[_FIRST]
    figures: list[Figure] = []
    for name, bytes_goal, time_goal in (
        (_SECOND, 0.01, 0.5),
        (_CLUSTERED, None, None),
        (_SCATTERED, None, None),
    ):
        one = found[name]
        figures += [
            Figure(f"new bytes, {name}", one.bytes_out / _MB, "MB", _FIRST,
                   first.bytes_out / _MB, bytes_goal),
            Figure(f"time, {name}", one.seconds, "s", _FIRST, first.seconds, time_goal),
        ]  # fmt: skip
    rows = tuple(
        (
            name,
            number(one.seconds),
            number(one.client_cpu),
            number(one.server_cpu),
            number(one.bytes_out / _MB),
            number(one.peak_bytes / _MB),
        )
        for name, one in found.items()
    )
    heads = ("", "wall s", "client CPU s", "server CPU s", "new MB in the store", "peak MB")
    grid = Grid(source.title, heads, rows)
    return Section("changes", "Little changed", tuple(figures), (grid,))


def _first(bench: Bench, source: Source) -> Run:
    store = bench.folder / bench.new_name()
    return bench.back_up(source, store, keep=False)


def _second(bench: Bench, source: Source, change: Callable[[str], None] | None) -> Run:
    """Of a copy, so that every change begins with the same database."""
    copy = bench.copy_of(source)
    store = bench.folder / bench.new_name()
    try:
        bench.back_up(copy, store)
        if change is not None:
            change(copy.url)
        return bench.back_up(copy, store, output=_more_than(store))
    finally:
        bench.drop(copy.url)
        shutil.rmtree(store, ignore_errors=True)


def _more_than(store: Path) -> Callable[[], int]:
    before = folder_bytes(store)
    return lambda: folder_bytes(store) - before


def _change_together(url: str) -> None:
    _change(
        url,
        "ctid >= (SELECT format('(%s,0)', floor(pg_relation_size('{table}') / 8192 * 0.99))::tid)",
    )


def _change_scattered(url: str) -> None:
    # By its place in the table, whatever keys it has: every hundredth row, as near as pages go.
    _change(
        url,
        "ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER () AS n FROM {table}) AS x"
        " WHERE n % 100 = 7)",
    )


def _change(url: str, where: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # The application's own triggers would change further rows.
        connection.execute("SET session_replication_role = replica")
        for table, column in _TABLES.items():
            is_time = column.endswith("_at")
            value = f"{column} + interval '1 s'" if is_time else f"coalesce({column}, '') || '!'"
            connection.execute(
                f"UPDATE {table} SET {column} = {value}"
                f" WHERE {where.replace('{table}', table)}".encode()
            )
