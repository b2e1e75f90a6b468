"""The assets of a system: one for each entry and the schema, made by one op, and the catalog."""

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines import cluster
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.dagster_layer import (
    backup_links,
    catalog_sync,
    checks,
    gate,
    glance,
    job_names,
    lock_ops,
    metadata,
    module_pages,
    operations,
    operators,
    partitions,
)
from backup_pipelines.dagster_layer.config import BackupConfig
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.environment import store_url
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.modules import Entry, Scope, scope_of
from backup_pipelines.progress import sparse
from backup_pipelines.storage import write_once
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.backup import BackupRequest, EntryDone, SchemaDone

TYPE_TAG = "backup_pipelines/type"
"""Run tag of a caller that is no person: `scheduled` or `safety`."""

# A run's tags carry the ids of its backups, so that people and the command line find them.
BACKUP_TAG_PREFIX = "backup_pipelines/backup_of_"

_Result = dg.MaterializeResult[Any] | dg.AssetCheckResult


def specs(system: System) -> list[dg.AssetSpec]:
    """What the op of a system can make."""
    made = [_entry_spec(system, key, e) for key, e in partitions.entry_keys(system).items()]
    schema = dg.AssetSpec(
        partitions.schema_key(system.system),
        group_name=partitions.catalog_group(system.system),
        description=f"Types, functions, tables, constraints, triggers, policies and grants of "
        f"{system.system}, by pg_dump in the snapshot of the tables.\n\nTwo files of SQL: "
        "pre-data runs before the rows are restored, post-data after them. It is part of every "
        "backup; alone it is none.",
        kinds={"postgres", "sql"},
        owners=system.owners,
        skippable=True,
    )
    return [*made, schema]


def catalog_spec(system: System) -> dg.AssetSpec:
    """The catalog: external, since its partitions are logged by the runs that make backups."""
    return dg.AssetSpec(
        partitions.catalog_key(system.system),
        group_name=partitions.catalog_group(system.system),
        description=_about_catalog(system.system),
        partitions_def=partitions.all_backups(system.system),
        kinds={_kind(system), "s3" if store_url().startswith("s3:") else "folder"},
        owners=system.owners,
    )


def backup_assets(system: System) -> dg.AssetsDefinition:
    """The one op that backs up whatever is selected, in one snapshot."""

    @dg.multi_asset(
        name=job_names.op_of(job_names.backup_job(system.system)),
        description=f"Backs up the selected tables of {system.system} and its schema in one "
        "snapshot, one asset for each table; the live database is only read.",
        specs=specs(system),
        check_specs=[checks.coverage_spec(system.system)],
        can_subset=True,
        pool=job_names.pool(system.system),
    )
    def backup(
        context: dg.AssetExecutionContext,
        config: BackupConfig,
        backup_environment: BackupEnvironment,
    ) -> Iterator[_Result]:
        with metadata.as_failure():
            yield from _back_up(system, context, config, backup_environment)

    return backup


def backup_type(run: dg.DagsterRun, scope: Scope) -> BackupType:
    """The type of a backup: what its caller says, else what was selected."""
    # A re-execution has the tags of its parent, but a person started it.
    said = run.tags.get(TYPE_TAG) if run.parent_run_id is None else None
    if said == "safety":
        return "safety"
    if said == "scheduled" or (said is None and operators.is_automatic(run)):
        return "scheduled"
    if said is not None:
        raise Refused(f"the run's tag {TYPE_TAG} is {said!r}; it can be scheduled or safety")
    return "manual" if scope == "full" else "module"


def take(
    context: dg.OpExecutionContext,
    request: "BackupRequest",
    environment: BackupEnvironment,
    work: operations.Operation,
) -> "Generator[tuple[dg.AssetKey, EntryDone | SchemaDone, metadata.Metadata]]":
    """Take a backup as part of a run, in the catalog from its start; gives the assets it makes."""
    from backup_pipelines.backup import take_backup

    work.backup = str(request.id)
    work.details["type"] = request.type
    store = environment.store()
    report = sparse(context.log.info)
    # A cluster that is away is said before the catalog has a row.
    with cluster.workers() as workers:
        _begin(context, request, store)
        with (
            environment.source_url(request.system) as url,
            closing(take_backup(request, url, store, executor=workers, report=report)) as items,
        ):
            for item in items:
                if isinstance(item, Manifest):
                    glanced = glance.sealed(context, request.system, store)
                    _seal(context, item, {**glanced, **metadata.of_backup(item, store)})
                    _note(work, item)
                    module_pages.sealed(context, request.system, item)
                    lock_ops.lock_due(context, request.system, store, work)
                    if store.is_write_once is False:
                        context.log.warning(write_once.NOT_ENFORCED)
                    continue
                key = _key(item, request.system.system)
                if key is not None:
                    yield key, item, _shown(item, request, store)


def _back_up(
    system: System,
    context: dg.AssetExecutionContext,
    config: BackupConfig,
    environment: BackupEnvironment,
) -> Iterator[_Result]:
    gate.allow(context, system, "backup", environment, config.reason)
    with operations.operation(context, system, "backup", environment, reason=config.reason) as work:
        yield from _selected(system, context, config, environment, work)


