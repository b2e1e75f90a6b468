"""Asset checks: are all tables in a module, and can the newest backup be restored."""

from collections.abc import Iterator, Sequence

import dagster as dg

from backup_pipelines import catalog
from backup_pipelines.dagster_layer import job_names, metadata, operations, partitions
from backup_pipelines.dagster_layer.config import BackupChoice
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Failed
from backup_pipelines.manifest import Table
from backup_pipelines.progress import sparse
from backup_pipelines.system import System


def coverage_spec(system: str) -> dg.AssetCheckSpec:
    """The check that every table is in a module; the backup op evaluates it."""
    return dg.AssetCheckSpec(
        partitions.COVERAGE,
        asset=partitions.other_key(system),
        description="Every table of the database is named by a module or excluded with a reason.",
    )


def coverage(system: str, others: Sequence[Table]) -> dg.AssetCheckResult:
    """A warning that names the tables of module `other`; they are backed up all the same."""
    names = sorted(table.qualified for table in others if table.partition_of is None)
    said = "Every table is in a module."
    if names:
        said = f"In no module (backed up all the same): {', '.join(names)}"
    return dg.AssetCheckResult(
        asset_key=partitions.other_key(system),
        check_name=partitions.COVERAGE,
        passed=not names,
        severity=dg.AssetCheckSeverity.WARN,
        description=said,
        metadata={"tables_count": len(names), **({"tables": ", ".join(names)} if names else {})},
    )


def drill_check(system: System) -> dg.AssetChecksDefinition:
    """The check that a backup can be restored: the drill itself, so Execute in the UI runs one."""
    name = system.system

    @dg.multi_asset_check(
        name=job_names.op_of(job_names.drill_job(name)),
        description="Restore a backup into a scratch database and compare every digest.",
        specs=[
            dg.AssetCheckSpec(
                partitions.RESTORABLE,
                asset=partitions.catalog_key(name),
                description="A drill restores a backup into a scratch database and compares every "
                "table by digest. It tells of the last drill, whose backup it names; after a newer "
                "backup the next look at the health says it again.",
            )
        ],
        pool=job_names.pool(name),
    )
    def drill(
        context: dg.AssetCheckExecutionContext,
        config: BackupChoice,
        backup_environment: BackupEnvironment,
    ) -> Iterator[dg.AssetCheckResult]:
        environment = backup_environment.at(system, config.store)
        with (
            metadata.as_failure(),
            operations.operation(context, system, "drill", environment) as work,
        ):
            yield from _drill(system, context, config, environment, work)

    return drill


def _drill(
    system: System,
    context: dg.AssetCheckExecutionContext,
    config: BackupChoice,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> Iterator[dg.AssetCheckResult]:
    from backup_pipelines.drill import run_drill

    store = environment.store()
    entry = catalog.find(store, system.system, config.backup)
    work.backup = entry.id
    try:
        with environment.drill_server_url(system) as url:
            result = run_drill(store, entry, url, report=sparse(context.log.info))
    except Failed as error:
        yield _restorable(system.system, False, str(error), {"backup": entry.id})
        # The check alone would leave the run green, and the command line would exit with 0.
        raise
    work.message = f"{result.tables} tables and {result.rows} rows are equal after a restore"
    if result.encrypted:
        work.message += "; the identity here opens it"
    work.details |= {"tables": result.tables, "rows_compared": result.rows}
    yield _restorable(
        system.system,
        True,
        f"{entry.id}: {work.message}.",
        {
            "backup": result.backup_id,
            "tables": result.tables,
            "rows": result.rows,
            "seconds": round(result.seconds, 3),
            "encrypted": dg.MetadataValue.bool(result.encrypted),
            "seconds_by_module": dg.MetadataValue.json(dict(result.seconds_by_module)),
            **({"skipped": ", ".join(result.skipped)} if result.skipped else {}),
            "record": store.uri(result.key),
        },
    )


def _restorable(
    system: str, passed: bool, said: str, shown: metadata.Metadata
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=partitions.catalog_key(system),
        check_name=partitions.RESTORABLE,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=said,
        metadata=shown,
    )
