"""The verbs that look after what is stored: prune, delete, pin, unpin, reconcile, acknowledge.

A dry run of a prune reads the store only; all else runs the Dagster job of its name.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from backup_pipelines import catalog, environment, systems
from backup_pipelines.backup_id import BackupId
from backup_pipelines.cli import audit as cli_audit
from backup_pipelines.cli.jobs import by_option, json_option, loadable, run_job
from backup_pipelines.cli.output import (
    print_json,
    print_table,
    tell,
)
from backup_pipelines.cli.restore import confirm_option, reason_option, require_confirm
from backup_pipelines.wording import clean, count, size

_PROGRAM = "backup-pipelines"
_DAMAGED = 1


@click.command()
@click.argument("system")
@click.option("--dry-run", is_flag=True, help="Only show what would go and stay, and why.")
@reason_option
@by_option
@json_option
def prune(system: str, dry_run: bool, reason: str, operator: str | None, as_json: bool) -> None:
    """Remove the backups of SYSTEM that retention no longer keeps."""
    if dry_run:
        document = _plan(system)
        if as_json:
            print_json(document)
        else:
            _print_plan(document)
        return
    loadable(system)
    ran = run_job(system, "prune", {"reason": reason}, "pruning", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    reasons = {v["backup"]: "; ".join(v["reasons"]) for v in ran.result["verdicts"]}
    removed = ran.result["removed"]
    if removed:
        print_table(
            ("removed", "size", "why"),
            [
                (r["backup"], size(r["bytes"]), reasons.get(r["backup"], "begun before"))
                for r in removed
            ],
            numbers=("size",),
            whole=("removed",),
        )
    _tell_frozen(ran.result)
    gone = count(len(removed), "backup")
    print(f"{gone} removed, {size(ran.result['bytes'])}; {ran.result['kept']:,} kept")


@click.command()
@click.argument("system")
@click.argument("backup")
@confirm_option
@reason_option
@by_option
@json_option
def delete(
    system: str,
    backup: str,
    confirm: str | None,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> None:
    """Remove one BACKUP of SYSTEM, named by its id, for good."""
    from backup_pipelines.retention.prune import refuse_latest

    with cli_audit.refusals(system, "delete", operator=operator, backup=backup, reason=reason):
        refuse_latest(backup)
        BackupId.parse(backup)
        require_confirm(confirm, f"the objects of {backup} will be removed")
        loadable(system)
    config = {"backup": backup, "reason": reason, "confirm": confirm}
    ran = run_job(system, "delete", config, f"deleting {backup}", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    objects = count(ran.result["objects"], "object")
    kept = ran.result["kept"]
    also = f"; {count(kept, 'object')} of it stay for other backups" if kept else ""
    print(f"{backup}: removed, {objects}, {size(ran.result['bytes'])}{also}")


@click.command()
@click.argument("system")
@click.argument("backup")
@reason_option
@by_option
@json_option
def pin(system: str, backup: str, reason: str, operator: str | None, as_json: bool) -> None:
    """Keep a BACKUP of SYSTEM whatever retention says."""
    _set_pin(system, backup, "pin", reason, operator, as_json)


@click.command()
@click.argument("system")
@click.argument("backup")
@reason_option
@by_option
@json_option
def unpin(system: str, backup: str, reason: str, operator: str | None, as_json: bool) -> None:
    """Let retention decide about a pinned BACKUP of SYSTEM again."""
    _set_pin(system, backup, "unpin", reason, operator, as_json)


@click.command()
@click.argument("system")
@click.option("--repair", is_flag=True, help="Remove objects of no backup; needs --confirm.")
@confirm_option
@reason_option
@by_option
@json_option
def reconcile(
    system: str,
    repair: bool,
    confirm: str | None,
    reason: str,
    operator: str | None,
    as_json: bool,
) -> int:
    """Compare what SYSTEM has in the store with its manifests and the catalog.

    Exit code 1 when a backup has lost objects or its manifest cannot be read.
    """
    if repair:
        require_confirm(confirm, f"objects of {system} that belong to no backup will be removed")
    loadable(system)
    config: dict[str, object] = {"repair": repair, "reason": reason}
    if repair:
        config["confirm"] = confirm
    ran = run_job(system, "reconcile", config, "comparing store and catalog", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
    else:
        _print_reconciled(system, ran.result)
    return _DAMAGED if ran.result["lost"] or ran.result["unreadable"] else 0


@click.command()
@click.argument("system")
@click.option("--reason", required=True, help="What was found, and why pruning may go on.")
@click.option("--guard", "guards", metavar="G", multiple=True, help="Only this; may be repeated.")
@by_option
@json_option
def acknowledge(
    system: str, reason: str, guards: tuple[str, ...], operator: str | None, as_json: bool
) -> None:
    """End a freeze of pruning, after somebody has looked."""
    loadable(system)
    config = {"reason": reason, "guards": list(guards)}
    ran = run_job(system, "acknowledge", config, "acknowledging", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    print(f"{system}: no longer frozen by {', '.join(ran.result['guards'])}")


def _plan(system: str) -> Mapping[str, Any]:
    from backup_pipelines.retention import housekeeping_report
    from backup_pipelines.retention.prune import plan_prune

    systems.require_known(system)
    loaded, store = systems.load_system(system), environment.store()
    return housekeeping_report.plan_document(plan_prune(store, loaded, datetime.now(UTC)))


def _print_plan(document: Mapping[str, Any]) -> None:
    if not document["verdicts"]:
        print(f"{document['system']} has no backups")
        return
    print_table(
        ("backup", "verdict", "size", "why"),
        [
            (
                verdict["backup"],
                "keep" if verdict["keep"] else "remove",
                "" if verdict["size_bytes"] is None else size(verdict["size_bytes"]),
                "; ".join(verdict["reasons"]),
            )
            for verdict in document["verdicts"]
        ],
        numbers=("size",),
        whole=("backup",),
        statuses=("verdict",),
    )
    for backup, how_far in document["unfinished"].items():
        tell(f"unfinished: {clean(backup)}: {clean(how_far)}")
    _tell_frozen(document)
    going = count(len(document["remove"]), "backup")
    print(f"{going} would go, {size(document['bytes'])}; {document['kept']:,} would stay")


def _tell_frozen(document: Mapping[str, Any]) -> None:
    for one in document["frozen"]:
        tell(f"frozen by {one['guard']} since {one['at'][:16]}: {clean(one['message'])}")
    if document["frozen"]:
        tell(
            "Until somebody has looked, nothing good is pruned: "
            f"{_PROGRAM} acknowledge {document['system']} --reason TEXT"
        )


def _set_pin(
    system: str, backup: str, verb: str, reason: str, operator: str | None, as_json: bool
) -> None:
    loadable(system)
    if verb == "pin" or backup == catalog.LATEST:
        backup = catalog.find(environment.store(), system, backup).id
    # One whose manifest is damaged can be unpinned too.
    backup_id = str(BackupId.parse(backup))
    config = {"backup": backup_id, "reason": reason}
    ran = run_job(system, verb, config, f"{verb} {backup_id}", operator)
    if as_json:
        print_json({**ran.result, "run_id": ran.run_id})
        return
    print(f"{backup_id}: {verb}ned")


def _print_reconciled(system: str, document: Mapping[str, Any]) -> None:
    rows = [
        ("lost", backup, problem)
        for backup, problems in document["lost"].items()
        for problem in problems
    ]
    rows += [("unreadable", "", problem) for problem in document["unreadable"]]
    rows += [("not in the store", backup, "") for backup in document["missing_from_store"]]
    rows += [("not in the catalog", backup, "") for backup in document["unknown_to_catalog"]]
    rows += [("of no backup", one["key"], size(one["size_bytes"])) for one in document["orphans"]]
    if rows:
        print_table(("found", "which", "how"), rows, whole=("which",), statuses=("found",))
    for backup in document["marked_damaged"]:
        tell(f"marked as damaged, no longer counted by retention: {backup}")
    repaired = document["repaired"]
    if repaired:
        print(
            f"{system}: {count(repaired['objects'], 'object')} removed, {size(repaired['bytes'])}"
        )
    elif document["agrees"]:
        print(f"{system}: store, manifests and catalog agree")
    elif document["orphans"] or document["missing_from_store"] or document["unknown_to_catalog"]:
        print(f"Put right what can be: {_PROGRAM} reconcile {system} --repair --confirm CONFIRM")
