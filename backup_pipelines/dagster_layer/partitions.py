"""Every name that Dagster knows a system by: asset keys, op names, jobs, partition sets, checks.

An entry's asset key is made here and nowhere else, and so is the way back.
"""

import hashlib
import re
from collections.abc import Mapping

import dagster as dg

from backup_pipelines.modules import Entry, entries
from backup_pipelines.system import OTHER, System

# What Dagster accepts in op output names; asset keys accept more, but the two should agree.
_VALID = re.compile(r"^[A-Za-z0-9_]+$")

COVERAGE = "coverage"
RESTORABLE = "restorable"

REBUILT_TAG = "backup_pipelines/rebuilt"
"""Tag of materializations of the catalog that show no new backup."""


def group(system: str, module: str) -> str:
    """The asset group of a module; `other` is one that every system has, so it says whose."""
    return f"{system}_{module}" if module == OTHER else module


def catalog_group(system: str) -> str:
    """The group of a system's catalog and DDL."""
    return f"{system}_catalog"


def entry_key(system: str, entry: Entry) -> dg.AssetKey:
    """The asset of one entry: a table by schema and name, patterns by module, the rest `other`."""
    if entry.kind == "table":
        schema, _, table = entry.name.partition(".")
        return dg.AssetKey([system, _valid(schema), _valid(table)])
    if entry.kind == "patterns":
        return dg.AssetKey([system, "by_pattern", _valid(entry.module)])
    return dg.AssetKey([system, "other"])


def entry_keys(system: System) -> Mapping[dg.AssetKey, Entry]:
    """All entries of a system by their asset keys, in the order of its YAML."""
    return {entry_key(system.system, entry): entry for entry in entries(system)}


def schema_key(system: str) -> dg.AssetKey:
    """The asset of the DDL."""
    return dg.AssetKey([system, "schema"])


def catalog_key(system: str) -> dg.AssetKey:
    """The catalog: one partition for each backup."""
    return dg.AssetKey([system, "backups"])


def other_key(system: str) -> dg.AssetKey:
    """The asset of the tables that no module names."""
    return dg.AssetKey([system, "other"])


def all_backups(system: str) -> dg.DynamicPartitionsDefinition:
    """Ids of all backups, started ones included: the partitions of the catalog."""
    return dg.DynamicPartitionsDefinition(name=f"{system}_backups")


def restorable(system: str) -> dg.DynamicPartitionsDefinition:
    """Ids of the whole backups only: the drop-down of the jobs that read one."""
    return dg.DynamicPartitionsDefinition(name=f"{system}_restorable")


def backup_job(system: str) -> str:
    """The job that backs up."""
    return f"{system}_backup"


def drill_job(system: str) -> str:
    """The job that proves a backup by restoring it into a scratch database."""
    return f"{system}_drill"


def verify_job(system: str) -> str:
    """The job that reads a backup's objects back."""
    return f"{system}_verify"


def verify_rotation_job(system: str) -> str:
    """The job that reads back the backups that were verified longest ago."""
    return f"{system}_verify_rotation"


def restore_into_job(system: str) -> str:
    """The job that restores a backup into an empty database."""
    return f"{system}_restore_into"


def plan_job(system: str) -> str:
    """The job that shows what a restore would do."""
    return f"{system}_plan"


def restore_job(system: str) -> str:
    """The job that restores a backup into the live database."""
    return f"{system}_restore"


def undo_job(system: str) -> str:
    """The job that takes the last restore back."""
    return f"{system}_undo"


def request_job(system: str) -> str:
    """The job that carries out one request of the application."""
    return f"{system}_request"


def requests_sensor(system: str) -> str:
    """The sensor that looks for requests of the application."""
    return f"{system}_requests"


def health_key(system: str) -> dg.AssetKey:
    """The asset whose checks are the guards, and whose numbers are plotted."""
    return dg.AssetKey([system, "health"])


def health_job(system: str) -> str:
    """The job that looks at the health of a system's backups and tells people what changed."""
    return f"{system}_health"


def prune_job(system: str) -> str:
    """The job that removes what retention no longer keeps."""
    return f"{system}_prune"


