"""Backups by Dagster: what the UI shows of them, and of those that fail."""

import uuid
from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from backup_pipelines import backup, catalog, layout
from backup_pipelines.dagster_layer import assets, catalog_sync, operators
from backup_pipelines.errors import Refused
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop

ENTRIES = {
    "shop/public/orders",
    "shop/public/order_lines",
    "shop/stock/items",
    "shop/by_pattern/stock",
    "shop/other",
    "shop/schema",
}


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    """The asset keys that a run materialized."""
    events = result.get_asset_materialization_events()
    return {key.to_user_string() for event in events if (key := event.asset_key)}


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, int]:
    """The message and exit code of a run that failed on purpose."""
    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    said = event.step_failure_data.user_failure_data
    assert said is not None
    assert said.description is not None
    return said.description, int(str(said.metadata["exit_code"].value))


def statuses(shop: Shop) -> tuple[set[str], set[str]]:
    """The materialized and the failed partitions of the catalog, as the UI computes them."""
    key = dg.AssetKey(["shop", "backups"])
    done = shop.instance.get_materialized_partitions(key)
    storage = shop.instance.event_log_storage
    tried = storage.get_latest_asset_partition_materialization_attempts_without_materializations(
        key
    )
    failed = {
        partition
        for partition, (run_id, _) in tried.items()
        if (run := shop.instance.get_run_by_id(run_id)) and run.is_failure
    }
    return done, failed


def test_materialize_all_is_a_full_backup(shop: Shop) -> None:
    """One run makes every asset and one row of the catalog, which says what the manifest says."""
    result = shop.run("shop_backup", {"label": "before the move", "reason": "move"})
    assert result.success
    assert materialized(result) == ENTRIES | {"shop/backups"}
    entry = catalog.find(shop.store, "shop", "latest")
    assert (entry.scope, entry.label, entry.reason) == ("full", "before the move", "move")
    assert entry.run_id == result.run_id
    assert shop.keys("backups") == shop.keys("restorable") == {entry.id}
    assert statuses(shop) == ({entry.id}, set())
    row = shop.row(entry.id)
    assert row["records_count"] == 153
    assert row["tables_count"] == 5
    assert row["backup_type"] == "manual"
    assert row["module"] == ""
    assert row["status"] == "completed"
    assert row["path"] == shop.store.uri(layout.backup_prefix("shop", entry.id))
    assert row["created_by"] == operators.UNKNOWN
    assert row["created_at"] == entry.created_at.timestamp()
    assert "| public.orders | sales | 100 |" in str(row["manifest"])
    assert row["digests"] == {table.qualified: table.digest for table in entry.tables}
    assert set(catalog.row(entry)) - {"type"} <= set(row)


def test_the_format_of_a_run_and_of_a_system(shop: Shop) -> None:
    """The launchpad's choice is this run's alone; a system's own is seen on its assets."""
    for config, ending in (({"format": "jsonl"}, ".jsonl.zst"), ({}, ".parquet")):
        assert shop.run("shop_backup", config).success
        entry = catalog.find(shop.store, "shop", "latest")
        keys = [part.key for table in entry.tables for part in table.parts]
        assert keys and all(key.endswith(ending) for key in keys)
    lines = SHOP.model_copy(update={"format": "jsonl"})
    for system, kind in ((SHOP, "parquet"), (lines, "json")):
        kinds = {spec.key.to_user_string(): spec.kinds for spec in assets.specs(system)}
        assert kinds["shop/public/orders"] == {"postgres", kind}
        assert assets.catalog_spec(system).kinds == {kind, "folder"}


def test_metadata_of_a_table(shop: Shop) -> None:
    """Numbers are numbers, so that the UI draws them; the columns are Dagster's own view."""
    result = shop.run("shop_backup")
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["shop", "public", "order_lines"])
    ]
    shown = event.materialization.metadata
    assert shown["dagster/row_count"].value == 50
    assert isinstance(shown["seconds"], dg.FloatMetadataValue)
    assert isinstance(shown["rows_per_second"], dg.FloatMetadataValue)
    assert isinstance(shown["size_bytes"], dg.IntMetadataValue)
    assert shown["parts"].value == 1
    columns = shown["dagster/column_schema"]
    assert isinstance(columns, dg.TableSchemaMetadataValue)
    assert [c.type for c in columns.schema.columns] == ["integer", "integer", "numeric(12,2)"]
    assert [c.constraints.nullable for c in columns.schema.columns] == [False, True, True]
    assert str(shown["dagster/uri"].value).startswith(shop.store.url)


def test_patterns_show_their_tables(shop: Shop) -> None:
    """An asset of several tables lists them."""
    result = shop.run("shop_backup", assets=["shop/by_pattern/stock"])
    assert materialized(result) == {"shop/by_pattern/stock", "shop/backups"}
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["shop", "by_pattern", "stock"])
    ]
    tables = event.materialization.metadata["tables"]
    assert isinstance(tables, dg.TableMetadataValue)
    assert [r.data["table"] for r in tables.records] == ["stock.bin_a", "stock.bin_b"]


