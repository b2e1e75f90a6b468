"""The audit trail on the command line: showing it, and records of what never got a run."""

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import click

from backup_pipelines import environment, systems
from backup_pipelines.cli import who
from backup_pipelines.cli.jobs import json_option, store_named
from backup_pipelines.cli.output import (
    print_json,
    print_table,
    tell,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.trail import audit, spool
from backup_pipelines.trail.audit import Happened, Outcome, Record
from backup_pipelines.wording import clean, count

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store
    from backup_pipelines.trail.audit import Head

_LAST = 50
_UNSEEN = (
    "no runs of Dagster to compare with: had the newest records been removed, nobody could tell"
)


@click.command("audit")
@click.argument("system")
@click.option("--verify", "verifies", is_flag=True, help="Check that no record is missing or new.")
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(min=1),
    default=_LAST,
    help=f"How many at most; {_LAST} unless told otherwise.",
)
@click.option("--operation", metavar="OP", help="Only this: backup, restore, undo, list ...")
@click.option("--outcome", type=click.Choice(get_args(Outcome)), help="Only what ended so.")
@click.option("--operator", metavar="WHO", help="Only what this one did.")
@click.option("--since", metavar="DATE", help="Only since then: 2026-01-31, or with a time.")
@json_option
def audit_(
    system: str,
    verifies: bool,
    last: int,
    operation: str | None,
    outcome: str | None,
    operator: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Show who did what with the backups of SYSTEM, newest first, and how it ended."""
    systems.require_known(system)
    wanted = {"operation": operation, "outcome": outcome, "operator": operator}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    after = _moment(since) if since else None
    store = environment.store()
    if verifies:
        if wanted or after:
            raise Refused("--verify checks the whole trail: give it without filters")
        _verify(store, system, as_json)
        return
    waiting = [one for one in reversed(spool.waiting(system)) if _fits(one, wanted, after)]
    found = [*waiting, *_found(store, system, wanted, after, last)][:last]
    if as_json:
        print_json([_document(system, one) for one in found])
    elif found:
        _print(found)
    else:
        print(f"the audit trail of {system} has nothing of this kind")


def note(
    system: str,
    operation: str,
    outcome: Outcome,
    *,
    operator: str | None = None,
    backup: str = "",
    reason: str = "",
    message: str = "",
    plan_hash: str = "",
    rows: int | None = None,
    which: StoreName = "first",
) -> None:
    """Leave word of what has no run of its own; what goes wrong is one line on stderr."""
    happened = Happened(
        operation=operation,
        outcome=outcome,
        operator=who.name(system, operator),
        at=datetime.now(UTC),
        reason=reason,
        message=message,
        backup=backup,
        plan_hash=plan_hash,
        rows=rows,
    )
    # Who only reads, or is refused, need not be able to write.
    try:
        audit.append(_store_of_records(system, which), system, happened)
    except Exception as error:
        tell(f"not in the audit trail: {clean(error)}")
    problem = _logged(system, happened)
    if problem:
        tell(f"not in the activity log: {clean(problem)}")


def _store_of_records(system: str, which: StoreName) -> "Store":
    try:
        return store_named(system, which)
    except Refused:
        # That there is no second store must be told somewhere.
        return environment.store()


@contextmanager
def refusals(
    system: str,
    operation: str,
    *,
    operator: str | None = None,
    backup: str = "",
    reason: str = "",
    which: StoreName = "first",
) -> Generator[None]:
    """Leave word of a refusal in the block, which ends before a run that would do so begins."""
    try:
        yield
    except Refused as error:
        if system in systems.known_names():
            note(
                system,
                operation,
                "refused",
                operator=operator,
                backup=backup,
                reason=reason,
                message=str(error),
                which=which,
            )
        raise


def allow(system: str, operation: str, operator: str | None, which: StoreName = "first") -> None:
    """Raise NotAllowed, and leave word of it, unless whoever runs the command may do it."""
    with refusals(system, operation, operator=operator, which=which):
        who.require(system, operation, operator)


def _logged(system: str, happened: Happened) -> str:
    try:
        spec = systems.load_system(system).activity_log
    except Refused:
        # What is wrong with the YAML is said by whoever needs it.
        return ""
    if spec is None or not os.environ.get(spec.database_url_env):
        return ""
    from backup_pipelines.trail import activity_log

    return activity_log.write(spec, system, happened)


def _found(
    store: "Store", system: str, wanted: Mapping[str, str], after: datetime | None, last: int
) -> list[Record]:
    def fitting() -> Generator[Record]:
        for record in audit.newest_first(store, system):
            if isinstance(record, str):
                tell(f"not listed: {clean(record)}; see audit {system} --verify")
            elif _fits(record, wanted, after):
                yield record

    return list(islice(fitting(), last))


def _fits(one: Happened, wanted: Mapping[str, str], after: datetime | None) -> bool:
    # Not a place to stop at: what waited in a spool is older than the record before it.
    if after is not None and one.at < after:
        return False
    return all(getattr(one, name) == value for name, value in wanted.items())


def _verify(store: "Store", system: str, as_json: bool) -> None:
    anchors = _anchors(store, system)
    found = audit.verify(store, system, anchors or ())
    waiting = len(spool.waiting(system))
    if as_json:
        print_json(
            {
                "system": system,
                "verified": not found.problems,
                "records": found.head.sequence,
                "head": found.head.sha256,
                "anchors": None if anchors is None else len(anchors),
                "waiting": waiting,
                "problems": list(found.problems),
            }
        )
    if not anchors:
        tell(_UNSEEN)
    if waiting:
        tell(f"{count(waiting, 'record')} of this machine could not be written yet")
    if found.problems:
        listed = "\n".join(f"- {problem}" for problem in found.problems)
        raise Failed(f"the audit trail of {system} is not as it was written:\n{listed}")
    if not as_json:
        seen = f", as {count(len(anchors), 'run')} saw it" if anchors else ""
        print(f"{system}: {count(found.head.sequence, 'record')}, each follows from the last{seen}")


def _anchors(store: "Store", system: str) -> "Sequence[Head] | None":
    """Heads that runs have seen; None when Dagster's instance cannot be asked."""
    is_demo = (environment.home() / ".demo" / "postgres").exists()
    if not os.environ.get(environment.DAGSTER_POSTGRES_URL) and not is_demo:
        return None
    try:
        with redirect_stdout(sys.stderr), environment.dagster_environment():
            from backup_pipelines.dagster_layer import operations

            return operations.seen_heads(store, system)
    except Exception as error:
        tell(f"Dagster cannot be asked: {clean(error)}")
        return None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(
            f"--since {text!r} is no date: write 2026-01-31 or 2026-01-31T14:00+01:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _document(system: str, one: Happened) -> Mapping[str, Any]:
    shown = one.model_dump(mode="json")
    # One that waits has no place in the trail yet.
    return {"sequence": None, "system": system, "previous": None, **shown}


def _print(found: Sequence[Happened]) -> None:
    print_table(
        ("number", "time", "operation", "outcome", "by", "backup", "rows", "why, and what came"),
        [
            (
                one.sequence if isinstance(one, Record) else "waiting",
                f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                one.operation,
                one.outcome,
                clean(one.operator),
                one.backup,
                "" if one.rows is None else f"{one.rows:,}",
                clean("; ".join(text for text in (one.reason, one.message) if text)),
            )
            for one in found
        ],
        numbers=("number", "rows"),
        statuses=("outcome",),
        spare=("rows", "number"),
    )
