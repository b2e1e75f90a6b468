"""A dropped table by Dagster: the restore creates it, and its undo knows what that made."""

from backup_pipelines import catalog
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_restore_jobs import CONFIRM, content, result_of, rows

_IS_THERE = "SELECT to_regclass('public.order_lines') IS NOT NULL"


def test_a_dropped_table_is_created_and_its_creation_undone(shop: Shop) -> None:
    """The plan and the result say what is created; undo drops it, and undo again brings it back."""
    shop.backup()
    good = content(shop)
    shop.database.run("DROP TABLE order_lines CASCADE")
    selected = {"tables": ["public.order_lines"]}
    planned = result_of(shop.run("shop_plan", selected))
    [table] = planned["tables"]
    assert (table["creates"], table["insert"] > 0) == (True, True)
    assert "table public.order_lines" in planned["objects"]
    assert rows(shop, _IS_THERE) == [(False,)]

    done = result_of(shop.run("shop_restore", {**selected, "plan": planned["hash"], **CONFIRM}))
    assert content(shop) == good
    assert catalog.load(shop.store, "shop", done["safety_backup"]).tables == ()
    undone = result_of(shop.run("shop_undo", CONFIRM))
    assert (undone["dropped"], undone["verified"]) == (["public.order_lines"], True)
    assert rows(shop, _IS_THERE) == [(False,)]
    redone = result_of(shop.run("shop_undo", CONFIRM))
    assert redone["objects"] == planned["objects"]
    assert content(shop) == good
