"""What runs and tells of backups: Dagster's home and database, schedules, channels, variables."""

import os
from collections.abc import Iterator
from datetime import datetime

from backup_pipelines import environment
from backup_pipelines.exporting.estimate import Estimate, in_words
from backup_pipelines.messages import channels
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.queries import query
from backup_pipelines.preflighting.line import Line, ok, warning, wrong
from backup_pipelines.scheduling import schedule
from backup_pipelines.system import System
from backup_pipelines.wording import count, size

_INSTANCE = "dagster.yaml"


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
    with connected(plain, what="Dagster") as connection:
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


def next_backup(system: System, now: datetime, last: datetime | None) -> Iterator[Line]:
    """When the daemon will take the next backup by itself."""
    due = schedule.next_due(system.schedule, now, last)
    if due is None:
        yield ok("schedule", "off (every: never)")
    elif due <= now:
        yield ok("schedule", f"{system.schedule.every}; due at once, when the daemon runs")
    else:
        yield ok("schedule", f"{system.schedule.every}; next {due:%Y-%m-%d %H:%M} UTC")


def duration(system: System, table_bytes: int, estimate: Estimate) -> Iterator[Line]:
    """How long a backup may take, against the window that the YAML allows."""
    by = f"by backup {estimate.by}" if estimate.by else "at 100 MB/s, less on a slow network"
    said = f"about {in_words(estimate.seconds)} for {size(table_bytes)} of tables, {by}"
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
