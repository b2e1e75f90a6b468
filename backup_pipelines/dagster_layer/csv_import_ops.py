"""What the ops of an import and of its plan do: validate, call the core, show the result."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines import modules
from backup_pipelines.dagster_layer import (
    job_names,
    metadata,
    module_pages,
    operations,
    partitions,
)
from backup_pipelines.dagster_layer.config_csv_import import CsvImportConfig, CsvPlanConfig
from backup_pipelines.dagster_layer.jobs import refuse_reexecution
from backup_pipelines.dagster_layer.labels import SUMMARY
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.progress import sparse
from backup_pipelines.system import System
from backup_pipelines.wording import count

if TYPE_CHECKING:
    from backup_pipelines.csv.import_report import Document
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
    from backup_pipelines.dagster_layer import import_metadata, restore_metadata

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
            document = import_report.planned(found, url, config.problems_to, started, report)
        work.plan_hash = document["hash"] or ""
        work.outcome = "refused" if import_report.stands_against(document) else "done"
        work.message = import_report.in_words(document)
        asked_for = config.model_dump(mode="json", exclude_defaults=True)
        job = job_names.csv_import_job(system.system)
        do_it = restore_metadata.do_it(job, asked_for, document, "import as planned")
        shown = import_metadata.of_plan(document)
        if do_it:
            shown = {SUMMARY: shown[SUMMARY], "do_it": dg.MetadataValue.md(do_it), **shown}
        metadata.leave_result(context, document, shown)
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
    from backup_pipelines.dagster_layer import safety_backups

    with operations.operation(
        context, system, "csv_import", environment, reason=config.reason
    ) as work:
        refuse_reexecution(context.run)
        safety_backups.refuse_skipping_without_reason(config)
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
            document = import_report.planned(found, url, config.problems_to, started, report)
            # The op fails, so that this is the one place where the run can show them.
            raise import_metadata.rejected(document)
        label = f"before import of {Path(config.source).name}"
        done = importing.import_files(
            found,
            url,
            plan_hash=config.plan,
            lock_seconds=config.lock_seconds,
            safety=safety_backups.taker_unless_skipped(
                system, context, environment, work, config, label=label
            ),
            report=report,
        )
        # Before anything that could go wrong: an undo would take back what was done before this.
        safety_backups.remember(context, environment, system.system, done)
        document = import_report.imported_document(found, done, time.monotonic() - started)
    work.plan_hash, work.rows = done.plan.hash, done.plan.rows
    work.message = import_report.in_words(document)
    _show(system, context, done, document)
    tables = [table["table"] for table in document["tables"]]
    module_pages.changed(context, system, environment, tables, f"Imported {config.source}.")
    return document


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
        f"{document['source']} is imported, {count(done.verified, 'table')} proved: "
        f"{import_report.in_words(document)}"
    )
