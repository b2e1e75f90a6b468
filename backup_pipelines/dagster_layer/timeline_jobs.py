"""The jobs that tell what became of one record, and of all: `history` and `diff` in the UI."""

import json
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines.dagster_layer import job_names, labels, metadata, operations
from backup_pipelines.dagster_layer.config_timeline import DiffConfig, HistoryConfig
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.health.finding import span
from backup_pipelines.progress import sparse
from backup_pipelines.system import System
from backup_pipelines.wording import count, counts, moment

if TYPE_CHECKING:
    from backup_pipelines.timeline.differences import Differences
    from backup_pipelines.timeline.history import History
    from backup_pipelines.timeline.reports import Rows

# The event log keeps every table for good, and the page draws all of it.
_CELL = 200
_LINES = 500
_DOCUMENT = 1_000_000


def timeline_jobs(system: System) -> list[dg.JobDefinition]:
    """The jobs `history` and `diff` of a system; they only read, so they wait for no other run."""
    return [
        configured_op_job(
            system,
            job_names.history_job(system.system),
            _history,
            HistoryConfig,
            pooled=False,
        ),
        configured_op_job(
            system,
            job_names.diff_job(system.system),
            _diff,
            DiffConfig,
            of_backup=True,
            pooled=False,
        ),
    ]


def _history(
    system: System,
    context: dg.OpExecutionContext,
    config: HistoryConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.timeline import history as core
    from backup_pipelines.timeline import moments, reports

    environment = environment.at(system, config.store)
    with operations.operation(context, system, "history", environment) as work:
        store = environment.store()
        entries = moments.completed(store, system.system, context.log.warning)
        report = sparse(context.log.info)
        found = core.history(store, entries, config.table, config.key, report)
        versions = count(len(found.versions), "version")
        work.message = f"{versions} of a record of {found.table}"
    document = reports.history_document(system.system, config.store.value, found)
    shown: dict[str, metadata.Value] = {
        labels.SUMMARY: work.message,
        "table": found.table,
        "key": ", ".join(found.key.values()),
        "backups": found.backups,
        "versions": _versions(found, document["versions"]),
    }
    metadata.leave_result(context, _bounded(context, document, "versions"), shown)
    context.log.info(work.message)


def _diff(
    system: System,
    context: dg.OpExecutionContext,
    config: DiffConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.timeline import difference_file, reports

    environment = environment.at(system, config.store)
    started, file = time.monotonic(), Path(config.to) if config.to else None

    @contextmanager
    def live() -> Generator[tuple[System, str]]:
        with environment.source_url(system) as url:
            yield system, url

    with operations.operation(context, system, "diff", environment) as work:
        if file is not None:
            work.details["to"] = config.to
            difference_file.refuse_existing(file)
        named = context.partition_key if context.has_partition_key else config.backup
        report, tables = sparse(context.log.info), config.tables
        with reports.compared(
            environment.store(), system.system, named, config.other, tables, live, report
        ) as (first, second, found):
            work.backup = first.name
            shown = reports.some_rows(found, config.rows)
            written = difference_file.write(found, file) if file is not None else None
            document = reports.diff_document(system.system, first, second, found, shown)
        work.message = f"until {second.name}: {reports.in_words(found)}"
    document["file"] = str(file.absolute()) if file is not None else None
    document["seconds"] = round(time.monotonic() - started, 3)
    values = _differences(document, found, shown)
    if written is not None:
        values |= {"file": str(document["file"]), "rows_in_file": written}
    metadata.leave_result(context, _bounded(context, document, "rows"), values)
    context.log.info(f"{first.name} {work.message}")


def _differences(
    document: Mapping[str, Any], found: "Differences", shown: "Rows"
) -> dict[str, metadata.Value]:
    from backup_pipelines.dagster_layer.restore_metadata import rows as rows_of
    from backup_pipelines.timeline import reports

    changed = [table for table in found.tables if not table.is_nothing]
    tables = [
        {
            "table": table.table,
            **{name: vars(table)[name] for name in reports.COUNTS},
            "changed_columns": counts(table.changed_columns),
            "notes": "\n".join(table.notes),
        }
        for table in found.tables
        if not table.is_nothing or table.notes
    ]
    rows = [
        {
            "table": row.table,
            "op": row.op,
            "key": ", ".join(map(reports.value, row.key.values())),
            "columns": _cell(reports.of_row(row)),
        }
        for table in changed
        for row in shown.get(table.table, ())
    ]
    sums = {name: sum(vars(t)[name] for t in found.tables) for name in reports.COUNTS}
    counted = {"table": "string", **dict.fromkeys(reports.COUNTS, "int")}
    return {
        labels.SUMMARY: f"{reports.in_words(found)}, in {span(document['seconds'])}",
        **metadata.named(document["first"], "first"),
        **metadata.named(document["second"], "second"),
        **rows_of(sums),
        "tables_unchanged": len(found.tables) - len(changed),
        "not_compared": ", ".join(found.not_compared) or "none",
        "seconds": document["seconds"],
        "tables": metadata.table(
            tables[:_LINES], {**counted, "changed_columns": "string", "notes": "string"}
        ),
        "rows_not_shown": sum(reports.left(table, shown) for table in changed),
        "changed_rows": metadata.table(
            rows[:_LINES], dict.fromkeys(("table", "op", "key", "columns"), "string")
        ),
    }


def _versions(found: "History", documents: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    from backup_pipelines.timeline import reports

    rows = [
        {
            "backup": version.backup_id,
            "at": moment(version.at, seconds=True),
            "what": reports.EVENTS[version.event],
            "changes": _cell(
                "; ".join(
                    f"{c.column}: {reports.value(c.old)} -> {reports.value(c.new)}"
                    for c in version.changes
                )
            ),
            "restore": document["restore"] or "",
        }
        for version, document in zip(found.versions, documents, strict=True)
    ]
    names = ("backup", "at", "what", "changes", "restore")
    return metadata.table(rows[:_LINES], dict.fromkeys(names, "string"))


def _bounded(
    context: dg.OpExecutionContext, document: Mapping[str, Any], longest: str
) -> Mapping[str, Any]:
    """The document, without its longest list where that is too much for Dagster's database."""
    if len(json.dumps(document)) <= _DOCUMENT:
        return document
    context.log.warning(
        f"{longest} are too much to be kept in the run: they are not in its JSON. The command line "
        "prints all of them"
    )
    return {**document, longest: [], "left_out": longest}


def _cell(text: str) -> str:
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"
