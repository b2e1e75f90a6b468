"""What runs and tells of backups: Dagster's home and database, schedules, channels, variables."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from backup_pipelines import cluster, environment
from backup_pipelines.exporting.estimate import Estimate
from backup_pipelines.messages import channels
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.queries import query
from backup_pipelines.preflighting import stores
from backup_pipelines.preflighting.line import Line, collected, not_checked, ok, warning, wrong
from backup_pipelines.scheduling import schedule
from backup_pipelines.source_load import Allowance
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count, how_long, moment, size

if TYPE_CHECKING:
    from backup_pipelines.postgres.remote_readers import RemoteReaders

_INSTANCE = "dagster.yaml"

# In the names of the workers' sessions, where a backup has its id.
_PREFLIGHT = "(preflight)"


def dagster() -> Iterator[Line]:
    """Whether runs have a home that can be written, and a database to keep their records in."""
    home = environment.home()
    instance = home / _INSTANCE
    is_there = instance.is_file()
    if not is_there:
        yield wrong(
            "Dagster's home",
            f"{home} has no {_INSTANCE}",
            "Set DAGSTER_HOME to the folder of Dagster's instance, the one that has it.",
        )
    elif not os.access(home, os.W_OK | os.X_OK):
        yield wrong("Dagster's home", f"{home} cannot be written", "Give its user the right to.")
    else:
        yield ok("Dagster's home", str(home))
    if is_there and environment.DAGSTER_POSTGRES_URL not in instance.read_text(encoding="utf-8"):
        yield ok("Dagster's database", f"as {instance} says; not looked at")
        return
    url = os.environ.get(environment.DAGSTER_POSTGRES_URL, "")
    if not url:
        yield ok("Dagster's database", "DAGSTER_POSTGRES_URL is not set: the embedded server's")
        return
    plain = url.replace("postgresql+psycopg2://", "postgresql://", 1)
    with connected(plain, what="Dagster", doing="preflight") as connection:
        row = connection.execute(query("dagster_tables")).fetchone()
        assert row is not None
    if row["is_used"] or row["may_create"]:
        said = "has its tables" if row["is_used"] else "is new; the first run makes its tables"
        yield ok("Dagster's database", f"DAGSTER_POSTGRES_URL answers, and {said}")
    else:
        yield wrong(
            "Dagster's database",
            "DAGSTER_POSTGRES_URL leads to a database without Dagster's tables, where its role "
            "may make none",
            "Let the role own the database, or give it CREATE on its schema public.",
        )


def messages(system: System) -> Iterator[Line]:
    """Whether somebody would be told of what happens; nothing is sent."""
    heard = 0
    channels.silence()
    for variable in dict.fromkeys(spec.urls_env for spec in system.notifications):
        urls = os.environ.get(variable, "").split() if variable else []
        for position, url in enumerate(urls, start=1):
            heard += 1
            if channels.service(url) is None:
                yield warning(
                    "notifications",
                    f"{variable}, URL {position}: Apprise does not understand it",
                    "https://appriseit.com shows the URLs of each service.",
                )
        if variable and not urls:
            yield warning(
                "notifications",
                f"{variable} is not set: nobody is told by it",
                f"Set {variable} to URLs of Apprise, separated by spaces.",
            )
    if heard:
        yield ok("notifications", f"{count(heard, 'channel')}; nothing was sent")
    yield _watchdog(system)
    log = system.activity_log
    if log is not None and not os.environ.get(log.database_url_env):
        yield warning(
            "activity log",
            f"{log.database_url_env} is not set: the application's own log is not written",
            f"Set {log.database_url_env} to the URL of a role that may insert into {log.table}.",
        )


def drills(system: System) -> Iterator[Line]:
    """Whether there is a server to drill on."""
    variable = system.drill.server_url_env
    if not variable:
        yield ok("drills", "on the embedded server")
    elif os.environ.get(variable):
        yield ok("drills", f"on the server of {variable}")
    else:
        yield warning(
            "drills",
            f"{variable} is not set: drills would be refused",
            f"Set {variable} to the URL of a role that may create databases.",
        )


def cluster_of(system: System, store: Store | None, *, has_source: bool) -> Iterator[Line]:
    """Whether the Dask cluster, if one is named, could take a backup: its workers try to.

    Each joins a snapshot of this machine's and looks for an object that was written here. None is
    a store that does not answer here; without a source here there is no snapshot to join.
    """
    if not cluster.address():
        return
    allowance = Allowance.of(system.max_connections, system.throttle)
    yield from _said_of_limit(allowance)
    with cluster.workers() as workers:
        assert workers is not None
        threads, number = workers.size()
        answers = (
            f"{cluster.BACKUP_DASK_SCHEDULER} answers: {count(number, 'worker')}, "
            f"{count(threads, 'thread')}"
        )
        if not has_source:
            yield not_checked("cluster", f"whether the workers reach the database; {answers}")
            return
        with ExitStack() as stack:
            marker = stack.enter_context(stores.trial(store, system.system)) if store else ""
            url = stack.enter_context(environment.source_url(system))
            workers.refuse_unfit(*_question(system, url, store, marker, stack))
        if store is None:
            yield not_checked("cluster", f"whether the workers see the store; {answers}")
        else:
            # One that is busy with a backup's tasks may be silent.
            yield ok("cluster", f"{answers}; who answered reaches the database and the store")


def _said_of_limit(allowance: Allowance) -> list[Line]:
    """What is wrong with max_connections on a cluster, beside whatever else is."""

    def look() -> list[Line]:
        allowance.readers_elsewhere()
        return []

    return collected("cluster", look)


def _question(
    system: System, url: str, store: Store | None, marker: str, stack: ExitStack
) -> "tuple[Callable[..., str], RemoteReaders, Store | None, str, str]":
    """What each worker is asked, while the snapshot that it is to join is held."""
    # Only where there is a cluster: it takes a second to import what reads.
    from backup_pipelines.exporting.staff import unable
    from backup_pipelines.postgres.remote_readers import RemoteReaders

    what, doing = f"the database of {system.system}", f"preflight {system.system}"
    connection = stack.enter_context(connected(url, what=what, doing=doing))
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    row = connection.execute("SELECT pg_catalog.pg_export_snapshot() AS name").fetchone()
    assert row is not None
    readers = RemoteReaders(system.database_url_env, row["name"], _PREFLIGHT, keeps=False)
    return unable, readers, store, system.system, marker


def next_backup(system: System, now: datetime, last: datetime | None) -> Iterator[Line]:
    """When the daemon will take the next backup by itself."""
    due = schedule.next_due(system.schedule, now, last)
    if due is None:
        yield ok("schedule", "off (every: never)")
    elif due <= now:
        yield ok("schedule", f"{system.schedule.every}; due at once, when the daemon runs")
    else:
        yield ok("schedule", f"{system.schedule.every}; next {moment(due)}")


def duration(system: System, table_bytes: int, estimate: Estimate) -> Iterator[Line]:
    """How long a backup may take, against the window that the YAML allows."""
    by = f"by backup {estimate.by}" if estimate.by else "at 100 MB/s, less on a slow network"
    said = f"about {how_long(estimate.seconds)} for {size(table_bytes)} of tables, {by}"
    window = system.guards.window_minutes
    if estimate.seconds > window * 60:
        yield warning(
            "duration",
            f"{said}; window_minutes is {window:g}",
            "Raise window_minutes under guards, raise readers, or put big tables into modules "
            "with schedules of their own.",
        )
    else:
        yield ok("duration", said)


def _watchdog(system: System) -> Line:
    variable = system.heartbeat_url_env
    if not variable:
        return ok("heartbeat", "off")
    if os.environ.get(variable):
        return ok("heartbeat", f"{variable} is set; nothing was sent")
    return warning(
        "heartbeat",
        f"{variable} is not set: nobody would notice a dead daemon",
        f"Set {variable} to the URL of an outside watchdog.",
    )
