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
