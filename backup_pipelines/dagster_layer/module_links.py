"""What a module's page offers: launchpads with the module filled in, and commands to copy."""

from backup_pipelines import environment, modules
from backup_pipelines.catalog import LATEST
from backup_pipelines.dagster_layer import job_names, partitions
from backup_pipelines.dagster_layer.launchpads import CONFIRM, WHICH, launchpad, link
from backup_pipelines.system import System

# The launchpad understands no longer list of assets in its address.
_ASSETS = 20

_TO = {"to": "A folder where the run executes; files that exist are not replaced."}
_FROM = {"source": "The folder with the filled files, where the run executes."}


def backup(system: System, module: str) -> str:
    """The launchpad of a backup of the module; empty where it has too many assets to name."""
    entries = [entry for entry in modules.entries(system) if entry.module == module]
    keys = [partitions.entry_key(system.system, entry) for entry in entries]
    if len(keys) > _ASSETS:
        return ""
    job = job_names.backup_job(system.system)
    comments = {"label": f"Only the tables of module {module}: they are selected already."}
    return launchpad(job, {"label": "", "reason": ""}, comments, keys)


def plan(system: System, module: str, backup_id: str = "") -> str:
    """The launchpad of a plan of restoring the module from that backup, or one to be named."""
    config = {"backup": backup_id or LATEST, "modules": [module], "mode": "replace"}
    return launchpad(job_names.plan_job(system.system), config, {} if backup_id else WHICH)


def restore(system: System, module: str, backup_id: str = "") -> str:
    """The launchpad of a restore of the module from that backup, or one to be named."""
    config = {"backup": backup_id or LATEST, "modules": [module], "mode": "replace", "reason": ""}
    comments = {**CONFIRM, **({} if backup_id else WHICH)}
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
    return launchpad(job_names.csv_import_job(system.system), config, {**_FROM, **CONFIRM})


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
        ("back up", link(backup(system, module)) or group, f"backup {one}"),
        (
            "restore",
            f"{link(plan(system, module), 'plan')}, {link(restore(system, module), 'restore')}",
            f"restore {name} latest --module {module} --confirm CONFIRM",
        ),
        ("export as CSV", link(csv_export(system, module)), f"csv export {one} --to DIR"),
        (
            "template for an import",
            link(csv_template(system, module)),
            f"csv template {one} --to DIR",
        ),
        (
            "import CSV",
            f"{link(csv_plan(system, module), 'plan')}, "
            f"{link(csv_import(system, module), 'import')}",
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
            f"Count the live records now: Observe, or {link(_look(name), 'the job')}.",
        ]
    )


def _look(system: str) -> str:
    return launchpad(job_names.modules_job(system), {})


def _folder(system: System, module: str, what: str) -> str:
    return str(environment.home() / "csv" / f"{system.system}-{module}-{what}")
