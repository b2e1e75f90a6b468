"""What the pages of the catalog, of a backup and of the health offer, as launchpads filled in.

Each entry of metadata is shorter than a thousand characters: what is longer Dagster hides.
"""

import re
from collections.abc import Mapping, Sequence

from backup_pipelines import environment
from backup_pipelines.catalog import LATEST
from backup_pipelines.dagster_layer import job_names
from backup_pipelines.dagster_layer.launchpads import CONFIRM, LAST, WHICH, launchpad, link

# Names that need no quotes in SQL.
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")

# The names of more do not fit into an address that is shown at once.
_MODULES = 12

LABELS = ("to_restore", "to_prove", "to_look_into", "to_take_away", "to_keep_or_not")
"""The labels of what can be done with a backup."""

_WHY = {LAST: "Left out on purpose: reason, why pruning may go on."}
_INTO = {LAST: "Left out: into_env, the variable with the URL; confirm, with the word it asks for."}
_SQL = {LAST: "Left out: sql, one statement that returns rows."}
_FOLDER = {"to": "A folder where the run executes."}


def of_backup(system: str, backup_id: str, table: str, modules: Sequence[str]) -> Mapping[str, str]:
    """What can be done with one backup, by label, as markdown; `table` is one that it holds."""
    named = {"backup": backup_id}
    why = {**named, "reason": ""}
    return {
        "to_restore": _listed(
            (plan(system, backup_id), "plan"),
            (restore(system, backup_id), "restore"),
            (
                launchpad(job_names.restore_into_job(system), named, _INTO),
                "into an empty database",
            ),
        ),
        "to_prove": _listed(
            (launchpad(job_names.verify_job(system), named), "verify"),
            (launchpad(job_names.drill_job(system), named), "drill"),
        ),
        "to_look_into": _listed(
            (_query(system, backup_id, table), "SQL"),
            (launchpad(job_names.diff_job(system), named), "differences to now"),
        ),
        "to_take_away": _listed(
            (_links(system, backup_id), "links to download"),
            (_csv(system, backup_id, modules), "CSV files"),
        ),
        "to_keep_or_not": _listed(
            (launchpad(job_names.pin_job(system), why), "pin"),
            (launchpad(job_names.unpin_job(system), why), "unpin"),
            (launchpad(job_names.delete_job(system), why, CONFIRM), "delete"),
        ),
    }


def plan(system: str, backup_id: str = "") -> str:
    """The launchpad of a plan of restoring all of that backup, or of one to be named."""
    config = {"backup": backup_id or LATEST, "mode": "replace", "modules": [], "tables": []}
    return launchpad(job_names.plan_job(system), config, {} if backup_id else WHICH)


def restore(system: str, backup_id: str = "") -> str:
    """The launchpad of a restore of all of that backup, or of one to be named."""
    config = {"backup": backup_id or LATEST, "mode": "replace", "modules": [], "tables": []}
    comments = {**CONFIRM, **({} if backup_id else WHICH)}
    return launchpad(job_names.restore_job(system), {**config, "reason": ""}, comments)


def as_planned(job: str, config: Mapping[str, object], plan_hash: str) -> str:
    """The launchpad of the job that does what was planned with this config, or refuses."""
    return launchpad(job, {**config, "plan": plan_hash, "reason": ""}, CONFIRM)


def undo(system: str) -> str:
    """The launchpad by which the last restore is taken back."""
    return launchpad(job_names.undo_job(system), {"reason": ""}, CONFIRM)


def about_catalog(system: str) -> str:
    """What can be done with the backups of a system, as one line: Dagster folds what is longer."""
    return _to_do(
        link(_back_up(system), "back up everything"),
        f"[back up one module](/assets/{system}/modules)",
        link(plan(system), "see what a restore of the newest would change"),
        link(restore(system), "restore the newest"),
        link(_record(system), "restore one record of the newest"),
        link(undo(system), "take the last restore back"),
        link(_links(system, LATEST), "links to download the newest"),
        link(_prune(system), "see what a prune would remove, and why"),
    )


def about_health(system: str) -> str:
    """What people do who look at the health of a system, as one line."""
    drill = launchpad(job_names.drill_job(system), {"backup": LATEST})
    acknowledge = launchpad(job_names.acknowledge_job(system), {"guards": []}, _WHY)
    return _to_do(
        link(_back_up(system), "back up now"),
        link(drill, "prove the newest by a drill"),
        link(_prune(system), "see what a prune would remove, and why"),
        link(acknowledge, "let pruning go on, once you have looked"),
        f"[all backups](/assets/{system}/backups)",
        "[switch schedules, see when they are next](/automation)",
        "[all runs](/runs)",
    )


def _back_up(system: str) -> str:
    return launchpad(job_names.backup_job(system), {"label": "", "reason": ""})


def _record(system: str) -> str:
    comments = {
        **WHICH,
        LAST: "Left out: tables: [its table], key: its primary key, confirm: the word it asks for.",
    }
    config = {"backup": LATEST, "with_children": False, "reason": ""}
    return launchpad(job_names.restore_job(system), config, comments)


def _prune(system: str) -> str:
    comments = {"dry_run": "It only shows; write false to remove what it shows."}
    return launchpad(job_names.prune_job(system), {"dry_run": True, "reason": ""}, comments)


def _links(system: str, backup_id: str) -> str:
    comments = {"expires": "Whoever sees the run can use the links until then."}
    config = {"backup": backup_id, "tables": [], "expires": "1h"}
    return launchpad(job_names.link_job(system), config, comments)


def _query(system: str, backup_id: str, table: str) -> str:
    config = {"backup": backup_id}
    if not _PLAIN.fullmatch(table):
        return launchpad(job_names.query_job(system), config, _SQL)
    return launchpad(job_names.query_job(system), {**config, "sql": f"FROM {table} LIMIT 10"})


def _csv(system: str, backup_id: str, modules: Sequence[str]) -> str:
    folder = str(environment.home() / "csv" / f"{system}-{backup_id}")
    named = list(modules) if len(modules) <= _MODULES else []
    config = {"backup": backup_id, "modules": named, "to": folder, "zipped": True}
    return launchpad(job_names.csv_export_job(system), config, _FOLDER)


def _listed(*links: tuple[str, str]) -> str:
    return ", ".join(link(address, text) for address, text in links)


def _to_do(*links: str) -> str:
    return f"To do: {' · '.join(links)}"
