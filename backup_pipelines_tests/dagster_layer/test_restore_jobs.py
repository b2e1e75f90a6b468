"""Plan, restore and undo of the live database by Dagster."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
import psycopg
import pytest

from backup_pipelines import PostgresBackup, catalog
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.system import ExcludedSpec, ModuleSpec, System
from backup_pipelines_tests.dagster_layer.conftest import SHOP, FixedEnvironment, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure, materialized
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_receivers import free_port

CONFIRM = {"confirm": "CONFIRM"}


def rows(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    """What a query finds in the live database."""
    with psycopg.connect(shop.database.owner_url) as connection:
        return connection.execute(query.encode()).fetchall()


def content(shop: Shop) -> list[tuple[Any, ...]]:
    """All rows of the tables that these tests change."""
    return rows(
        shop,
        "SELECT 'orders', o::text FROM orders o"
        " UNION ALL SELECT 'lines', l::text FROM order_lines l ORDER BY 1, 2",
    )


def result_of(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """The document that the op left for the command line."""
    assert result.success
    [event] = [event for event in result.all_events if event.is_successful_output]
    found = event.step_output_data.metadata["result"]
    assert isinstance(found, dg.JsonMetadataValue)
    assert isinstance(found.data, dict)
    return found.data


def observations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetObservation]:
    """What a run observed, by asset."""
    found = [event for event in result.all_events if event.is_asset_observation]
    made = [event.asset_observation_data.asset_observation for event in found]
    return {observation.asset_key.to_user_string(): observation for observation in made}


def changed(document: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Rows inserted, updated and deleted, of the tables that change."""
    counts = {t["table"]: (t["insert"], t["update"], t["delete"]) for t in document["tables"]}
    return {table: count for table, count in counts.items() if any(count)}


def lose_rows(shop: Shop) -> None:
    """What somebody does on a bad day."""
    shop.database.run(
        "DELETE FROM order_lines WHERE id <= 5",
        "UPDATE orders SET note = 'wrong' WHERE id = 7",
        "INSERT INTO orders VALUES (101, now(), 'new')",
    )


def test_a_plan_shows_what_would_change_and_changes_nothing(shop: Shop) -> None:
    backup_id = shop.backup()
    lose_rows(shop)
    before = content(shop)
    ran = shop.run("shop_plan", partition=backup_id)
    document = result_of(ran)
    assert changed(document) == {"public.order_lines": (5, 0, 0), "public.orders": (0, 1, 1)}
    assert content(shop) == before
    seen = observations(ran)["shop/backups"]
    assert seen.partition == backup_id
    shown = {name: value.value for name, value in seen.metadata.items()}
    assert shown["plan_hash"] == document["hash"]
    assert (shown["rows_inserted"], shown["rows_updated"], shown["rows_deleted"]) == (5, 1, 1)
    assert "| public.orders | 0 | 1 | 1 | 99 | note (1) |" in str(shown["plan"])
    assert shop.keys("backups") == {backup_id}


def test_upsert_keeps_rows_created_since(shop: Shop) -> None:
    shop.backup()
    lose_rows(shop)
    document = result_of(shop.run("shop_restore", {"mode": "upsert", **CONFIRM}))
    assert changed(document) == {"public.order_lines": (5, 0, 0), "public.orders": (0, 1, 0)}
    assert rows(shop, "SELECT note FROM orders WHERE id = 101") == [("new",)]


