"""Every name that Dagster knows a system's assets by: keys, groups, partition sets, checks.

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


def modules_group(system: str) -> str:
    """The group of the pages of a system's modules; in a module's own, tables have its name."""
    return f"{system}_modules"


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


def module_keys(system: System) -> Mapping[str, dg.AssetKey]:
    """The page of each module by its name, in the order of the YAML."""
    taken = entry_keys(system).keys()
    found: dict[str, dg.AssetKey] = {}
    for module in dict.fromkeys(entry.module for entry in entries(system)):
        key = dg.AssetKey([system.system, "modules", _valid(module)])
        # A schema of the database may be called so.
        found[module] = key if key not in taken else dg.AssetKey([*key.path, "module"])
    return found


def all_backups(system: str) -> dg.DynamicPartitionsDefinition:
    """Ids of all backups, started ones included: the partitions of the catalog."""
    return dg.DynamicPartitionsDefinition(name=f"{system}_backups")


def restorable(system: str) -> dg.DynamicPartitionsDefinition:
    """Ids of the whole backups only: the drop-down of the jobs that read one."""
    return dg.DynamicPartitionsDefinition(name=f"{system}_restorable")


def health_key(system: str) -> dg.AssetKey:
    """The asset whose checks are the guards, and whose numbers are plotted."""
    return dg.AssetKey([system, "health"])


def _valid(identifier: str) -> str:
    """The identifier itself where Dagster accepts it, else a safe name with a short hash."""
    if _VALID.fullmatch(identifier):
        return identifier
    safe = re.sub(r"[^A-Za-z0-9_]+", "_", identifier).strip("_")[:40]
    return f"{safe}_{hashlib.sha256(identifier.encode()).hexdigest()[:8]}".lstrip("_")