def _selected(
    system: System,
    context: dg.AssetExecutionContext,
    config: BackupConfig,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> Iterator[_Result]:
    from backup_pipelines.backup import EntryDone

    selected, checked = set(context.selected_asset_keys), bool(context.selected_asset_check_keys)
    request = _request(system, context, config)
    made: set[dg.AssetKey] = set()
    with closing(take(context.op_execution_context, request, environment, work)) as items:
        for key, item, shown in items:
            if key not in selected:
                continue
            made.add(key)
            yield dg.MaterializeResult(asset_key=key, metadata=shown)
            if isinstance(item, EntryDone) and item.entry.kind == "other" and checked:
                yield checks.coverage(system.system, item.tables)
    # With can_subset Dagster would leave the run green.
    if selected - made:
        missing = ", ".join(sorted(key.to_user_string() for key in selected - made))
        raise Failed(f"selected but not backed up: {missing}")


def _request(
    system: System, context: dg.AssetExecutionContext, config: BackupConfig
) -> "BackupRequest":
    from backup_pipelines.backup import BackupRequest

    selected = set(context.selected_asset_keys)
    known = partitions.entry_keys(system)
    selection = frozenset(entry for key, entry in known.items() if key in selected)
    if not selection:
        raise Refused("select at least one table: the schema alone is no backup")
    kind = backup_type(context.run, scope_of(system, selection)[0])
    return BackupRequest(
        system=system,
        id=BackupId.new(kind, datetime.now(UTC)),
        type=kind,
        created_by=operators.operator_of(context.run),
        selection=selection,
        label=config.label,
        reason=config.reason,
        run_id=context.run.run_id,
        format=config.format.value if config.format else None,
        full_copy=config.full_copy,
        max_connections=config.max_connections,
        throttle=config.throttle,
    )


def _begin(context: dg.OpExecutionContext, request: "BackupRequest", store: Store) -> None:
    name, backup_id = request.system.system, str(request.id)
    lock_ops.prepare(context, request.system, store)
    catalog_sync.sync(context.instance, store, name)
    catalog_sync.start(context, name, backup_id)
    context.instance.add_run_tags(request.run_id, {BACKUP_TAG_PREFIX + name: backup_id})
    context.log.info(f"backup {backup_id} of {name}")


def _key(item: "EntryDone | SchemaDone", system: str) -> dg.AssetKey | None:
    from backup_pipelines.backup import SchemaDone

    if isinstance(item, SchemaDone):
        return partitions.schema_key(system)
    # A table that the YAML names and the database lacks has not been produced.
    absent = item.entry.kind == "table" and not item.tables
    return None if absent else partitions.entry_key(system, item.entry)


def _shown(
    item: "EntryDone | SchemaDone", request: "BackupRequest", store: Store
) -> metadata.Metadata:
    from backup_pipelines.backup import SchemaDone

    system, backup_id = request.system.system, str(request.id)
    if isinstance(item, SchemaDone):
        return metadata.of_ddl(item.sections, backup_id, system, store)
    return metadata.of_tables(item.tables, backup_id, system, store)


def _seal(context: dg.OpExecutionContext, entry: Manifest, shown: metadata.Metadata) -> None:
    for warning in entry.warnings:
        context.log.warning(warning)
    catalog_sync.seal(context, entry.system, entry.id, shown)
    context.log.info(
        f"backup {entry.id} is whole: {entry.tables_count} tables, {entry.records_count:,} rows, "
        f"{entry.size_bytes:,} bytes, {entry.seconds:.1f} s"
    )


def _note(work: operations.Operation, entry: Manifest) -> None:
    """What the audit trail says of a backup."""
    work.rows = entry.records_count
    work.details |= {
        "scope": entry.scope,
        "modules": list(entry.modules),
        "tables": entry.tables_count,
        "size_bytes": entry.size_bytes,
        "label": entry.label,
    }
    work.message = (
        f"{entry.tables_count} tables, {entry.records_count:,} rows, {entry.size_bytes:,} bytes"
    )


def _about_catalog(system: str) -> str:
    return (
        f"Every backup of {system}, one partition each: choose one under Partitions to see "
        "whether it is good, how long its restore takes, and what is in it. `at_a_glance` below is "
        "as of the newest backup; how it is now is on "
        f"[the page of the health](/assets/{system}/health).\n\n"
        f"{backup_links.about_catalog(system)}\n\nA backup is made by "
        "materializing tables (all of them, a group, or any "
        f"selection) or by the job `{job_names.backup_job(system)}`, so there is nothing to "
        "materialize here. What can be done with one is on its page, as links."
    )


def _entry_spec(system: System, key: dg.AssetKey, entry: Entry) -> dg.AssetSpec:
    module = system.modules.get(entry.module)
    about = {
        "table": f"Rows of `{entry.name}`, as of the newest backup that has it.",
        "patterns": f"Tables that the patterns of module {entry.module} find, as of the newest "
        "backup that has them.",
        "other": "Tables that no module names: backed up all the same, and reported. Name them in "
        f"a module of `defs/{system.system}/defs.yaml`, or exclude them with a reason.",
    }[entry.kind]
    about += (
        " Materialize takes a backup of it, with all that is selected, in one snapshot; the live "
        f"table is only read. All backups: [{system.system}/backups]"
        f"(/assets/{system.system}/backups)."
    )
    if module is not None and module.description:
        # First, since lists show only the beginning, beside the table's name.
        about = f"Module {entry.module}: {module.description}\n\n{about}"
    return dg.AssetSpec(
        key,
        group_name=partitions.group(system.system, entry.module),
        description=about,
        kinds={"postgres", _kind(system)},
        owners=system.owners,
        skippable=True,
    )


def _kind(system: System) -> str:
    """What the UI says that rows are kept as; it has a picture for these words."""
    return "json" if system.format == "jsonl" else "parquet"