def test_a_restore_is_proved_and_leaves_a_safety_backup_in_the_catalog(shop: Shop) -> None:
    backup_id = shop.backup()
    good = content(shop)
    lose_rows(shop)
    ran = shop.run("shop_restore", {"modules": ["sales"], "reason": "bad day", **CONFIRM})
    document = result_of(ran)
    assert content(shop) == good
    assert changed(document) == {"public.order_lines": (5, 0, 0), "public.orders": (0, 1, 1)}
    assert (document["backup"], document["mode"]) == (backup_id, "replace")
    assert (document["verified"], document["tables_verified"]) == (True, 2)
    entry = catalog.load(shop.store, "shop", document["safety_backup"])
    assert (entry.type, entry.tables_count, entry.run_id) == ("safety", 2, ran.run_id)
    assert (entry.label, entry.reason) == (f"before restore of {backup_id}", "bad day")
    assert shop.keys("backups") == shop.keys("restorable") == {backup_id, entry.id}
    assert shop.row(entry.id)["backup_type"] == "safety"


def test_a_restore_is_seen_on_its_tables_and_is_no_backup_of_them(shop: Shop) -> None:
    backup_id = shop.backup()
    lose_rows(shop)
    ran = shop.run("shop_restore", CONFIRM)
    assert materialized(ran) == {"shop/backups"}
    seen = observations(ran)
    pages = {"shop/modules/sales", "shop/modules/stock"}
    tables = {"shop/public/orders", "shop/public/order_lines"}
    assert set(seen) == {"shop/backups", *tables, *pages}
    assert seen["shop/backups"].partition == backup_id
    told = seen["shop/backups"].metadata["undo"].value
    assert told == "backup-pipelines undo shop --confirm CONFIRM"
    assert seen["shop/public/orders"].metadata["rows_updated"].value == 1


def test_undo_and_undo_of_the_undo(shop: Shop) -> None:
    shop.backup()
    good = content(shop)
    lose_rows(shop)
    bad = content(shop)
    assert shop.run("shop_restore", CONFIRM).success
    assert content(shop) == good
    assert result_of(shop.run("shop_undo", CONFIRM))["safety_backup"]
    assert content(shop) == bad
    assert shop.run("shop_undo", CONFIRM).success
    assert content(shop) == good


def test_undo_is_of_the_last_restore_that_was_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore that failed after its safety backup has changed nothing that could be undone."""
    shop.backup()
    lose_rows(shop)
    bad = content(shop)
    assert shop.run("shop_restore", CONFIRM).success
    with psycopg.connect(shop.database.owner_url) as busy:
        busy.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
        message, exit_code = failure(shop.run("shop_restore", {"lock_seconds": 0.2, **CONFIRM}))
    assert exit_code == 1, message
    assert shop.run("shop_undo", CONFIRM).success
    assert content(shop) == bad


def test_a_restore_that_found_nothing_to_do_is_not_undone(shop: Shop) -> None:
    """Who restores twice and then undoes means the restore that did something."""
    shop.backup()
    assert shop.run("shop_restore", CONFIRM).success
    message, exit_code = failure(shop.run("shop_undo", CONFIRM))
    assert "nothing to undo" in message
    assert exit_code == 2
    lose_rows(shop)
    bad = content(shop)
    assert shop.run("shop_restore", CONFIRM).success
    assert shop.run("shop_restore", CONFIRM).success
    assert shop.run("shop_undo", CONFIRM).success
    assert content(shop) == bad


def test_what_is_excluded_by_now_is_not_restored_without_a_safety_backup(shop: Shop) -> None:
    shop.backup()
    excluded = [ExcludedSpec(table="orders", reason="too big")]
    sales = ModuleSpec(tables=["order_lines"])
    changed = SHOP.model_copy(
        update={"modules": {**SHOP.modules, "sales": sales}, "excluded": excluded}
    )
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(changed)),
        dg.Definitions(resources=shop.defs.resources),
    )
    lose_rows(shop)
    before = content(shop)
    message, exit_code = failure(shop.run("shop_restore", CONFIRM))
    assert message.startswith("public.orders would be restored, but the YAML of shop excludes it")
    assert exit_code == 2
    assert content(shop) == before
    assert shop.run("shop_restore", {"modules": ["stock"], **CONFIRM}).success


def test_there_is_nothing_to_undo(shop: Shop) -> None:
    shop.backup()
    message, exit_code = failure(shop.run("shop_undo", CONFIRM))
    assert "no safety backup" in message
    assert exit_code == 2


def test_a_safety_backup_is_skipped_for_a_reason_only(shop: Shop) -> None:
    """The run says so, and an undo does not take an earlier restore back instead."""
    backup_id = shop.backup()
    lose_rows(shop)
    assert shop.run("shop_restore", CONFIRM).success
    lose_rows(shop)
    before = content(shop)
    message, exit_code = failure(shop.run("shop_restore", {"skip_safety": True, **CONFIRM}))
    assert message.startswith("skip_safety needs a reason")
    assert exit_code == 2
    assert content(shop) == before
    known = shop.keys("backups")
    config = {"backup": backup_id, "skip_safety": True, "reason": "no space", **CONFIRM}
    document = result_of(shop.run("shop_restore", config))
    assert document["safety_backup"] is None
    assert shop.keys("backups") == known
    message, exit_code = failure(shop.run("shop_undo", CONFIRM))
    assert "without a safety backup" in message
    assert exit_code == 2


def test_a_source_that_is_down_keeps_nobody_from_restoring(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The safety backup is then of the database that is written to, and undoes the restore."""
    shop.backup()
    good = content(shop)
    lose_rows(shop)
    lost = content(shop)

    @contextmanager
    def down(environment: FixedEnvironment, system: System) -> Generator[str]:
        del environment, system
        yield f"postgresql://nobody@127.0.0.1:{free_port()}/shop"

    monkeypatch.setattr(FixedEnvironment, "source_url", down)
    ran = shop.run("shop_restore", CONFIRM)
    assert content(shop) == good
    assert catalog.load(shop.store, "shop", result_of(ran)["safety_backup"]).type == "safety"
    assert shop.run("shop_undo", CONFIRM).success
    assert content(shop) == lost


