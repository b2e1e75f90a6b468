"""Addresses of launchpads with their config filled in, and what a module's page offers.

What people must type themselves, such as CONFIRM, is never filled in.
"""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import dagster as dg

from backup_pipelines import environment
from backup_pipelines.catalog import LATEST
from backup_pipelines.dagster_layer import job_names, partitions
from backup_pipelines.system import System

# The launchpad understands no longer list of assets in its address.
_ASSETS = 20

_LAST = ""
"""Where a comment is that stands below all fields."""

# Longer ones do not fit into the launchpad.
_CONFIRM = {_LAST: "Left out on purpose: confirm, with the word that it asks for."}
_WHICH = {"backup": "The newest full backup; or write the id of another one."}
_TO = {"to": "A folder where the run executes; files that exist are not replaced."}
_FROM = {"source": "The folder with the filled files, where the run executes."}

Comments = Mapping[str, str]


def launchpad(
    job: str,
    config: Mapping[str, object],
    comments: Comments | None = None,
    assets: Sequence[dg.AssetKey] = (),
) -> str:
    """The address of a job's launchpad with this config; `comments` stand above their field.

    Dagster finds the job whatever the code location is called. Of a job of assets `assets` are
    those that are made.
    """
    fields = [("config", _yaml(job_names.op_of(job), config, comments or {}))]
    for number, key in enumerate(assets):
        name = f"assetSelection[{number}][assetKey][path]"
        fields += [(f"{name}[{place}]", part) for place, part in enumerate(key.path)]
    return f"/guess/{job}/playground/setup?{urlencode(fields, quote_via=quote)}"


def backup(system: System, module: str) -> str:
    """The launchpad of a backup of the module; empty where it has too many assets to name."""
    keys = [k for k, entry in partitions.entry_keys(system).items() if entry.module == module]
    if len(keys) > _ASSETS:
        return ""
    job = job_names.backup_job(system.system)
    comments = {"label": f"Only the tables of module {module}: they are selected already."}
    return launchpad(job, {"label": "", "reason": ""}, comments, keys)


def plan(system: System, module: str, backup_id: str = "") -> str:
    """The launchpad of a plan of restoring the module from that backup, or one to be named."""
    config = {"backup": backup_id or LATEST, "modules": [module], "mode": "replace"}
    return launchpad(job_names.plan_job(system.system), config, {} if backup_id else _WHICH)


def restore(system: System, module: str, backup_id: str = "") -> str:
    """The launchpad of a restore of the module from that backup, or one to be named."""
    config = {"backup": backup_id or LATEST, "modules": [module], "mode": "replace", "reason": ""}
    comments = _CONFIRM | ({} if backup_id else _WHICH)
    return launchpad(job_names.restore_job(system.system), config, comments)


def csv_export(system: System, module: str) -> str:
    """The launchpad of an export of the module as CSV files."""
    config = {"modules": [module], "to": _folder(system, module, "export"), "zipped": False}
    return launchpad(job_names.csv_export_job(system.system), config, _TO)


def csv_template(system: System, module: str) -> str:
    """The launchpad of empty CSV files for an import into the module."""
    config = {"modules": [module], "to": _folder(system, module, "template"), "xlsx": False}
    return launchpad(job_names.csv_template_job(system.system), config, _TO)


def csv_plan(system: System, module: str) -> str:
    """The launchpad of a plan of importing CSV files into the module."""
    config = {"modules": [module], "source": _folder(system, module, "import")}
    return launchpad(job_names.csv_plan_job(system.system), config, _FROM)


def csv_import(system: System, module: str) -> str:
    """The launchpad of an import of CSV files into the module."""
    config = {"modules": [module], "source": _folder(system, module, "import"), "reason": ""}
    return launchpad(job_names.csv_import_job(system.system), config, _FROM | _CONFIRM)


def about(system: System, module: str) -> str:
    """What a module's page says of it, in markdown: its tables, and what can be done with them."""
    name, spec = system.system, system.modules.get(module)
    if spec is not None:
        says = spec.description or f"Module {module} of {name}."
        tables = f"Tables: {', '.join(f'`{table}`' for table in spec.tables)}."
    else:
        says = "Tables that no module names: they are backed up all the same."
        tables = "Which they are is under `tables` once there are any."
    one = f"{name} --module {module}"
    group = f"asset group `{partitions.group(name, module)}`, Materialize all"
    rows = [
        ("back up", _link(backup(system, module)) or group, f"backup {one}"),
        (
            "restore",
            f"{_link(plan(system, module), 'plan')}, {_link(restore(system, module), 'restore')}",
            f"restore {name} latest --module {module} --confirm CONFIRM",
        ),
        ("export as CSV", _link(csv_export(system, module)), f"csv export {one} --to DIR"),
        (
            "template for an import",
            _link(csv_template(system, module)),
            f"csv template {one} --to DIR",
        ),
        (
            "import CSV",
            f"{_link(csv_plan(system, module), 'plan')}, "
            f"{_link(csv_import(system, module), 'import')}",
            f"csv import {one} --from DIR --confirm CONFIRM",
        ),
    ]
    lines = [f"| {what} | {link} | `backup-pipelines {typed}` |" for what, link, typed in rows]
    return "\n".join(
        [
            f"{says} {tables}",
            "",
            "| to do | launchpad | command |",
            "|---|---|---|",
            *lines,
            "",
            f"Count the live records now: Observe, or {_link(_look(name), 'the job')}.",
        ]
    )


def _look(system: str) -> str:
    return launchpad(job_names.modules_job(system), {})


def _link(address: str, text: str = "open") -> str:
    return f"[{text}]({address})" if address else ""


def _folder(system: System, module: str, what: str) -> str:
    return str(environment.home() / "csv" / f"{system.system}-{module}-{what}")


def _yaml(op: str, config: Mapping[str, object], comments: Comments) -> str:
    """The run config as people edit it; JSON's values are YAML's too."""
    if not config:
        return ""
    lines = ["ops:", f"  {op}:", "    config:"]
    for name, value in config.items():
        if name in comments:
            lines.append(f"      # {comments[name]}")
        lines.append(f"      {name}: {json.dumps(value)}")
    if _LAST in comments:
        lines.append(f"      # {comments[_LAST]}")
    return "\n".join(lines) + "\n"
