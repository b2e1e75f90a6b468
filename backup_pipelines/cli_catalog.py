"""The verbs about the catalog itself, as a group: `catalog rebuild`."""

from collections.abc import Mapping
from typing import Any

import click

from backup_pipelines.cli_jobs import by_option, json_option, loadable, run_job
from backup_pipelines.cli_output import clean, count, print_json, tell


@click.group("catalog")
def catalog_group() -> None:
    """Look after the catalog that Dagster shows."""


@catalog_group.command()
@click.argument("system")
@by_option
@json_option
def rebuild(system: str, operator: str | None, as_json: bool) -> None:
    """Bring the catalog of SYSTEM back from the store alone.

    For a new or damaged Dagster instance: every backup with its status, pin and metadata. Changes
    nothing in the store.
    """
    loadable(system)
    ran = run_job(system, "catalog_rebuild", {}, "rebuilding the catalog", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
    else:
        _print_rebuilt(ran.result)


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
