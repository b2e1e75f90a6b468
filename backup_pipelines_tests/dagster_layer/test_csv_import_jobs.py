"""Importing CSV files by Dagster: the plan, the import, its refusal, and undo."""

from pathlib import Path

import dagster as dg

from backup_pipelines.dagster_layer.metadata import EXIT_CODE
from backup_pipelines_tests.csv_importing import write
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_restore_jobs import (
    CONFIRM,
    content,
    observations,
    result_of,
    rows,
)
from backup_pipelines_tests.dagster_layer.test_verify_jobs import records

_FINE = "id,placed,note\r\n1,2026-01-01 10:00:00+00,changed\r\n500,2026-01-02 10:00:00+00,\\N\r\n"


def test_a_plan_of_files_shows_what_an_import_would_write(shop: Shop, tmp_path: Path) -> None:
    """In the run's metadata and as its result; nothing is written."""
    before = content(shop)
    folder = write(tmp_path / "in", orders=_FINE)
    ran = shop.run("shop_csv_plan", {"source": str(folder), "mode": "upsert"})
    document = result_of(ran)
    [table] = document["tables"]
    assert (table["table"], table["insert"], table["update"]) == ("public.orders", 1, 1)
    [event] = [event for event in ran.all_events if event.is_successful_output]
    shown = event.step_output_data.metadata
    assert shown["plan_hash"].value == document["hash"]
    assert [r.data["file"] for r in shown["files"].value.records] == ["orders.csv"]
    assert content(shop) == before
    assert records(shop)[-1][:2] == ("csv_plan", "done")


def test_a_plan_of_files_with_problems_is_recorded_as_refused(shop: Shop, tmp_path: Path) -> None:
    """As `csv plan` does; the run itself has done what it was to do, and shows them."""
    folder = write(tmp_path / "in", orders="id,placed\r\nx,2026-01-01\r\n")
    ran = shop.run("shop_csv_plan", {"source": str(folder)})
    assert ran.success and result_of(ran)["problems"] > 0
    assert records(shop)[-1][:2] == ("csv_plan", "refused")


def test_an_import_is_done_shown_and_taken_back(shop: Shop, tmp_path: Path) -> None:
    """The table's asset has an observation of it; undo restores its safety backup."""
    before = content(shop)
    folder = write(tmp_path / "in", orders=_FINE)
    config = {"source": str(folder), "mode": "upsert", "reason": "ticket 5", **CONFIRM}
    ran = shop.run("shop_csv_import", config)
    document = result_of(ran)
    assert document["verified"] and document["safety_backup"] in shop.keys("backups")
    assert rows(shop, "SELECT note FROM orders WHERE id = 1") == [("changed",)]
    seen = observations(ran)["shop/public/orders"]
    assert (seen.metadata["rows_inserted"].value, seen.metadata["rows_updated"].value) == (1, 1)
    assert records(shop)[-1][:2] == ("csv_import", "done")
    assert shop.run("shop_undo", CONFIRM).success
    assert content(shop) == before


def test_a_refused_import_shows_its_problems(shop: Shop, tmp_path: Path) -> None:
    """The failed step has them as a table; all are in a file; nothing is written."""
    before = content(shop)
    folder = write(tmp_path / "in", orders="id,placed\r\nx,2026-01-01\r\n2,01/02/2026\r\n")
    ran = shop.run("shop_csv_import", {"source": str(folder), **CONFIRM})
    message, code = failure(ran)
    assert (code, "problems in 1 file" in message) == (2, True)
    [event] = [event for event in ran.all_events if event.is_step_failure]
    shown = event.step_failure_data.user_failure_data.metadata
    assert shown[EXIT_CODE].value == 2
    table = shown["first_problems"]
    assert isinstance(table, dg.TableMetadataValue)
    told = {(one.data["line"], one.data["column"]) for one in table.records}
    assert told >= {(2, "id"), (3, "placed")}
    assert (tmp_path / "in-problems.csv").is_file()
    assert content(shop) == before
    assert records(shop)[-1][:2] == ("csv_import", "refused")


def test_an_import_without_safety_backup_says_why_and_cannot_be_undone(
    shop: Shop, tmp_path: Path
) -> None:
    """Without a reason it is refused; with one undo says that there is nothing to undo by."""
    folder = write(tmp_path / "in", orders="id,placed\r\n600,2026-01-02 10:00:00+00\r\n")
    config = {"source": str(folder), "skip_safety": True, **CONFIRM}
    message, code = failure(shop.run("shop_csv_import", config))
    assert (code, "needs a reason" in message) == (2, True)
    assert shop.run("shop_csv_import", {**config, "reason": "a trial"}).success
    message, code = failure(shop.run("shop_undo", CONFIRM))
    assert (code, "without a safety backup" in message) == (2, True)
