"""The job that puts the backup of an archive into the store and the catalog."""

from pathlib import Path

import dagster as dg

from backup_pipelines import catalog
from backup_pipelines.dagster_layer import (
    catalog_sync,
    job_names,
    labels,
    lock_ops,
    metadata,
    operations,
    operators,
)
from backup_pipelines.dagster_layer.config import UploadConfig
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.progress import sparse
from backup_pipelines.system import System
from backup_pipelines.wording import count, size


def upload_jobs(system: System) -> list[dg.JobDefinition]:
    """The upload job of a system."""
    return [
        # In the pool, since a backup removes folders without a manifest as leftovers.
        configured_op_job(
            system,
            job_names.upload_job(system.system),
            _upload,
            UploadConfig,
        )
    ]


def _upload(
    system: System,
    context: dg.OpExecutionContext,
    config: UploadConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.copies.archive_upload import upload

    name = system.system
    with operations.operation(context, system, "upload", environment, reason=config.reason) as work:
        store = environment.store()
        work.details["file"] = config.file
        done = upload(
            store,
            name,
            Path(config.file),
            operator=operators.operator_of(context.run),
            report=sparse(context.log.info),
        )
        work.backup = done.entry.id
        work.message = (
            f"{done.objects:,} objects, {done.bytes:,} bytes are as written; "
            f"{done.kept:,} were there already"
        )
        lock_ops.lock_due(context, system, store, work)
        catalog_sync.sync(context.instance, store, name)
        counts = {"objects": done.objects, "bytes": done.bytes, "kept": done.kept}
        row = catalog.row(done.entry, catalog.states(store, name))
        shown = {
            labels.SUMMARY: f"{count(done.objects, 'object')} are in the store, {size(done.bytes)}",
            **metadata.named(done.entry.id),
            "objects": done.objects,
            "size_bytes": done.bytes,
            "objects_kept": done.kept,
        }
        metadata.leave_result(context, {**row, **counts}, shown)
        context.log.info(f"{done.entry.id}: {work.message}")
