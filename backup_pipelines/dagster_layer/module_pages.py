"""A page for each module: an asset that is only observed, as there is nothing to materialize.

Whatever changes what a page shows leaves an observation there. Nothing else fails when that does.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from backup_pipelines.dagster_layer import (
    gate,
    job_names,
    metadata,
    module_links,
    partitions,
)
from backup_pipelines.dagster_layer.op_jobs import asset_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Failed
from backup_pipelines.system import System

if TYPE_CHECKING:
    # What define_asset_job returns; Dagster does not export it.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from backup_pipelines.manifest import Manifest
    from backup_pipelines.module_cards import Card
    from backup_pipelines.postgres.row_counts import RowCount
    from backup_pipelines.storage.store import Store

Context = dg.OpExecutionContext | dg.AssetExecutionContext

_SHOWN_FOR = timedelta(hours=6)


def module_assets(system: System) -> dg.AssetsDefinition:
    """The page `<system>/modules/<module>` of each module, observed by one op."""
    name, keys = system.system, partitions.module_keys(system)

    @dg.multi_observable_source_asset(
        name=job_names.op_of(job_names.modules_job(name)),
        description=f"Count the live records of each module of {name}, and look for its backups.",
        specs=[
            dg.AssetSpec(
                key,
                group_name=partitions.modules_group(name),
                description=module_links.about(system, module),
                kinds={"postgres", "observability"},
                owners=system.owners,
                skippable=True,
            )
            for module, key in keys.items()
        ],
        can_subset=True,
    )
    def modules(
        context: dg.AssetExecutionContext, backup_environment: BackupEnvironment
    ) -> Iterator[dg.ObserveResult]:
        with metadata.as_failure():
            gate.allow(context, system, "modules", backup_environment)
            rows = _counted(system, backup_environment)
            for card in _cards(system, backup_environment.store(), rows):
                key, before = _page(context, system, card.module)
                if key in context.selected_asset_keys:
                    shown = _of_card(system, card, before)
                    yield dg.ObserveResult(asset_key=key, metadata=shown)

    return modules


def module_jobs(
    system: System, modules: dg.AssetsDefinition
) -> "list[UnresolvedAssetJobDefinition]":
    """The job that looks at all modules."""
    name = job_names.modules_job(system.system)
    return [asset_job(system, name, dg.AssetSelection.assets(modules))]


def observe(
    context: Context, system: System, store: "Store", rows: "Mapping[str, RowCount] | None"
) -> None:
    """Show how the modules are now; `rows` are those of the live tables, if they are known.

    What is shown already is not shown once more for some hours: there is a look after each run.
    """
    with _harmless(context):
        for card in _cards(system, store, rows):
            key, before = _page(context, system, card.module)
            event = dg.AssetObservation(key, metadata=_of_card(system, card, before))
            is_old = datetime.now(UTC) - before.at > _SHOWN_FOR
            if is_old or event.metadata != before.metadata:
                context.log_event(event)


def sealed(context: Context, system: System, entry: "Manifest") -> None:
    """Show a new backup on the pages of the modules that it holds whole."""
    from backup_pipelines import module_cards

    with _harmless(context):
        backups = module_cards.of_backup(entry)
        rows = module_cards.live_rows_of(entry)
        for card in module_cards.cards(system, backups, rows):
            if card.backup is not None:
                key, before = _page(context, system, card.module)
                said, shown = f"Backed up by {entry.id}.", _of_card(system, card, before)
                context.log_event(dg.AssetObservation(key, description=said, metadata=shown))


def restored(
    context: Context,
    system: System,
    environment: BackupEnvironment,
    entry: "Manifest",
    tables: Sequence[Mapping[str, Any]],
) -> None:
    """Show on the pages of the modules of the tables of a restore what there is by now."""
    from backup_pipelines.dagster_layer import module_metadata

    with _harmless(context):
        roots = {t.qualified: t.partition_of or t.qualified for t in entry.tables}
        names = {roots[t["table"]] for t in tables if t["table"] in roots}
        when = module_metadata.of_restore(system.system, entry.id, datetime.now(UTC))
        changed(context, system, environment, names, f"Restored from {entry.id}.", when)


def changed(
    context: Context,
    system: System,
    environment: BackupEnvironment,
    tables: Collection[str],
    said: str,
    more: metadata.Metadata | None = None,
) -> None:
    """Count again after live rows of these root tables were written, and show it with `more`."""
    from backup_pipelines import module_cards, modules
    from backup_pipelines.dagster_layer import module_metadata

    with _harmless(context):
        touched = {one.module for one in modules.assign(system, tables).entry_of().values()}
        for card in module_cards.cards(system, {}, _counted(system, environment)):
            if card.module in touched:
                key, before = _page(context, system, card.module)
                shown = {**before.metadata, **(more or {}), **module_metadata.of_live(card)}
                context.log_event(dg.AssetObservation(key, description=said, metadata=shown))


@dataclass(frozen=True)
class _Before:
    """What a page shows so far."""

    metadata: metadata.Metadata
    at: datetime


def _page(context: Context, system: System, module: str) -> tuple[dg.AssetKey, _Before]:
    key = partitions.module_keys(system)[module]
    found = context.instance.fetch_observations(key, limit=1).records
    event = found[0].asset_observation if found else None
    if event is None:
        return key, _Before({}, datetime.min.replace(tzinfo=UTC))
    return key, _Before(event.metadata, datetime.fromtimestamp(found[0].timestamp, UTC))


def _of_card(system: System, card: "Card", before: _Before) -> metadata.Metadata:
    from backup_pipelines.dagster_layer import module_metadata

    return module_metadata.of_card(system, card, before.metadata)


def _cards(
    system: System, store: "Store", rows: "Mapping[str, RowCount] | None"
) -> "Sequence[Card]":
    from backup_pipelines import module_cards

    return module_cards.cards(system, module_cards.last_backups(store, system), rows)


def _counted(system: System, environment: BackupEnvironment) -> "Mapping[str, RowCount]":
    from backup_pipelines.health.live_look import look_and_count

    with environment.source_url(system) as url:
        looked = look_and_count(system, url)
    if looked.rows is None:
        raise Failed(f"live records are not counted: {looked.finding.message}")
    return looked.rows


@contextmanager
def _harmless(context: Context) -> Generator[None, None, None]:
    """A page that is not up to date is a warning: what led here has been done."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        context.log.warning(f"the pages of the modules are not up to date: {said}")
