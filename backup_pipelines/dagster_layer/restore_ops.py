"""What the ops of a plan, a restore and an undo do: refuse, call the core, show the result."""

import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines import catalog, modules
from backup_pipelines.dagster_layer import (
    job_names,
    metadata,
    module_pages,
    operations,
    partitions,
)
from backup_pipelines.dagster_layer.config import (
    LiveRestoreConfig,
    PlanConfig,
    StoreChoice,
    UndoConfig,
)
from backup_pipelines.dagster_layer.jobs import chosen, refuse_reexecution, refuse_two_names
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import sparse
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.wording import count

if TYPE_CHECKING:
    from backup_pipelines.restore import LiveRestore
    from backup_pipelines.restoring.restore_report import Document


def plan(
    system: System,
    context: dg.OpExecutionContext,
    config: PlanConfig,
    environment: BackupEnvironment,
) -> None:
    """Show what a restore would do, in the run and on the backup's partition of the catalog."""
    environment = environment.at(system, config.store)
    with operations.operation(context, system, "plan", environment) as work:
        _plan(system, context, config, environment, work)


def _plan(
    system: System,
    context: dg.OpExecutionContext,
    config: PlanConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> None:
    from backup_pipelines.dagster_layer import restore_metadata
    from backup_pipelines.plan import plan_restore
    from backup_pipelines.restoring import restore_report

    store = environment.store()
    entry = _named(context, store, system.system, config)
    work.backup = entry.id
    started = time.monotonic()
    with _target(system, config.into_env, environment) as url:
        plan = plan_restore(
            store,
            entry,
            url,
            selection=_selection(config),
            mode=config.mode.value,
            report=sparse(context.log.info),
        )
    document = restore_report.plan_document(plan, time.monotonic() - started, config.into_env)
    work.plan_hash, work.message = plan.hash, restore_report.in_words(document)
    work.details |= _about(document)
    asked = {**config.model_dump(mode="json", exclude_defaults=True), "backup": entry.id}
    job = job_names.restore_job(system.system)
    do_it = restore_metadata.do_it(job, asked, document, "restore as planned")
    shown = restore_metadata.of_plan(document, do_it)
    context.log_event(
        dg.AssetObservation(
            partitions.catalog_key(system.system),
            description=f"Plan {plan.hash}: {restore_report.in_words(document)}.",
            metadata=shown,
            partition=entry.id,
        )
    )
    metadata.leave_result(context, document, shown)
    for problem in plan.refused:
        context.log.warning(f"this restore would be refused: {problem}")
    context.log.info(f"plan {plan.hash} of {entry.id}: {restore_report.in_words(document)}")


def restore(
    system: System,
    context: dg.OpExecutionContext,
    config: LiveRestoreConfig,
    environment: BackupEnvironment,
    details: Mapping[str, Any] | None = None,
) -> "Document":
    """Restore what differs, after a safety backup of it, and tell how to take it back.

    `details` are for the audit record.
    """
    environment = environment.at(system, config.store)
    with operations.operation(
        context, system, "restore", environment, reason=config.reason
    ) as work:
        work.plan_hash = config.plan
        work.details |= {**(details or {}), "skip_safety": config.skip_safety}
        work.details["store"] = config.store.value
        return _restore(system, context, config, environment, work)


def _restore(
    system: System,
    context: dg.OpExecutionContext,
    config: LiveRestoreConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> "Document":
    from backup_pipelines.dagster_layer import safety_backups
    from backup_pipelines.restore import LiveRestore

    refuse_reexecution(context.run)
    _refuse_unsafe(config)
    entry = _named(context, environment.store(), system.system, config)
    request = LiveRestore(
        entry=entry,
        selection=_selection(config),
        mode=config.mode.value,
        plan_hash=config.plan,
        lock_seconds=config.lock_seconds,
        refresh_views=config.refresh_views,
    )
    label = f"before restore of {entry.id}"
    safety = safety_backups.taker_unless_skipped(
        system, context, environment, work, config, label=label
    )
    return _execute(system, context, environment, request, safety, work, config.into_env)


def undo(
    system: System,
    context: dg.OpExecutionContext,
    config: UndoConfig,
    environment: BackupEnvironment,
) -> None:
    """Restore the safety backup of the last restore, after a safety backup of what that changes."""
    environment = environment.at(system, config.store)
    with operations.operation(context, system, "undo", environment, reason=config.reason) as work:
        _undo(system, context, config, environment, work)


def _undo(
    system: System,
    context: dg.OpExecutionContext,
    config: UndoConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> None:
    from backup_pipelines.dagster_layer import safety_backups
    from backup_pipelines.restore import LiveRestore

    refuse_reexecution(context.run)
    entry, created = safety_backups.to_undo(context, environment, system.system)
    context.log.info(f"undoing by {entry.id}, taken {entry.label}")
    request = LiveRestore(entry=entry, lock_seconds=config.lock_seconds, takes_back=created)
    label = f"before undo by {entry.id}"
    safety = safety_backups.taker(
        system, context, environment, work, label=label, reason=config.reason
    )
    _execute(system, context, environment, request, safety, work)


def _execute(
    system: System,
    context: dg.OpExecutionContext,
    environment: BackupEnvironment,
    request: "LiveRestore",
    safety: Callable[[frozenset[str]], Manifest] | None,
    work: operations.Operation,
    into_env: str = "",
) -> "Document":
    from backup_pipelines.dagster_layer import catalog_sync, safety_backups
    from backup_pipelines.restore import restore
    from backup_pipelines.restoring import restore_report

    name, store = system.system, environment.store()
    work.backup = request.entry.id
    if environment.which is StoreChoice.first:
        # The catalog is that of the first store, which may have others, or be away.
        catalog_sync.sync(context.instance, store, name)
    started = time.monotonic()
    with _target(system, into_env, environment) as url:
        done = restore(request, url, store, safety=safety, report=sparse(context.log.info))
        if not into_env:
            # Before anything that could go wrong: an undo would take back what was done before.
            safety_backups.remember(context, environment, name, done)
    document = restore_report.restored_document(done, time.monotonic() - started, into_env)
    work.plan_hash, work.rows = done.plan.hash, done.plan.rows
    work.message, work.digests_after = restore_report.in_words(document), dict(done.digests)
    work.details |= _about(document)
    _show(system, context, request.entry, document, into_env)
    if not into_env:
        module_pages.restored(context, system, environment, request.entry, document["tables"])
    context.log.info(
        f"{request.entry.id} is restored, {count(done.verified, 'table')} proved: "
        f"{restore_report.in_words(document)}"
    )
    return document


def _show(
    system: System,
    context: dg.OpExecutionContext,
    entry: Manifest,
    document: "Document",
    into_env: str,
) -> None:
    """Tell the run, the backup's partition and each changed table's asset what was done.

    By observations: a materialization of a table's asset would be a backup of it.
    """
    from backup_pipelines.dagster_layer import restore_metadata
    from backup_pipelines.restoring import restore_report

    shown = restore_metadata.of_restore(document, restore_metadata.undo_of(system.system, document))
    said = f"Restored into {shown['into']}: {restore_report.in_words(document)}."
    context.log_event(
        dg.AssetObservation(
            partitions.catalog_key(system.system),
            description=said,
            metadata=shown,
            partition=entry.id,
        )
    )
    for key, tables in _by_asset(system, entry, document).items():
        changed = [
            t for t in tables if any(t[n] for n in ("insert", "update", "delete", "creates"))
        ]
        if changed and not into_env:
            context.log_event(
                dg.AssetObservation(
                    key,
                    description=f"Restored from {entry.id}.",
                    metadata=restore_metadata.of_table(document, changed),
                )
            )
    metadata.leave_result(context, document, shown)


def _by_asset(
    system: System, entry: Manifest, document: "Document"
) -> "dict[dg.AssetKey, list[Document]]":
    """The tables of a document by the assets that they belong to now."""
    roots = {t.qualified: t.partition_of or t.qualified for t in entry.tables}
    entry_of = modules.assign(system, set(roots.values())).entry_of()
    found: dict[dg.AssetKey, list[Document]] = {}
    for table in document["tables"]:
        owner = entry_of.get(roots.get(table["table"], ""))
        if owner is not None:
            found.setdefault(partitions.entry_key(system.system, owner), []).append(table)
    return found


def _about(document: "Document") -> Mapping[str, Any]:
    """What the audit trail says of a plan or a restore, beside what every operation has."""
    from backup_pipelines.restoring import restore_report

    return {
        "mode": document["mode"],
        "selection": document["selection"],
        "into": document["into"] or "live",
        "tables": len(document["tables"]),
        **restore_report.sums(document),
    }


def _named(
    context: dg.OpExecutionContext, store: Store, system: str, config: PlanConfig
) -> Manifest:
    """The backup, by the partition or the config; two different answers are none."""
    entry = chosen(context, store, system, config)
    refuse_two_names(context, config.backup, catalog.LATEST)
    return entry


def _selection(config: PlanConfig) -> Selection:
    return Selection(
        modules=tuple(config.modules),
        tables=tuple(config.tables),
        key=config.key or None,
        with_children=config.with_children,
    )


def _refuse_unsafe(config: LiveRestoreConfig) -> None:
    from backup_pipelines.dagster_layer import safety_backups

    safety_backups.refuse_skipping_without_reason(config)
    if config.into_env and not config.skip_safety:
        raise Refused(
            f"the database of {config.into_env} is not the one that backups are taken of, so there "
            "can be no safety backup of it: set skip_safety and a reason"
        )


@contextmanager
def _target(
    system: System, into_env: str, environment: BackupEnvironment
) -> Generator[str, None, None]:
    """The URL to restore by: of the system itself, or of the database that was named."""
    if not into_env:
        with environment.restore_url(system) as url:
            yield url
        return
    url = os.environ.get(into_env)
    if not url:
        raise Refused(f"{into_env} is not set where this run executes: give it the URL")
    yield url
