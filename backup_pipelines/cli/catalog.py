"""The verbs about the catalog itself, as a group: `catalog rebuild`; and `copy`."""

from collections.abc import Mapping
from typing import Any

import click

from backup_pipelines import environment
from backup_pipelines.cli.jobs import by_option, json_option, loadable, run_job, store_option
from backup_pipelines.cli.output import (
    print_json,
    tell,
)
from backup_pipelines.environment import StoreName
from backup_pipelines.system import System
from backup_pipelines.wording import clean, count, size


@click.group("catalog")
def catalog_group() -> None:
    """Look after the catalog that Dagster shows."""


@catalog_group.command()
@click.argument("system")
@store_option
@by_option
@json_option
def rebuild(system: str, which: StoreName, operator: str | None, as_json: bool) -> None:
    """Bring the catalog of SYSTEM back from the store alone.

    For a new or damaged Dagster instance: every backup with its status, pin and metadata. Changes
    nothing in the store.
    """
    _with_store(loadable(system), which)
    config = {"store": which}
    ran = run_job(system, "catalog_rebuild", config, "rebuilding the catalog", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
    else:
        _print_rebuilt(ran.result)


@click.command()
@click.argument("system")
@click.option("--reason", default="", help="Why; kept with the run.")
@by_option
@json_option
def copy(system: str, reason: str, operator: str | None, as_json: bool) -> None:
    """Copy the backups of SYSTEM that its second store lacks, and prune there."""
    _with_store(loadable(system), "second")
    ran = run_job(system, "copy", {"reason": reason}, "copying to the second store", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id, "seconds": ran.seconds})
        return
    done = ran.result
    for backup in done["given_up"]:
        tell(f"given up, it was removed meanwhile: {clean(backup)}")
    print(
        f"{system}: {count(len(done['copied']), 'backup')} copied, {size(done['bytes'])}; "
        f"{len(done['removed']):,} removed by retention, {ran.seconds:.1f} s"
    )


def _with_store(system: System, which: StoreName) -> None:
    """Refuse a second store that there is not, before Dagster is started for it."""
    if which == "second":
        environment.second_store(system)


def _print_rebuilt(document: Mapping[str, Any]) -> None:
    for one in document["backups"]:
        if one["status"] == "damaged":
            tell(f"damaged: {clean(one['backup'])}: {clean(one['error'])}")
    for backup in document["dropped"]:
        tell(f"no longer offered, the store has no such backup: {clean(backup)}")
    for backup in document["unsealed"]:
        tell(f"never became a backup: {clean(backup)}")
    added, updated = len(document["added"]), len(document["updated"])
    in_store = count(len(document["backups"]), "backup")
    print(
        f"{document['system']}: {in_store} in the store; {added:,} brought back, "
        f"{updated:,} put right, {len(document['pinned']):,} pinned, "
        f"{len(document['damaged']):,} damaged"
    )
