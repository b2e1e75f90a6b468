"""The verb `preflight`: whether a first backup would work, said all at once, without Dagster."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from backup_pipelines.cli.jobs import json_option
from backup_pipelines.cli.output import painted, print_json, progress
from backup_pipelines.wording import clean, count

if TYPE_CHECKING:
    from backup_pipelines.preflighting.line import Line
    from backup_pipelines.preflighting.preflight import Preflight

_NOT_READY = 1


@click.command()
@click.argument("system")
@json_option
def preflight(system: str, as_json: bool) -> int:
    """Check everything that a first backup of SYSTEM needs; exit code 1 if anything is wrong.

    Nothing is changed: the database is read, a trial object in the store is removed again.
    """
    from backup_pipelines.preflighting.preflight import preflight

    with progress(f"{system}: looking at everything") as step:
        found = preflight(system, step)
    if as_json:
        print_json(found.document())
    else:
        _print(found.lines)
        print()
        print(_verdict(found))
        if found.is_ready:
            print(f"Take it: backup-pipelines backup {clean(found.system)}")
    return 0 if found.is_ready else _NOT_READY


def _print(lines: "Sequence[Line]") -> None:
    """Each in full: what is wrong has statements to copy."""
    width = max(len(line.check) for line in lines)
    for line in lines:
        status = painted(f"{line.status:<7}", line.status)
        print(f"{status}  {line.check:<{width}}  {clean(line.found)}")
        if line.advice:
            print(f"{'':<7}  {'':<{width}}  {clean(line.advice)}")


def _verdict(found: "Preflight") -> str:
    wrong = sum(line.status == "wrong" for line in found.lines)
    warnings = sum(line.status == "warning" for line in found.lines)
    also = f", {count(warnings, 'warning')}" if warnings else ""
    if wrong:
        things = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong"
        return f"{found.system}: {painted('NOT ready for a backup', 'NOT ready')}: {things}{also}"
    return f"{found.system}: {painted('ready for a backup', 'ready')}{also}"
