"""What the pages of the catalog, a backup, the health and a plan offer: launchpads filled in."""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_pipelines.dagster_layer import backup_links, partitions
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_module_pages import CONFIRM, links
from backup_pipelines_tests.dagster_layer.test_restore_jobs import lose_rows

DESTRUCTIVE = {"shop_restore", "shop_restore_into", "shop_undo", "shop_delete"}

# What people must say themselves, but for CONFIRM.
LEFT_OUT = {"shop_acknowledge": {"reason": "looked"}, "shop_restore_into": {"into_env": "URL"}}


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool of the test's own, and nobody to be told."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def shown(shop: Shop, key: dg.AssetKey) -> dict[str, Any]:
    """The metadata of an asset's newest materialization."""
    event = shop.instance.get_latest_materialization_event(key)
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def described(shop: Shop, key: dg.AssetKey) -> str:
    """The description of an asset."""
    [spec] = [spec for spec in shop.defs.resolve_all_asset_specs() if spec.key == key]
    return spec.description or ""


def jobs_of(shop: Shop, text: str) -> dict[str, dict[str, Any]]:
    """The config of each launchpad of a text by its job, each tried with what was left out."""
    launchpads = "".join(re.findall(r"\[[^]]+\]\(/guess/[^)]+\)", text))
    found: dict[str, dict[str, Any]] = {}
    for job, config, _ in links(launchpads):
        [op] = config.get("ops", {}).values()
        fields = op["config"] or {}
        assert "confirm" not in fields
        found[job] = dict(fields)
        definition = shop.defs.resolve_job_def(job)
        if job in DESTRUCTIVE:
            with pytest.raises(dg.DagsterInvalidConfigError, match="confirm"):
                dg.validate_run_config(definition, config)
            fields |= CONFIRM
        op["config"] = fields | LEFT_OUT.get(job, {})
        assert dg.validate_run_config(definition, config)
    return found


def test_a_backup_offers_everything_that_can_be_done_with_it(shop: Shop) -> None:
    """Its id is filled in, CONFIRM never is, and no entry is so long that Dagster hides it."""
    backup_id = shop.backup()
    page = shown(shop, partitions.catalog_key("shop"))
    texts = [str(page[label]) for label in backup_links.LABELS]
    assert max(map(len, texts)) < 1000
    found = jobs_of(shop, "".join(texts))
    verbs = (
        *("plan", "restore", "restore_into", "verify", "drill", "query", "diff", "link"),
        *("csv_export", "pin", "unpin", "delete"),
    )
    assert found.keys() == {f"shop_{verb}" for verb in verbs}
    assert {config["backup"] for config in found.values()} == {backup_id}
    assert shop.run("shop_query", found["shop_query"]).success


def test_a_table_whose_name_needs_quotes_is_left_to_people() -> None:
    """No statement is filled in that would be a wrong one."""
    offered = backup_links.of_backup("shop", "id", 'od"d', [])["to_look_into"]
    assert "sql:+%22" not in offered and "Left+out:+sql" in offered


def test_the_catalog_and_the_health_offer_what_people_come_for(shop: Shop) -> None:
    """As links at the beginning of the description, which Dagster folds further down."""
    catalog = described(shop, partitions.catalog_key("shop"))
    found = jobs_of(shop, catalog)
    verbs = ("backup", "plan", "restore", "undo", "link", "prune")
    assert found.keys() == {f"shop_{verb}" for verb in verbs}
    assert found["shop_prune"]["dry_run"] is True
    health = described(shop, partitions.health_key("shop"))
    verbs = ("backup", "drill", "prune", "acknowledge")
    assert jobs_of(shop, health).keys() == {f"shop_{verb}" for verb in verbs}
    assert all(text.index("To do: ") < 400 for text in (catalog, health))


def test_a_plan_leads_to_its_restore_and_that_to_its_undo(shop: Shop) -> None:
    """With the plan's hash and selection; what would change nothing leads nowhere."""
    backup_id = shop.backup()
    assert shop.run("shop_plan", {"backup": backup_id}).success
    assert "restore as planned" not in newest_plan(shop)
    lose_rows(shop)
    assert shop.run("shop_plan", {"modules": ["sales"], "mode": "upsert"}).success
    config = jobs_of(shop, newest_plan(shop))["shop_restore"]
    assert re.fullmatch("[0-9a-f]{16}", config.pop("plan"))
    assert config == {"backup": backup_id, "modules": ["sales"], "mode": "upsert", "reason": ""}
    assert shop.run("shop_restore", {**config, **CONFIRM}).success
    assert jobs_of(shop, str(observed(shop)["take_back"])) == {"shop_undo": {"reason": ""}}


def test_the_health_tells_who_did_what(shop: Shop) -> None:
    """The newest operations with their runs; what was refused is told of once more, with why."""
    backup_id = shop.backup()
    refused = shop.run("shop_delete", {"backup": "20200101T000000Z-manual-000000", **CONFIRM})
    assert not refused.success
    assert shop.run("shop_health").success
    page = shown(shop, partitions.health_key("shop"))
    done, bad = str(page["who_did_what"]), str(page["refused_or_failed"])
    [line] = [line for line in done.splitlines() if "| backup |" in line]
    assert "| done |" in line and backup_id in line and "](/runs/" in line
    [line] = [line for line in bad.splitlines() if "| delete |" in line]
    assert f"(/runs/{refused.run_id})" in line and "20200101T000000Z" in line
    assert "| backup |" not in bad


def observed(shop: Shop) -> dict[str, Any]:
    """The metadata of the catalog's newest observation that tells of a plan."""
    key = partitions.catalog_key("shop")
    for record in shop.instance.fetch_observations(key, limit=10).records:
        event = record.asset_observation
        if event is not None and "plan" in event.metadata:
            return {name: value.value for name, value in event.metadata.items()}
    raise AssertionError("no plan was observed")


def newest_plan(shop: Shop) -> str:
    """The newest plan as it is shown."""
    return str(observed(shop)["plan"])