def test_another_plan_is_refused(shop: Shop) -> None:
    """Nothing is changed and no safety backup taken when the data moved on since the plan."""
    shop.backup()
    lose_rows(shop)
    planned = result_of(shop.run("shop_plan"))["hash"]
    shop.database.run("DELETE FROM order_lines WHERE id = 6")
    before, known = content(shop), shop.keys("backups")
    message, exit_code = failure(shop.run("shop_restore", {"plan": planned, **CONFIRM}))
    assert planned in message
    assert exit_code == 2
    assert (content(shop), shop.keys("backups")) == (before, known)
    planned = result_of(shop.run("shop_plan"))["hash"]
    assert shop.run("shop_restore", {"plan": planned, **CONFIRM}).success


@pytest.mark.parametrize("job", ["shop_restore", "shop_undo"])
@pytest.mark.parametrize("confirm", [{}, {"confirm": "yes"}, {"confirm": "confirm"}])
def test_without_confirm_there_is_no_run(shop: Shop, job: str, confirm: dict[str, str]) -> None:
    """The launchpad refuses the config before a run exists."""
    with pytest.raises(dg.DagsterInvalidConfigError, match=r"CONFIRM"):
        shop.run(job, confirm)
    assert shop.instance.get_runs() == []


UNKNOWN = "20260115T020000Z-manual-9f3c1a"


@pytest.mark.parametrize("job", ["shop_plan", "shop_restore"])
def test_an_unknown_backup_is_refused(shop: Shop, job: str) -> None:
    """By config, or by a partition tag, which Dagster does not check."""
    shop.backup()
    before, known = content(shop), shop.keys("backups")
    config = {} if job == "shop_plan" else CONFIRM
    tagged = shop.run(job, config, tags={"dagster/partition": UNKNOWN})
    for result in (shop.run(job, {"backup": UNKNOWN, **config}), tagged):
        message, exit_code = failure(result)
        assert "has no backup" in message
        assert exit_code == 2
    assert (content(shop), shop.keys("backups")) == (before, known)


