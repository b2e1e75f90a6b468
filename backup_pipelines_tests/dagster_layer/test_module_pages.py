"""The page of each module: what it offers, and what it shows after whatever changes that."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dagster as dg
import pytest
import yaml

from backup_pipelines import PostgresBackup, catalog
from backup_pipelines.dagster_layer import module_links, operations, partitions
from backup_pipelines.dagster_layer.metadata import backup_link
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.system import System
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_health_jobs import with_environment
from backup_pipelines_tests.dagster_layer.test_restore_jobs import lose_rows
from backup_pipelines_tests.fix_receivers import free_port

CONFIRM = {"confirm": "CONFIRM"}

# What the sample system has, by module.
LIVE = {"sales": 150, "stock": 3, "other": 0}


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool of the test's own, and nobody to be told."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def page(shop: Shop, module: str) -> dict[str, Any]:
    """What a module's page shows now."""
    found = shop.instance.fetch_observations(partitions.module_keys(SHOP)[module], limit=1).records
    if not found:
        return {}
    event = found[0].asset_observation
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def times(shop: Shop, module: str) -> int:
    """How often that was observed."""
    key = partitions.module_keys(SHOP)[module]
    return len(shop.instance.fetch_observations(key, limit=100).records)


def links(text: str) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Job, config and the other fields of each launchpad that a text leads to."""
    for address in re.findall(r"\]\(([^)]+)\)", text):
        parts = urlsplit(address)
        found = re.fullmatch(r"/guess/(\w+)/playground/setup", parts.path)
        assert found, address
        fields = dict(parse_qsl(parts.query, keep_blank_values=True))
        config = yaml.safe_load(fields.pop("config")) or {}
        yield found[1], config, fields


def described(shop: Shop, module: str) -> str:
    """The description of a module's page."""
    key = partitions.module_keys(SHOP)[module]
    [spec] = [spec for spec in shop.defs.resolve_all_asset_specs() if spec.key == key]
    return spec.description or ""


def test_each_module_has_a_page(shop: Shop) -> None:
    """In a group of their own, so that a module's group is its tables; what it is comes first."""
    nodes = {node.key: node for node in shop.defs.resolve_asset_graph().asset_nodes}
    pages = [nodes[dg.AssetKey(["shop", "modules", module])] for module in LIVE]
    assert {node.group_name for node in pages} == {"shop_modules"}
    assert all(node.is_observable and not node.is_materializable for node in pages)
    assert described(shop, "sales").startswith("What was sold. Tables: `orders`, `order_lines`.")
    assert "`stock.bin_*`" in described(shop, "stock")
    assert "no module names" in described(shop, "other")


@pytest.mark.parametrize("module", LIVE)
def test_every_launchpad_is_filled_in_but_for_the_confirmation(shop: Shop, module: str) -> None:
    """Each job is there and takes the config that the page fills in; CONFIRM is left to people."""
    found = list(links(described(shop, module)))
    assert [job.removeprefix("shop_") for job, _, _ in found] == [
        *("backup", "plan", "restore", "csv_export", "csv_template", "csv_plan", "csv_import"),
        "modules",
    ]
    for job, config, _ in found:
        definition = shop.defs.resolve_job_def(job)
        [fields] = [op["config"] for op in config.get("ops", {}).values()] or [{}]
        assert "confirm" not in fields
        destructive = job in {"shop_restore", "shop_csv_import"}
        if destructive:
            with pytest.raises(dg.DagsterInvalidConfigError, match="confirm"):
                dg.validate_run_config(definition, config)
            fields |= CONFIRM
        assert dg.validate_run_config(definition, config)
        if job not in {"shop_backup", "shop_modules"}:
            assert fields["modules"] == [module]
    text = described(shop, module)
    for command in ("backup", "csv export", "csv template", "csv import"):
        assert f"`backup-pipelines {command} shop --module {module}" in text
    assert f"`backup-pipelines restore shop latest --module {module} --confirm CONFIRM`" in text


def test_the_launchpad_of_a_backup_selects_the_tables_of_the_module(shop: Shop) -> None:
    """By the keys of their assets; a module with more than an address can name has its group."""
    [(_, config, fields)] = links(f"[x]({module_links.backup(SHOP, 'stock')})")
    path = "assetSelection[{}][assetKey][path][{}]"
    expected = [["shop", "stock", "items"], ["shop", "by_pattern", "stock"]]
    assert fields == {
        path.format(number, place): part
        for number, key in enumerate(expected)
        for place, part in enumerate(key)
    }
    result = shop.run("shop_backup", assets=["/".join(key) for key in expected])
    [entry] = catalog.backups(shop.store, "shop")
    assert result.success and (entry.scope, entry.module) == ("modules", "stock")
    assert config["ops"]["shop_backup_op"]["config"] == {"label": "", "reason": ""}
    many = System.model_validate(
        {**SHOP.model_dump(), "modules": {"wide": {"tables": [f"t{n}" for n in range(21)]}}}
    )
    assert module_links.backup(many, "wide") == ""
    assert "asset group `wide`, Materialize all" in module_links.about(many, "wide")


def test_a_schema_called_modules_collides_with_no_page() -> None:
    """A table's asset keeps its key; the page of the module has a longer one."""
    odd = System.model_validate(
        {
            "system": "shop",
            "database_url_env": "SHOP_DATABASE_URL",
            "modules": {"sales": {"tables": ["modules.sales"]}, "stock": {"tables": ["items"]}},
        }
    )
    keys = {name: key.to_user_string() for name, key in partitions.module_keys(odd).items()}
    assert keys["sales"] == "shop/modules/sales/module"
    assert keys["stock"] == "shop/modules/stock"
    defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(odd)),
        dg.Definitions(resources={"backup_environment": BackupEnvironment()}),
    )
    found = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {"shop/modules/sales", *keys.values()} <= found


