"""The job that puts the backup of an archive into the store and the catalog."""

from pathlib import Path

import dagster as dg

from backup_pipelines import catalog, catalog_sync, metadata, operations, operators, partitions
from backup_pipelines.config import UploadConfig
from backup_pipelines.progress import sparse
from backup_pipelines.removal_ops import leave_result
from backup_pipelines.resources import BackupEnvironment
from backup_pipelines.system import System


def upload_jobs(system: System) -> list[dg.JobDefinition]:
    """The upload job of a system."""
    return [_upload_job(system)]


def _upload_job(system: System) -> dg.JobDefinition:
    name = partitions.upload_job(system.system)

    # In the pool, since a backup removes folders without a manifest as leftovers.
    @dg.op(name=partitions.op_of(name), out=dg.Out(dg.Nothing), pool=partitions.pool(system.system))
    def upload_op(
        context: dg.OpExecutionContext,
        config: UploadConfig,
        backup_environment: BackupEnvironment,
    ) -> None:
        with metadata.as_failure():
            _upload(system, context, config, backup_environment)

    @dg.job(
        name=name,
        description=f"Put the backup of an archive of {system.system} into the store and the "
        "catalog, after verifying it.",
        executor_def=dg.in_process_executor,
    )
    def upload_job() -> None:
        upload_op()

    return upload_job


def _upload(
    system: System,
    context: dg.OpExecutionContext,
    config: UploadConfig,
    environment: BackupEnvironment,
) -> None:
    from backup_pipelines.archive_upload import upload

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
        catalog_sync.sync(context.instance, store, name)
        counts = {"objects": done.objects, "bytes": done.bytes, "kept": done.kept}
        row = catalog.row(done.entry, catalog.states(store, name))
        leave_result(context, {**row, **counts}, {"backup": done.entry.id, **counts})
        context.log.info(f"{done.entry.id}: {work.message}")
