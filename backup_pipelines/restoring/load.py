"""A whole backup into an empty database: DDL, rows, sequences, constraints, proof, one transaction.

Drills and `restore --into` both end here.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psycopg
from psycopg import sql

from backup_pipelines.errors import Failed, NotEqual, Refused
from backup_pipelines.manifest import Manifest, Table, View
from backup_pipelines.pace import Amount
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.digest import compare
from backup_pipelines.postgres.introspect import list_tables
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.sequences import set_position
from backup_pipelines.postgres.writer import copy_table
from backup_pipelines.progress import Meter, Report, Step
from backup_pipelines.restoring import ddl_restore
from backup_pipelines.storage.store import Store


@dataclass
class Loaded:
    """What was loaded, how long it took, and which DDL could not apply here, with the reason."""

    tables: int = 0
    rows: int = 0
    seconds: float = 0.0
    seconds_by_module: dict[str, float] = field(default_factory=dict)
    seconds_by_step: dict[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def refuse_unless_empty(connection: Connection) -> None:
    """Raise Refused when the database has tables of its own."""
    found = [table.qualified for table in list_tables(connection)]
    if found:
        shown = ", ".join(found[:5]) + (" ..." if len(found) > 5 else "")
        raise Refused(
            f"the target database is not empty, it has {len(found)} tables ({shown}); "
            "name an empty database"
        )


def load(
    connection: Connection,
    store: Store,
    entry: Manifest,
    report: Report,
    *,
    copy: Callable[[Connection, Store, Table, Step], None] = copy_table,
    proof: Callable[[Connection, Sequence[Table]], None] | None = None,
) -> Loaded:
    """Load a backup into the empty database of `connection` and prove it equal before commit.

    Raises NotEqual when a table's content is not the backup's; whatever happens, the database is
    either whole or as empty as before. A masked copy has its own way to `copy` a table, and its
    own `proof`.
    """
    started = time.monotonic()
    done = Loaded()
    timed = partial(_timed, done.seconds_by_step, report)
    plan = ddl_restore.prepare(connection, store, entry)
    try:
        with connection.transaction():
            with timed("schema"):
                skipped = ddl_restore.apply(connection, plan.before_rows)
            with timed("rows"):
                _load_rows(connection, store, entry, done, report, copy)
            with timed("sequences"):
                set_sequences(connection, entry)
            with timed("constraints and indexes"):
                skipped += ddl_restore.apply(connection, plan.after_rows)
            with timed("proof"):
                (proof or prove)(connection, entry.tables)
            skipped += ddl_restore.apply(connection, plan.grants)
            with timed("materialized views"):
                refresh(connection, entry.materialized_views)
            skipped += ddl_restore.apply(connection, plan.last)
    except psycopg.Error as error:
        raise Failed(f"the backup could not be loaded: {str(error).strip()}") from error
    done.tables, done.rows = entry.tables_count, entry.records_count
    done.skipped = (*plan.skipped, *skipped)
    done.seconds = time.monotonic() - started
    return done


def prove(connection: Connection, tables: Sequence[Table]) -> None:
    """Raise NotEqual, naming every table that differs from the backup."""
    refuse_nothing(tables)
    connection.execute(query("settings"))
    refuse_differences({d.table: d.problem for d in compare(connection, tables)})


def refuse_nothing(tables: Sequence[Table]) -> None:
    """Raise NotEqual for a backup without tables: nothing checked is no proof."""
    if not tables:
        raise NotEqual("the backup holds no tables, so nothing can be proved")


def refuse_differences(problems: Mapping[str, str]) -> None:
    """Raise NotEqual where a table has a problem in words."""
    listed = "\n".join(f"- {table} {problem}" for table, problem in problems.items() if problem)
    if listed:
        raise NotEqual(f"the restored content differs from the backup:\n{listed}")


def set_sequences(connection: Connection, entry: Manifest) -> None:
    """Put every sequence where it was."""
    for position in entry.sequences:
        set_position(connection, position)


def _load_rows(
    connection: Connection,
    store: Store,
    entry: Manifest,
    done: Loaded,
    report: Report,
    copy: Callable[[Connection, Store, Table, Step], None],
) -> None:
    total = Amount(entry.records_count, sum(table.size_bytes for table in entry.tables))
    with Meter(f"{entry.system}: loading rows", report, total) as meter:
        for table in entry.tables:
            if table.kind == "partitioned":
                continue
            started = time.monotonic()
            with steps(meter, table) as step:
                copy(connection, store, table, step)
            seconds = time.monotonic() - started
            done.seconds_by_module[table.module] = (
                done.seconds_by_module.get(table.module, 0.0) + seconds
            )


@contextmanager
def steps(meter: Meter, table: Table) -> Generator[Step]:
    """Tells a meter of a backup's table by its rows as they pass, and of the rest at the end."""
    rows = size = 0

    def step(more: int) -> None:
        nonlocal rows, size
        rows += more
        # Of the stored bytes as many as of the rows, and never more than there are.
        now = table.size_bytes * min(rows, table.rows) // max(table.rows, 1)
        meter.add(more, now - size, what=table.qualified)
        size = now

    yield step
    meter.add(max(0, table.rows - rows), table.size_bytes - size, what=table.qualified)


def refresh(connection: Connection, views: Sequence[View]) -> None:
    """Refresh materialized views in the given order; raises Failed with PostgreSQL's reason."""
    for view in views:
        name = sql.Identifier(view.schema_name, view.name)
        try:
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(name))
        except psycopg.Error as error:
            raise Failed(
                f"{view.schema_name}.{view.name} cannot be refreshed: {str(error).strip()}"
            ) from error


@contextmanager
def _timed(seconds: dict[str, float], report: Report, step: str) -> Generator[None]:
    report(step)
    started = time.monotonic()
    yield
    seconds[step] = round(time.monotonic() - started, 3)
