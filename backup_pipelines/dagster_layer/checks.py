"""Asset checks: are all tables in a module, and can the newest backup be restored."""

from collections.abc import Iterator, Sequence

import dagster as dg

from backup_pipelines import catalog, cluster
from backup_pipelines.dagster_layer import (
    gate,
    job_names,
    labels,
    metadata,
    operations,
    partitions,
)
from backup_pipelines.dagster_layer.config import BackupChoice, StoreChoice
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Failed
from backup_pipelines.health.finding import span
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
        description="Restores a backup into a scratch database, compares every table, and drops "
        "it; Execute runs one now. The live database is not touched.",
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
        with metadata.as_failure():
            gate.allow(context, system, "drill", environment)
            with operations.operation(context, system, "drill", environment) as work:
                yield from _drill(system, context, config, environment, work)

    return drill


def _drill(
    system: System,
    context: dg.AssetCheckExecutionContext,
    config: BackupChoice,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> Iterator[dg.AssetCheckResult]:
    from backup_pipelines.dagster_layer import proof
    from backup_pipelines.drill import run_drill
    from backup_pipelines.postgres import remote_readers

    store = environment.store()
    entry = catalog.find(store, system.system, config.backup)
    work.backup = entry.id
    try:
        variable, report = system.drill.server_url_env, sparse(context.log.info)
        with cluster.workers() as workers, environment.drill_server_url(system) as url:
            if workers is not None and variable:
                workers.refuse_unfit(remote_readers.problem, variable)
            result = run_drill(store, entry, url, report=report, workers=workers, variable=variable)
    except Failed as error:
        yield _restorable(system.system, False, str(error), metadata.named(entry.id))
        # The check alone would leave the run green, and the command line would exit with 0.
        raise
    work.message = f"{result.tables} tables and {result.rows} rows are equal after a restore"
    if result.encrypted:
        work.message += "; the identity here opens it"
    work.details |= {"tables": result.tables, "rows_compared": result.rows}
    if environment.which is StoreChoice.first:
        said = f"Restored by a drill in {span(result.seconds)}, and every row compared"
        proof.tell(context.op_execution_context, store, entry, said)
    yield _restorable(
        system.system,
        True,
        f"{entry.id}: {work.message}.",
        {
            labels.SUMMARY: f"restored in {span(result.seconds)}; {work.message}",
            **metadata.named(result.backup_id),
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