def delete_job(system: str) -> str:
    """The job that removes one backup by hand."""
    return f"{system}_delete"


def pin_job(system: str) -> str:
    """The job that keeps a backup from being pruned."""
    return f"{system}_pin"


def unpin_job(system: str) -> str:
    """The job that lets retention decide about a backup again."""
    return f"{system}_unpin"


def reconcile_job(system: str) -> str:
    """The job that compares store and catalog."""
    return f"{system}_reconcile"


def catalog_rebuild_job(system: str) -> str:
    """The job that brings the catalog back from the store."""
    return f"{system}_catalog_rebuild"


def acknowledge_job(system: str) -> str:
    """The job by which a person ends a freeze of pruning."""
    return f"{system}_acknowledge"


def upload_job(system: str) -> str:
    """The job that puts the backup of an archive into the store."""
    return f"{system}_upload"


def reencrypt_job(system: str) -> str:
    """The job that encrypts backups anew, for today's recipients."""
    return f"{system}_reencrypt"


def copy_job(system: str) -> str:
    """The job that copies backups to the second store."""
    return f"{system}_copy"


def copy_pool(system: str) -> str:
    """The pool that lets one copy of a system run at a time; backups never wait for it."""
    # No system is called so: `crm_copy` may be one.
    return f"{system}/copy"


def copy_sensor(system: str) -> str:
    """The sensor that has copies follow backups."""
    return f"{system}_copy_after_backup"


def query_job(system: str) -> str:
    """The job that answers SQL from backups."""
    return f"{system}_query"


def link_job(system: str) -> str:
    """The job that makes links to a backup's objects."""
    return f"{system}_link"


def csv_export_job(system: str) -> str:
    """The job that writes tables as CSV files."""
    return f"{system}_csv_export"


def csv_template_job(system: str) -> str:
    """The job that writes empty CSV files for an import, and what their columns take."""
    return f"{system}_csv_template"


def operations_by_job(system: str) -> Mapping[str, str]:
    """The jobs whose runs are operations, and which; looking at the health is none."""
    # Not by their prefix alone: `crm_eu` has jobs that begin with `crm_`.
    made = (
        backup_job(system),
        drill_job(system),
        verify_job(system),
        restore_into_job(system),
        plan_job(system),
        restore_job(system),
        undo_job(system),
        request_job(system),
        prune_job(system),
        delete_job(system),
        pin_job(system),
        unpin_job(system),
        reconcile_job(system),
        catalog_rebuild_job(system),
        acknowledge_job(system),
        upload_job(system),
        csv_export_job(system),
        csv_template_job(system),
        query_job(system),
        link_job(system),
        reencrypt_job(system),
        copy_job(system),
    )
    by_name = {job: job.removeprefix(f"{system}_") for job in made}
    return by_name | {verify_rotation_job(system): "verify"}


def schedule_of(job: str) -> str:
    """The schedule of a job; people switch it on and off."""
    return f"{job}_schedule"


def module_schedule(system: str, module: str) -> str:
    """The schedule of one module's backups."""
    return schedule_of(f"{system}_{module}_backup")


def due_sensor(system: str) -> str:
    """The sensor that launches what is overdue: missed ticks and retries of what failed."""
    return f"{system}_due"


def prune_sensor(system: str) -> str:
    """The sensor that requests a prune after each backup."""
    return f"{system}_prune_after_backup"


def health_sensor(system: str) -> str:
    """The sensor that has the health looked at after each run, and regularly."""
    return f"{system}_health_watch"


def op_of(job: str) -> str:
    """The one op of a job, whose config the run config holds; Dagster wants its name to differ."""
    return f"{job}_op"


def pool(system: str) -> str:
    """The concurrency pool that lets one backup or restore of a system run at a time."""
    return system


def _valid(identifier: str) -> str:
    """The identifier itself where Dagster accepts it, else a safe name with a short hash."""
    if _VALID.fullmatch(identifier):
        return identifier
    safe = re.sub(r"[^A-Za-z0-9_]+", "_", identifier).strip("_")[:40]
    return f"{safe}_{hashlib.sha256(identifier.encode()).hexdigest()[:8]}".lstrip("_")
