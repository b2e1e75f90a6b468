"""The jobs that write tables as CSV files, and empty ones for an import."""

from pathlib import Path

import dagster as dg

from backup_pipelines import catalog
from backup_pipelines.dagster_layer import job_names, labels, metadata, operations
from backup_pipelines.dagster_layer.config import CsvExportConfig, CsvTables, CsvTemplateConfig
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.progress import sparse
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.system import System
from backup_pipelines.wording import size

# More would be slow to show; the JSON of the run's output has all.
_LINES = 500


def csv_jobs(system: System) -> list[dg.JobDefinition]:
    """The jobs of a system about CSV files; they only read, so they wait for no other run."""
    return [
        configured_op_job(
            system,
            job_names.csv_export_job(system.system),
            _export,
            CsvExportConfig,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.csv_template_job(system.system),
            _template,
            CsvTemplateConfig,
            pooled=False,
        ),
    ]


def _export(
    system: System,
    context: dg.OpExecutionContext,
    config: CsvExportConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.csv import export as csv_export
    from backup_pipelines.csv import tables as csv_tables
    from backup_pipelines.masking import policy

    name = system.system
    environment = environment.at(system, config.store)
    with operations.operation(
        context, system, "csv_export", environment, reason=config.reason
    ) as work:
        work.details["to"] = config.to
        to = Path(config.to)
        work.details |= {"masked": True} if config.masked else {}
        asked = csv_export.Asked(
            _selection(config),
            to,
            zipped=config.zipped,
            bom=config.bom,
            masking=policy.spec_of(system) if config.masked else None,
        )
        report = sparse(context.log.info)
        csv_tables.refuse_live_second(config.backup, config.store.value)
        if config.backup:
            store = environment.store()
            entry = catalog.find(store, name, config.backup)
            work.backup = entry.id
            done = csv_export.export_backup(store, entry, asked, report=report)
        else:
            with environment.source_url(system) as url:
                done = csv_export.export_live(system, url, asked, report=report)
        work.message, work.rows = done.in_words, done.note.rows
    for warning in done.warnings:
        context.log.warning(warning)
    files = [
        {"file": one.file, "table": one.table, "rows": one.rows, "size": size(one.size_bytes)}
        for one in done.note.files
    ]
    shown: dict[str, metadata.Value] = {
        labels.SUMMARY: done.in_words,
        "to": str(done.to),
        "source": metadata.listed([done.note.backup or "the live database"]),
        "snapshot_at": dg.MetadataValue.timestamp(done.note.snapshot_at),
        "rows": done.note.rows,
        "files": metadata.table(
            files[:_LINES],
            {"file": "string", "table": "string", "rows": "int", "size": "string"},
        ),
    }
    metadata.leave_result(context, done.document(), shown)
    context.log.info(done.in_words)


def _template(
    system: System,
    context: dg.OpExecutionContext,
    config: CsvTemplateConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.csv import template as csv_template

    with operations.operation(
        context, system, "csv_template", environment, reason=config.reason
    ) as work:
        work.details["to"] = config.to
        with environment.source_url(system) as url:
            done = csv_template.make_template(
                system,
                url,
                _selection(config),
                Path(config.to),
                xlsx=config.xlsx,
                report=sparse(context.log.info),
            )
        work.message = done.in_words
    tables = [
        {"file": one.file, "table": one.table, "columns": one.columns, "example": one.no_example}
        for one in done.tables
    ]
    kinds = {"file": "string", "table": "string", "columns": "int", "example": "string"}
    shown: dict[str, metadata.Value] = {
        labels.SUMMARY: done.in_words,
        "to": str(done.to),
        "files": metadata.table(tables[:_LINES], kinds),
    }
    metadata.leave_result(context, done.document(), shown)
    context.log.info(done.in_words)


def _selection(config: CsvTables) -> Selection:
    return Selection(tuple(config.modules), tuple(config.tables))
