"""What the ops of an import and of its plan do: validate, call the core, show the result."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import modules
from backup_pipelines.dagster_layer import metadata, module_pages, operations, partitions
from backup_pipelines.dagster_layer.config_csv_import import CsvImportConfig, CsvPlanConfig
from backup_pipelines.dagster_layer.jobs import refuse_reexecution
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import sparse
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.csv.import_report import Document
    from backup_pipelines.csv.importing import Validated
    from backup_pipelines.restore import LiveRestored


def plan(
    system: System,
    context: dg.OpExecutionContext,
    config: CsvPlanConfig,
    environment: BackupEnvironment,
) -> None:
    """Validate files and show what their import would write; changes nothing."""
    from backup_pipelines.csv import import_report, importing
    from backup_pipelines.csv.incoming import asked_import
    from backup_pipelines.dagster_layer import import_metadata

    with operations.operation(
        context, system, "csv_plan", environment, reason=config.reason
    ) as work:
        work.details["source"] = config.source
        started, report = time.monotonic(), sparse(context.log.info)
        asked = asked_import(config.model_dump(mode="json"))
        with (
            environment.restore_url(system) as url,
            importing.validated(system, url, asked, report) as found,
        ):
            planned = importing.plan_import(found, url, report)
            written = _write_problems(config, found)
            document = import_report.planned_document(
                found, planned, written, time.monotonic() - started
            )
        work.plan_hash = document["hash"] or ""
        work.message = import_report.in_words(document)
        metadata.leave_result(context, document, import_metadata.of_plan(document))
    for warning in document["warnings"]:
        context.log.warning(warning)
    context.log.info(f"plan {document['hash']}: {import_report.in_words(document)}")


def import_files(
    system: System,
    context: dg.OpExecutionContext,
    config: CsvImportConfig,
    environment: BackupEnvironment,
) -> None:
    """Validate files and write their rows, after a safety backup, all or nothing."""
    with operations.operation(
        context, system, "csv_import", environment, reason=config.reason
    ) as work:
        refuse_reexecution(context.run)
        if config.skip_safety and not config.reason.strip():
            raise Refused("skip_safety needs a reason: say why there is to be no safety backup")
        work.plan_hash = config.plan
        work.details |= {"source": config.source, "skip_safety": config.skip_safety}
        document = _import(system, context, config, environment, work)
    for warning in document["warnings"]:
        context.log.warning(warning)


def _import(
    system: System,
    context: dg.OpExecutionContext,
    config: CsvImportConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> "Document":
    from backup_pipelines.csv import import_report, importing
    from backup_pipelines.csv.incoming import asked_import
    from backup_pipelines.dagster_layer import catalog_sync, import_metadata, safety_backups

    started, report = time.monotonic(), sparse(context.log.info)
    asked = asked_import(config.model_dump(mode="json"))
    catalog_sync.sync(context.instance, environment.store(), system.system)
    with (
        environment.restore_url(system) as url,
        importing.validated(system, url, asked, report) as found,
    ):
        if found.problems.count:
            written = _write_problems(config, found)
            document = import_report.planned_document(
                found, None, written, time.monotonic() - started
            )
            # The op fails, so that this is the one place where the run can show them.
            raise import_metadata.rejected(document)
        done = importing.import_files(
            found,
            url,
            plan_hash=config.plan,
            lock_seconds=config.lock_seconds,
            safety=_safety(system, context, config, environment, work),
            report=report,
        )
        document = import_report.imported_document(found, done, time.monotonic() - started)
    work.plan_hash, work.rows = done.plan.hash, done.plan.rows
    work.message = import_report.in_words(document)
    safety_backups.remember(context, environment, system.system, done)
    _show(system, context, done, document)
    tables = [table["table"] for table in document["tables"]]
    module_pages.changed(context, system, environment, tables, f"Imported {config.source}.")
    return document


def _safety(
    system: System,
    context: dg.OpExecutionContext,
    config: CsvImportConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> Callable[[frozenset[str]], Manifest] | None:
    from backup_pipelines.dagster_layer import safety_backups

    if config.skip_safety:
        context.log.warning(f"no safety backup is taken, there will be no undo: {config.reason}")
        return None
    label = f"before import of {Path(config.source).name}"
    return safety_backups.taker(
        system, context, environment, work, label=label, reason=config.reason
    )


def _write_problems(config: CsvPlanConfig, found: "Validated") -> Path | None:
    from backup_pipelines.csv import import_report

    wanted = Path(config.problems_to) if config.problems_to else None
    path = import_report.problems_path(Path(config.source), wanted)
    return import_report.write_problems(found, path)


def _show(
    system: System, context: dg.OpExecutionContext, done: "LiveRestored", document: "Document"
) -> None:
    """Tell the run, and the asset of each table that got rows, what was done."""
    from backup_pipelines.csv import import_report
    from backup_pipelines.dagster_layer import import_metadata, restore_metadata

    undo = restore_metadata.undo_of(system.system, document)
    shown = import_metadata.of_import(document, undo)
    entry_of = modules.assign(system, [t.table for t in done.plan.tables]).entry_of()
    for table in document["tables"]:
        owner = entry_of.get(table["table"])
        if owner is not None and (table["insert"] or table["update"]):
            context.log_event(
                dg.AssetObservation(
                    partitions.entry_key(system.system, owner),
                    description=f"Imported from {document['source']}.",
                    metadata=import_metadata.of_table(document, table),
                )
            )
    metadata.leave_result(context, document, shown)
    context.log.info(
        f"{document['source']} is imported, {done.verified} tables proved: "
        f"{import_report.in_words(document)}"
    )
