"""The job that answers a statement of SQL from backups, with a table as metadata of its run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from backup_pipelines.dagster_layer import job_names, labels, metadata, operations
from backup_pipelines.dagster_layer.config import QueryConfig
from backup_pipelines.dagster_layer.jobs import chosen
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.timeline.query import Row

# The event log keeps every table for good.
_CELL = 200


def query_jobs(system: System) -> list[dg.JobDefinition]:
    """The query job of a system."""
    return [
        # It only reads, and each object is checked, so it need not wait for the system's run.
        configured_op_job(
            system,
            job_names.query_job(system.system),
            _query,
            QueryConfig,
            of_backup=True,
            pooled=False,
        )
    ]


def _query(
    system: System,
    context: dg.OpExecutionContext,
    config: QueryConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.timeline.query import asked

    environment = environment.at(system, config.store)
    with operations.operation(context, system, "query", environment) as work:
        store = environment.store()
        entries = _entries(context, store, system, config)
        many = bool(config.as_of)
        if not many:
            work.backup = entries[0].id
        # One more than is shown tells whether there are more.
        with asked(store, entries, config.sql, many=many, limit=config.rows + 1) as answer:
            rows = list(answer.rows)
        more, rows = len(rows) > config.rows, rows[: config.rows]
        work.rows = len(rows)
        work.message = f"{len(rows)} rows of {', '.join(answer.tables) or 'no table'}"
    context.add_output_metadata(
        {
            labels.SUMMARY: work.message,
            **({"backups": len(entries)} if many else metadata.named(entries[0].id)),
            "rows": len(rows),
            "more_rows": dg.MetadataValue.bool(more),
            "answer": dg.MetadataValue.md(_table([name for name, _ in answer.columns], rows)),
        }
    )
    more_words = f"; there are more, raise rows ({config.rows})" if more else ""
    context.log.info(f"{work.message}{more_words}")


def _entries(
    context: dg.OpExecutionContext, store: Store, system: System, config: QueryConfig
) -> Sequence[Manifest]:
    from backup_pipelines.timeline import moments

    if not config.as_of:
        return [chosen(context, store, system.system, config)]
    if context.has_partition_key:
        raise Refused("as_of is about many backups: leave the partition or as_of out")
    return moments.chosen(store, system.system, config.as_of, context.log.warning)


def _table(names: Sequence[str], rows: "Sequence[Row]") -> str:
    lines = [list(map(_cell, names)), ["---"] * len(names)]
    lines += [[_cell("NULL" if value is None else value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = " ".join(str(value).split())
    text = text if len(text) <= _CELL else f"{text[:_CELL]}…"
    return metadata.cell(text)