def test_a_backup_that_was_never_sealed_is_refused(shop: Shop) -> None:
    """It is a partition of the catalog, but it has no manifest."""
    shop.backup()
    shop.instance.add_dynamic_partitions("shop_backups", [UNKNOWN])
    message, exit_code = failure(shop.run("shop_restore", {"backup": UNKNOWN, **CONFIRM}))
    assert "has no backup" in message
    assert exit_code == 2


def test_partition_and_config_must_not_name_two_backups(shop: Shop) -> None:
    first, second = shop.backup(), shop.backup()
    config = {"backup": second, **CONFIRM}
    message, exit_code = failure(shop.run("shop_restore", config, partition=first))
    assert first in message
    assert second in message
    assert exit_code == 2
    assert shop.run("shop_restore", config, partition=second).success


@pytest.mark.parametrize("job", ["shop_restore", "shop_undo"])
def test_reexecution_is_refused(shop: Shop, job: str) -> None:
    """Its stored CONFIRM was typed for another moment."""
    shop.backup()
    lose_rows(shop)
    assert shop.run("shop_restore", CONFIRM).success
    before, known = content(shop), shop.keys("backups")
    assert "confirm it anew" in shop.reexecute(job, CONFIRM)
    assert (content(shop), shop.keys("backups")) == (before, known)


def test_unknown_module_is_refused(shop: Shop) -> None:
    shop.backup()
    message, exit_code = failure(shop.run("shop_restore", {"modules": ["salse"], **CONFIRM}))
    assert "salse" in message
    assert "sales" in message
    assert exit_code == 2


def test_rows_outside_the_selection_are_named_with_what_would_help(shop: Shop) -> None:
    shop.backup()
    shop.database.run("DELETE FROM order_lines WHERE of = 3", "DELETE FROM orders WHERE id = 3")
    before = content(shop)
    document = result_of(shop.run("shop_plan", {"tables": ["order_lines"]}))
    assert document["closure"] == ["public.orders"]
    config = {"tables": ["order_lines"], **CONFIRM}
    message, exit_code = failure(shop.run("shop_restore", config))
    assert "add to the selection: public.orders" in message
    assert exit_code == 2
    assert content(shop) == before
    assert shop.run("shop_restore", {"tables": ["order_lines", "orders"], **CONFIRM}).success


def test_one_record_with_what_hung_on_it(shop: Shop) -> None:
    shop.backup()
    good = content(shop)
    shop.database.run("DELETE FROM order_lines WHERE of = 3", "DELETE FROM orders WHERE id = 3")
    config = {"tables": ["orders"], "key": "3", "with_children": True, **CONFIRM}
    document = result_of(shop.run("shop_restore", config))
    assert changed(document) == {"public.order_lines": (1, 0, 0), "public.orders": (1, 0, 0)}
    assert content(shop) == good


def test_into_another_database_only_without_a_safety_backup(
    shop: Shop,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gets the differences; the live database and its undo know nothing of it."""
    shop.backup()
    target = make_database(server)
    monkeypatch.setenv("TARGET_URL", target.owner_url)
    config = {"into_env": "TARGET_URL", **CONFIRM}
    assert shop.run("shop_restore_into", config).success
    target.run("DELETE FROM order_lines")
    lose_rows(shop)
    before = content(shop)
    message, exit_code = failure(shop.run("shop_restore", config))
    assert "TARGET_URL is not the one that backups are taken of" in message
    assert exit_code == 2
    config |= {"skip_safety": True, "reason": "a copy"}
    ran = shop.run("shop_restore", config)
    assert changed(result_of(ran)) == {"public.order_lines": (50, 0, 0)}
    assert set(observations(ran)) == {"shop/backups"}
    assert content(shop) == before
    assert "no safety backup" in failure(shop.run("shop_undo", CONFIRM))[0]
