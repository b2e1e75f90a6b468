"""`history` and `diff` by Dagster: tables in the run, JSON for scripts, a file on request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from backup_pipelines.dagster_layer.config_timeline import DiffConfig, HistoryConfig
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_restore_jobs import result_of
from backup_pipelines_tests.dagster_layer.test_verify_jobs import records


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool of the test's own."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata that a run's page has."""
    assert result.success
    [event] = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def lines(table: Any) -> list[Mapping[str, Any]]:
    """The records of a table of metadata."""
    return [dict(record.data) for record in table.records]


def test_a_record_is_followed(shop: Shop) -> None:
    """Each version with what changed and the command that brings it back; the rest is refused."""
    first = shop.backup()
    shop.database.run("UPDATE orders SET note = 'y' WHERE id = 60")
    second = shop.backup()
    shop.database.run("DELETE FROM orders WHERE id = 60")
    third = shop.backup()
    ran = shop.run("shop_history", {"table": "orders", "key": ["60"]})
    found = lines(shown(ran)["versions"])
    assert [(v["backup"], v["what"], v["changes"]) for v in found] == [
        (first, "first seen", ""),
        (second, "changed", "note: x -> y"),
        (third, "gone", ""),
    ]
    command = f"backup-pipelines restore shop {first} --table public.orders --key 60"
    assert str(found[0]["restore"]).startswith(command)
    assert found[2]["restore"] == ""
    document = result_of(ran)
    assert (document["key"], document["backups"]) == ({"id": "60"}, 3)
    assert document["versions"][1]["changes"] == [{"column": "note", "old": "x", "new": "y"}]
    assert records(shop)[-1][:2] == ("history", "done")

    message, code = failure(shop.run("shop_history", {"table": "orders", "key": ["1000"]}))
    assert (code, "no" in message) == (2, True)
    assert records(shop)[-1][:2] == ("history", "refused")
    wrong = failure(shop.run("shop_history", {"table": "orders", "key": ["1", "2"]}))
    assert "give 1 values" in wrong[0] and wrong[1] == 2


def test_two_backups_are_compared(shop: Shop) -> None:
    """Counts and rows of each table that differs, by the partition or the config."""
    first = shop.backup()
    shop.database.run(
        "UPDATE orders SET note = 'a|b' WHERE id IN (7, 8, 9)",
        "INSERT INTO stock.bin_a VALUES (9)",
        "DELETE FROM order_lines WHERE id = 1",
    )
    second = shop.backup()
    ran = shop.run("shop_diff", {"other": second, "rows": 2}, partition=first)
    found = shown(ran)
    assert (found["first"], found["second"]) == (first, second)
    assert (found["rows_inserted"], found["rows_updated"], found["rows_deleted"]) == (1, 3, 1)
    assert found["summary"].startswith("1 inserted, 3 updated, 1 deleted, in ")
    tables = {one["table"]: one for one in lines(found["tables"])}
    assert set(tables) == {"public.orders", "public.order_lines", "stock.bin_a"}
    orders = tables["public.orders"]
    assert (orders["update"], orders["unchanged"]) == (3, 97)
    assert orders["changed_columns"] == "note (3)"
    # Of three rows that differ two were asked for.
    assert [(r["op"], r["key"], r["columns"]) for r in lines(found["changed_rows"])] == [
        ("delete", "1", "of: 1; price: 1.50"),
        ("update", "7", "note: x -> a|b"),
        ("update", "8", "note: x -> a|b"),
        ("insert", "9", ""),
    ]
    assert found["rows_not_shown"] == 1
    document = result_of(ran)
    assert document["truncated"] == ["public.orders"] and document["file"] is None
    assert len(document["rows"]) == 4
    assert records(shop)[-1] == ("diff", "done", first)
    same = shown(shop.run("shop_diff", {"backup": second, "other": "latest"}))
    assert same["summary"].startswith("no row differs") and lines(same["tables"]) == []


def test_a_backup_is_compared_with_the_live_tables(shop: Shop, tmp_path: Path) -> None:
    """Live is the default; all rows go to a new file, which is never replaced."""
    backup_id = shop.backup()
    shop.database.run("DELETE FROM order_lines", "UPDATE orders SET note = 'z'")
    file = tmp_path / "lost.parquet"
    ran = shop.run("shop_diff", {"tables": ["order_lines"], "rows": 0, "to": str(file)})
    found = shown(ran)
    assert (found["first"], found["second"]) == (backup_id, "live")
    assert (found["rows_deleted"], found["rows_updated"], found["rows_in_file"]) == (50, 0, 50)
    assert lines(found["changed_rows"]) == [] and found["rows_not_shown"] == 50
    assert result_of(ran)["file"] == found["file"] == str(file)
    counted = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(file)]).fetchall()
    assert counted == [(50,)]
    message, code = failure(shop.run("shop_diff", {"to": str(file)}))
    assert (code, "exists" in message) == (2, True)
    assert records(shop)[-1][:2] == ("diff", "refused")
    nothing = failure(shop.run("shop_diff", {"tables": ["nosuch"]}))
    assert nothing[1] == 2 and "public.nosuch" in nothing[0]


def test_what_is_too_much_for_the_run_is_left_out_of_its_json(shop: Shop) -> None:
    """Rows of megabytes are not put into Dagster's database; the JSON says that they are missing.

    The table of the run's page has them shortened.
    """
    backup_id = shop.backup()
    shop.database.run("UPDATE orders SET note = repeat('long ', 100000) WHERE id <= 3")
    ran = shop.run("shop_diff", {"backup": backup_id})
    document = result_of(ran)
    assert (document["rows"], document["left_out"]) == ([], "rows")
    assert document["tables"] and shown(ran)["rows_updated"] == 3
    cells = [str(row["columns"]) for row in lines(shown(ran)["changed_rows"])]
    assert len(cells) == 3 and all(cell.endswith("…") and len(cell) < 300 for cell in cells)


@pytest.mark.parametrize("model", [DiffConfig, HistoryConfig])
def test_every_config_field_is_described(model: type[dg.Config]) -> None:
    """The launchpad shows the description beside the field."""
    for name, field in model.model_fields.items():
        assert field.description, name
