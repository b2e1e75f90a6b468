"""The verb that tells how the backups are, from the store alone; its exit code is for scripts."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from backup_pipelines import environment, systems
from backup_pipelines.cli.jobs import json_option
from backup_pipelines.cli.output import (
    painted,
    print_facts,
    print_json,
    print_table,
)
from backup_pipelines.errors import Refused
from backup_pipelines.health.finding import span
from backup_pipelines.wording import age, clean, count, moment, size

if TYPE_CHECKING:
    from backup_pipelines.health.finding import Finding
    from backup_pipelines.health.guards_second import Destination
    from backup_pipelines.health.health import Health
    from backup_pipelines.storage.store import Store
    from backup_pipelines.system import System

_UNHEALTHY = 1


@click.command()
@click.argument("system", required=False)
@json_option
@click.option("--metrics", "as_metrics", is_flag=True, help="Print OpenMetrics text.")
def status(system: str | None, as_json: bool, as_metrics: bool) -> int:
    """Tell how the backups of SYSTEM, or of all, are; exit code 1 if a guard is red."""
    if as_json and as_metrics:
        raise Refused("give either --json or --metrics")
    chosen = [systems.load_system(system)] if system else list(systems.load_systems().values())
    store, now = environment.store(), datetime.now(UTC)
    found = [_assess(store, one, now) for one in chosen]
    if as_json:
        documents = [health.document() for health in found]
        print_json(documents[0] if system else documents)
    elif as_metrics:
        from backup_pipelines.health import metrics

        print(metrics.render(found, now), end="")
    else:
        for number, health in enumerate(found):
            if number:
                print()
            _print(health)
    return 0 if all(health.healthy for health in found) else _UNHEALTHY


def _assess(store: "Store", system: "System", now: datetime) -> "Health":
    """The health, with a look at the database where its URL is known here."""
    from backup_pipelines.health import second_look
    from backup_pipelines.health.health import assess

    url, live = os.environ.get(system.database_url_env), None
    if url:
        # Its import of a driver takes longer than all the rest.
        from backup_pipelines.health.live_look import look

        live = look(system, url)
    second = second_look.look(system, lambda: environment.second_store(system))
    return assess(store, system, now, live, second)


def _print(health: "Health") -> None:
    errors, alerts = len(health.red), len(health.alerts)
    verdict = "healthy" if health.healthy else f"NOT healthy: {count(errors, 'error')}"
    warnings = f", {count(alerts - errors, 'warning')}" if alerts > errors else ""
    shown = painted(verdict, "healthy" if health.healthy else "NOT healthy")
    print(f"{health.system}: {shown}{warnings}")
    print_facts(
        [
            ("last backup", _last_backup(health)),
            ("recovery point", _recovery_point(health)),
            ("recovery time", _recovery_time(health)),
            ("success", _success(health)),
            ("storage", _storage(health)),
            *((f"{one.name} store", _destination(one, health)) for one in health.destinations),
            ("encryption", _encryption(health)),
            ("last drill", _drill(health)),
            ("last prune", _prune(health)),
            ("schedule", _schedule(health)),
            ("frozen by", ", ".join(f"{one.guard}, {age(one.since)}" for one in health.freezes)),
        ]
    )
    print()
    print_table(
        ("guard", "status", "found"),
        [(finding.guard, finding.status, finding.message) for finding in health.findings],
        whole=("guard", "status"),
        statuses=("status",),
    )
    _print_alerts(health.alerts)


def _print_alerts(alerts: "Sequence[Finding]") -> None:
    """Each in full, with what to do: the table above is cut to the terminal."""
    for finding in alerts:
        print()
        status = painted(finding.status, finding.status)
        print(f"{status}: {finding.guard}: {clean(finding.message)}")
        if finding.advice:
            print(f"  {clean(finding.advice)}")


def _last_backup(health: "Health") -> str:
    if health.last_backup_at is None:
        return "none"
    said = f"{health.last_backup}, {age(health.last_backup_at, health.at)}"
    return f"{said}; {count(health.backups, 'backup')} in all"


def _recovery_point(health: "Health") -> str:
    target = span(health.recovery_point_target_seconds)
    if health.recovery_point_seconds is None:
        return f"nothing to go back to; target {target}"
    said = f"{span(health.recovery_point_seconds)} now"
    if health.largest_gap_seconds is not None:
        said += f", {span(health.largest_gap_seconds)} at most between the last backups"
    return f"{said}; target {target}"


def _recovery_time(health: "Health") -> str:
    target = span(health.recovery_time_target_seconds)
    measured = health.recovery_time_seconds
    return f"{'not measured' if measured is None else span(measured)}; target {target}"


def _success(health: "Health") -> str:
    if health.success_rate is None:
        return "no attempts in the audit trail"
    return f"{100 * health.success_rate:.0f} % of the last {count(health.attempts, 'attempt')}"


def _storage(health: "Health") -> str:
    percent = 100 * health.storage_bytes / health.storage_limit_bytes
    said = f"{size(health.storage_bytes)} of {size(health.storage_limit_bytes)}, {percent:.1f} %"
    trend = health.storage_bytes_per_day
    if trend is not None:
        said += f"; {size(abs(int(trend)))} {'more' if trend >= 0 else 'less'} each day"
    if health.storage_full_at is not None:
        said += f", full on {health.storage_full_at:%Y-%m-%d}"
    return said


def _encryption(health: "Health") -> str:
    if not health.encrypted:
        return ""
    said = f"{health.encrypted:,} of {count(health.backups, 'backup')}"
    if health.opened is None:
        return f"{said}; no identity here that could open them"
    which = "all" if health.opened == health.encrypted else f"{health.opened:,}"
    return f"{said}; the identity here opens {which} of them"


def _destination(one: "Destination", health: "Health") -> str:
    if one.problem:
        return f"{one.url}: {one.problem}" if one.url else one.problem
    newest = f"newest {one.newest}, {age(one.newest_at, health.at)}" if one.newest_at else "no copy"
    if one.name == "first" and not one.newest_at:
        newest = "no good backup"
    said = f"{one.url}: {newest}; {count(one.backups, 'backup')}, {size(one.bytes)}"
    said += f", {one.damaged:,} damaged" if one.damaged else ""
    if one.lacking_since is not None:
        return f"{said}; lacks {one.lacking:,}, the first since {age(one.lacking_since, health.at)}"
    return said


def _drill(health: "Health") -> str:
    last, due_at = health.last_drill, health.next_drill
    said = f"{age(last.at, health.at)}, of {last.backup}" if last else "none"
    return said + (f"; {_due(due_at, health.at)}" if due_at else "")


def _prune(health: "Health") -> str:
    last = health.last_prune
    return f"{age(last.at, health.at)}, {last.outcome}: {last.message}" if last else "none"


def _schedule(health: "Health") -> str:
    last, due_at = health.last_scheduled, health.next_scheduled
    said = f"last {age(last, health.at)}" if last else "none so far"
    return f"{said}; {_due(due_at, health.at) if due_at else 'off (every: never)'}"


def _due(at: datetime, now: datetime) -> str:
    when = moment(at)
    return f"next {when}" if at > now else f"due since {when}"
