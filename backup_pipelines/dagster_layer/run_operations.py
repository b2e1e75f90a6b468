"""Which operations of a system a run is: by its job, by what is selected, by its steps."""

from collections.abc import Collection
from typing import Any

import dagster as dg

from backup_pipelines.dagster_layer import job_names, partitions
from backup_pipelines.system import System

REFUSED_TAG = "backup_pipelines/refused"
"""Run tag of a launch that the run coordinator has refused: the run, then each system/operation.

A re-execution has its parent's tags, so the tag names its run.
"""


def operation_of(run: dg.DagsterRun, system: System) -> str:
    """The operation that a run was launched for, if it is one of this system; a look is none."""
    name = system.system
    by_job = job_names.operations_by_job(name)
    if run.job_name in by_job:
        return by_job[run.job_name]
    selected = {key for key in run.asset_selection or () if key.path[0] == name}
    selected -= {partitions.health_key(name)}
    # The keys of the modules are made of the whole YAML, and most runs select nothing.
    if selected and selected - {*partitions.module_keys(system).values()}:
        return "backup"
    drilled, checked = partitions.catalog_key(name), run.asset_check_selection or ()
    return "drill" if any(c.asset_key == drilled for c in checked) else ""


def asked(job_name: str, steps: Collection[str], system: str) -> tuple[str, ...]:
    """Everything that a run would do with a system, looks included.

    The steps tell it: ours may be in anybody's job, and a job of assets has what is selected.
    """
    by_job = job_names.all_operations(system)
    by_step = {job_names.op_of(job): operation for job, operation in by_job.items()}
    found = {by_step[step] for step in steps if step in by_step}
    return tuple(sorted(found | {by_job[job_name]} if job_name in by_job else found))


def refused_tag(run_id: str, asked_for: Collection[tuple[str, str]]) -> str:
    """The value of REFUSED_TAG, for pairs of a system and an operation."""
    return " ".join([run_id, *(f"{system}/{operation}" for system, operation in asked_for)])


def is_refused(run: dg.DagsterRun) -> bool:
    """Whether the run coordinator has refused this very run."""
    return run.tags.get(REFUSED_TAG, "").split()[:1] == [run.run_id]


def refused(run: dg.DagsterRun, system: System) -> tuple[str, ...]:
    """The operations of a system that were refused with a launch; none if it was not refused."""
    if not is_refused(run):
        return ()
    words = run.tags[REFUSED_TAG].split()[1:]
    if not words:
        # It could not be told what the run would do.
        known = operation_of(run, system)
        return (known,) if known else ()
    pairs = [word.split("/", 1) for word in words]
    return tuple(operation for name, operation in pairs if name == system.system)


def reason(run: dg.DagsterRun) -> str:
    """The reason in the config of a run's op, where there is one."""
    ops: Any = run.run_config.get("ops")
    for op in ops.values() if isinstance(ops, dict) else ():
        config = op.get("config") if isinstance(op, dict) else None
        said = config.get("reason") if isinstance(config, dict) else None
        if isinstance(said, str) and said:
            return said
    return ""