def test_group_is_a_module_backup(shop: Shop) -> None:
    """The assets of one group make a backup of type module; nothing else is touched."""
    selected = ["shop/public/orders", "shop/public/order_lines"]
    result = shop.run("shop_backup", assets=selected)
    assert materialized(result) == {*selected, "shop/backups"}
    assert not result.get_asset_check_evaluations()
    [entry] = catalog.backups(shop.store, "shop")
    assert (entry.type, entry.scope, entry.module) == ("module", "modules", "sales")


def test_table_in_no_module_is_reported(shop: Shop) -> None:
    """It is backed up all the same, and the check on `other` warns with its name."""
    [before] = shop.run("shop_backup").get_asset_check_evaluations()
    shop.database.run("CREATE TABLE newcomer (id int)")
    result = shop.run("shop_backup")
    assert result.success
    [after] = result.get_asset_check_evaluations()
    assert (before.passed, after.passed) == (True, False)
    assert after.severity == dg.AssetCheckSeverity.WARN
    assert "public.newcomer" in (after.description or "")
    assert catalog.find(shop.store, "shop", "latest").tables_count == 6


def test_refused_backup_shows_as_failed(shop: Shop) -> None:
    """The catalog shows it, nothing offers it for a restore, and its message is the core's."""
    shop.database.run("DROP TABLE order_lines")
    message, exit_code = failure(shop.run("shop_backup"))
    assert "order_lines" in message
    assert exit_code == 2
    [failed] = shop.keys("backups")
    assert shop.keys("restorable") == set()
    assert statuses(shop) == (set(), {failed})
    assert catalog.backups(shop.store, "shop") == []


def test_schema_alone_is_refused(shop: Shop) -> None:
    """A backup without a table is none."""
    message, exit_code = failure(shop.run("shop_backup", assets=["shop/schema"]))
    assert "at least one table" in message
    assert exit_code == 2
    assert shop.keys("backups") == set()


def test_selected_but_not_made_fails_the_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster itself would leave such a run green."""
    real = backup.take_backup

    def forgetful(*args: object, **kwargs: object) -> Iterator[object]:
        make: Callable[..., Iterator[object]] = real
        for item in make(*args, **kwargs):
            if not (isinstance(item, backup.EntryDone) and item.entry.kind == "other"):
                yield item

    monkeypatch.setattr(backup, "take_backup", forgetful)
    message, exit_code = failure(shop.run("shop_backup"))
    assert message == "selected but not backed up: shop/other"
    assert exit_code == 1


def test_next_backup_puts_the_catalog_right(shop: Shop) -> None:
    """Partition keys that somebody deleted come back, and made-up ones are not offered."""
    first = shop.backup()
    shop.instance.delete_dynamic_partition("shop_backups", first)
    shop.instance.delete_dynamic_partition("shop_restorable", first)
    shop.instance.add_dynamic_partitions("shop_restorable", ["made-up"])
    second = shop.backup()
    assert shop.keys("backups") == shop.keys("restorable") == {first, second}


def test_backups_found_in_the_store(shop: Shop) -> None:
    """Another instance learns of every backup from the manifests, once."""
    backup_id = shop.backup()
    with dg.DagsterInstance.ephemeral() as other:
        found = catalog_sync.sync(other, shop.store, "shop")
        assert found.added == (backup_id,)
        assert catalog_sync.sync(other, shop.store, "shop").added == ()
        counts = other.get_materialized_partitions(dg.AssetKey(["shop", "backups"]))
        assert counts == {backup_id}


def run_of(tags: dict[str, str], parent: str | None = None) -> dg.DagsterRun:
    """A run with these tags."""
    return dg.DagsterRun("job", str(uuid.uuid4()), tags=tags, parent_run_id=parent,
                         root_run_id=parent)  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "operator", "kind"),
    [
        ({}, operators.UNKNOWN, "manual"),
        ({"backup_pipelines/operator": "ann"}, "ann", "manual"),
        ({"user": "bob@example.com"}, "bob@example.com", "manual"),
        ({"dagster/schedule_name": "nightly"}, "schedule", "scheduled"),
        ({"dagster/sensor_name": "due"}, "schedule", "scheduled"),
        ({"backup_pipelines/type": "scheduled"}, operators.UNKNOWN, "scheduled"),
        ({"backup_pipelines/type": "safety", "user": "ann"}, "ann", "safety"),
    ],
)
def test_operator_and_type(tags: dict[str, str], operator: str, kind: str) -> None:
    """Who and what a run is for is in its tags."""
    run = run_of(tags)
    assert operators.operator_of(run) == operator
    assert assets.backup_type(run, "full") == kind


def test_type_of_a_selection() -> None:
    """What is not everything is a module backup, and nobody can make up a type."""
    assert assets.backup_type(run_of({}), "modules") == "module"
    assert assets.backup_type(run_of({}), "tables") == "module"
    with pytest.raises(Refused, match="scheduled or safety"):
        assets.backup_type(run_of({"backup_pipelines/type": "manual"}), "full")


def test_reexecution_does_not_inherit_the_operator() -> None:
    """Re-execute copies the tags of a run that another person, or the schedule, started."""
    tags = {"backup_pipelines/operator": "ann", "backup_pipelines/type": "scheduled"}
    again = run_of({**tags, "dagster/schedule_name": "nightly"}, parent=str(uuid.uuid4()))
    assert operators.operator_of(again) == operators.UNKNOWN
    assert assets.backup_type(again, "full") == "manual"
