"""The jobs of a system; all run in one process, and the system's pool lets one run at a time.

A selection's ops depend on nothing of each other, so in process saves a spawn and an import.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import catalog
from backup_pipelines.dagster_layer import job_names, labels, metadata, operations
from backup_pipelines.dagster_layer.config import BackupChoice, RestoreIntoConfig
from backup_pipelines.dagster_layer.op_jobs import asset_job, configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import sparse
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count

if TYPE_CHECKING:
    # What define_asset_job returns; Dagster does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from backup_pipelines.restore import RestoreResult


def jobs(
    system: System, backup: dg.AssetsDefinition, drill: dg.AssetChecksDefinition
) -> "list[dg.JobDefinition | UnresolvedAssetJobDefinition]":
    """The jobs that take a backup, prove it, and restore it into an empty database."""
    return [
        asset_job(system, job_names.backup_job(system.system), dg.AssetSelection.assets(backup)),
        asset_job(system, job_names.drill_job(system.system), dg.AssetSelection.checks(drill)),
        configured_op_job(
            system,
            job_names.restore_into_job(system.system),
            _restore_into,
            RestoreIntoConfig,
            of_backup=True,
        ),
    ]


def chosen(
    context: dg.OpExecutionContext, store: Store, system: str, choice: BackupChoice
) -> Manifest:
    """The backup that the run's partition or config names; raises NotFound when there is none.

    The UI also starts a run with an unknown partition, or with none: the manifest decides.
    """
    named = context.partition_key if context.has_partition_key else choice.backup
    return catalog.find(store, system, named)


def refuse_two_names(context: dg.OpExecutionContext, said: str, *same: str) -> None:
    """Refuse a run whose config names another backup than its partition; `same` name none."""
    if context.has_partition_key and said not in (context.partition_key, *same):
        raise Refused(
            f"the run's partition is {context.partition_key}, its config says backup: {said}; "
            "which?"
        )


def _restore_into(
    system: System,
    context: dg.OpExecutionContext,
    config: RestoreIntoConfig,
    environment: BackupEnvironment,
) -> None:
    environment = environment.at(system, config.store)
    with operations.operation(context, system, "restore_into", environment) as work:
        _restore_whole(system, context, config, environment, work)


def _restore_whole(
    system: System,
    context: dg.OpExecutionContext,
    config: RestoreIntoConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> None:
    from backup_pipelines.restoring.restore_report import whole_restored_document

    refuse_reexecution(context.run)
    work.details |= {"into": config.into_env, "store": config.store.value}
    work.details |= {"masked": True} if config.masked else {}
    url = os.environ.get(config.into_env)
    if not url:
        raise Refused(f"{config.into_env} is not set where this run executes: give it the URL")
    store = environment.store()
    entry = chosen(context, store, system.system, config)
    work.backup = entry.id
    copied = _copy(system, context, store, entry, url, masked=config.masked)
    done, work.rows = copied.done, copied.done.rows
    work.digests_after, work.message = dict(copied.digests), copied.message
    work.details |= {"tables": done.tables, "skipped": list(done.skipped)}
    for text in done.skipped:
        context.log.warning(f"left out: {text}")
    context.add_output_metadata(
        {
            labels.SUMMARY: f"{count(entry.records_count, 'row')} of "
            f"{count(entry.tables_count, 'table')} restored into {config.into_env}, and proved",
            **metadata.named(entry.id),
            "into": config.into_env,
            "tables": entry.tables_count,
            "rows": entry.records_count,
            "skipped": ", ".join(done.skipped) or "nothing",
            metadata.RESULT: dg.MetadataValue.json(
                {**whole_restored_document(entry, config.into_env, done), **copied.document}
            ),
        }
    )
    context.log.info(f"{entry.id} is restored into {config.into_env}")


@dataclass(frozen=True)
class _Copied:
    """What a database that was empty has now."""

    done: "RestoreResult"
    digests: Mapping[str, str]
    """Those that its tables were compared with."""
    message: str = ""
    document: Mapping[str, object] = field(default_factory=dict[str, object])


def _copy(
    system: System,
    context: dg.OpExecutionContext,
    store: Store,
    entry: Manifest,
    url: str,
    *,
    masked: bool,
) -> _Copied:
    report = sparse(context.log.info)
    if masked:
        from backup_pipelines.masking.masked_copy import copy_masked

        made = copy_masked(system, store, entry, url, report=report)
        return _Copied(made.restored, made.by_digest, made.in_words, made.document())
    from backup_pipelines.restore import restore_into_empty

    done = restore_into_empty(store, entry, url, report=report)
    return _Copied(done, {t.qualified: t.digest for t in entry.tables if t.digest})


def refuse_reexecution(run: dg.DagsterRun) -> None:
    """Refuse a copy of an earlier run: Re-execute would replay its stored CONFIRM by one click."""
    if run.parent_run_id is not None:
        raise Refused("this is a re-execution; start a new run and confirm it anew")