def test_a_look_counts_the_live_records(shop: Shop) -> None:
    """The job, and a click on Observe, show what is there now; they are no operation of backup."""
    looked = shop.run("shop_modules")
    assert looked.success
    shown = {module: page(shop, module) for module in LIVE}
    assert {module: one["dagster/row_count"] for module, one in shown.items()} == LIVE
    assert {one["live_records_are"] for one in shown.values()} == {"counted"}
    assert {one["status"] for one in shown.values()} == {"no backup yet"}
    assert shown["stock"]["tables_count"] == 3
    records = [dict(record.data) for record in shown["sales"]["tables"].records]
    assert records == [
        {"table": "public.orders", "live_records": "100", "are": "counted"},
        {"table": "public.order_lines", "live_records": "50", "are": "counted"},
    ]
    shop.database.run("INSERT INTO stock.bin_a VALUES (9)")
    clicked = shop.run("shop_modules", assets=["shop/modules/stock"])
    assert clicked.success
    assert page(shop, "stock")["live_records"] == 4
    assert (times(shop, "stock"), times(shop, "sales")) == (2, 1)
    run = shop.instance.get_run_by_id(clicked.run_id)
    assert run is not None and not operations.is_of(run, SHOP)


def test_a_look_that_fails_says_why_and_is_no_backup_that_failed(shop: Shop) -> None:
    """With the database down the run fails with the reason; the pages stay as they were."""
    assert shop.run("shop_modules").success
    before = page(shop, "sales")
    with_environment(shop, database_url=f"postgresql://reader:hunter22@127.0.0.1:{free_port()}/x")
    failed = shop.run("shop_modules")
    message, _ = failure(failed)
    assert "live records are not counted" in message and "hunter22" not in message
    assert page(shop, "sales") == before
    since = datetime.now(UTC) - timedelta(hours=1)
    assert operations.unreported(shop.instance, SHOP, since) == []


def test_a_backup_shows_on_the_pages_of_its_modules(shop: Shop) -> None:
    """Id, type, time, rows and size of the newest whole one, and links that restore from it."""
    full = shop.backup()
    assert {module: page(shop, module)["last_backup"] for module in LIVE} == dict.fromkeys(
        LIVE, backup_link("shop", full)
    )
    sales = page(shop, "sales")
    entry = catalog.load(shop.store, "shop", full)
    expected = sum(t.size_bytes for t in entry.tables if t.module == "sales")
    assert (sales["dagster/row_count"], sales["last_backup_records"]) == (150, 150)
    assert sales["last_backup_bytes"] == sales["dagster/size_bytes"] == expected
    assert (sales["status"], sales["last_backup_type"]) == ("backed up", "manual")
    assert sales["last_backup_at"] == entry.created_at.timestamp()
    plan, restore = links(str(sales["restore_last_backup"]))
    assert (plan[0], restore[0]) == ("shop_plan", "shop_restore")
    config = restore[1]["ops"]["shop_restore_op"]["config"]
    assert config == {"backup": full, "modules": ["sales"], "mode": "replace", "reason": ""}
    # Longer ones the UI hides behind a click.
    assert len(sales["restore_last_backup"]) < 1000

    assert shop.run("shop_backup", assets=["shop/stock/items", "shop/by_pattern/stock"]).success
    assert page(shop, "stock")["last_backup_type"] == "module"
    assert page(shop, "sales")["last_backup"] == backup_link("shop", full)
    single = shop.run("shop_backup", assets=["shop/public/orders"])
    assert single.success and page(shop, "sales")["last_backup"] == backup_link("shop", full)


def test_a_restore_and_an_undo_show_on_the_pages_of_their_modules(shop: Shop) -> None:
    """When, from which backup, and how many records there are since; a look keeps that."""
    backup_id = shop.backup()
    lose_rows(shop)
    assert shop.run("shop_restore", {**CONFIRM, "modules": ["sales"]}, partition=backup_id).success
    sales = page(shop, "sales")
    link = backup_link("shop", backup_id)
    assert (sales["restored_from"], sales["live_records"]) == (link, 150)
    assert sales["last_backup"] == link
    assert times(shop, "stock") == 1
    assert shop.run("shop_undo", CONFIRM).success
    undone = page(shop, "sales")
    assert "-safety-" in undone["restored_from"]
    assert undone["live_records"] == 100 - 1 + 1 + 50 - 5 + 1
    assert shop.run("shop_modules").success
    assert page(shop, "sales") == undone
    assert shop.run("shop_plan", {"modules": ["stock"]}, partition=backup_id).success
    assert "restored_from" not in page(shop, "stock")


def test_a_look_at_the_health_keeps_the_pages_up_to_date(shop: Shop) -> None:
    """It counts, too, and shows what has changed; without the database all but the counts."""
    assert shop.run("shop_health").success
    assert (page(shop, "sales")["live_records"], times(shop, "sales")) == (150, 1)
    shop.database.run("DELETE FROM order_lines WHERE id = 1")
    assert shop.run("shop_health").success
    assert (page(shop, "sales")["live_records"], times(shop, "sales")) == (149, 2)
    assert times(shop, "stock") == 1
    backup_id = shop.backup()
    with_environment(shop, database_url=f"postgresql://reader@127.0.0.1:{free_port()}/shop")
    assert shop.run("shop_health").success
    blind: Mapping[str, Any] = page(shop, "sales")
    assert blind["last_backup"] == backup_link("shop", backup_id) and "live_records" not in blind
    assert str(blind["live_records_are"]).startswith("unknown")
