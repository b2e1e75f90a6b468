"""The jobs about CSV files."""

from pathlib import Path

from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_verify_jobs import records


def test_a_module_is_exported(shop: Shop, tmp_path: Path) -> None:
    """From the live database or a backup, with the files in the run's metadata and the rows in the
    audit trail; what is refused is there too."""
    live, kept = tmp_path / "live", tmp_path / "kept"
    config = {"modules": ["sales"], "to": str(live), "reason": "ticket 4711"}
    ran = shop.run("shop_csv_export", config)
    assert ran.success
    [event] = [e for e in ran.all_events if e.is_successful_output]
    shown = event.step_output_data.metadata
    assert shown["rows"].value == 150
    files = {r.data["file"]: r.data["rows"] for r in shown["files"].value.records}
    assert files == {"order_lines.csv": 50, "orders.csv": 100}
    assert shown["result"].value["rows"] == 150
    [noted] = audit.records(shop.store, "shop", last=1)
    assert (noted.operation, noted.outcome, noted.rows) == ("csv_export", "done", 150)
    assert (noted.reason, noted.details["to"]) == ("ticket 4711", str(live))

    backup_id = shop.backup()
    tables = {"tables": ["orders"], "backup": "latest", "to": str(kept)}
    assert shop.run("shop_csv_export", tables).success
    assert records(shop)[-1] == ("csv_export", "done", backup_id)
    assert (kept / "orders.csv").read_bytes() == (live / "orders.csv").read_bytes()

    message, code = failure(shop.run("shop_csv_export", tables))
    assert (code, "has orders.csv already" in message) == (2, True)
    assert records(shop)[-1] == ("csv_export", "refused", backup_id)


def test_a_template_is_made(shop: Shop, tmp_path: Path) -> None:
    """The run shows each table's file and why one has no example row."""
    config = {"tables": ["stock.items"], "modules": ["sales"], "to": str(tmp_path)}
    ran = shop.run("shop_csv_template", config)
    assert ran.success
    [event] = [e for e in ran.all_events if e.is_successful_output]
    shown = {r.data["file"]: r.data for r in event.step_output_data.metadata["files"].value.records}
    assert shown["stock.items.csv"]["columns"] == 2
    assert {path.name for path in tmp_path.glob("*.csv")} == {*shown}
    assert (tmp_path / "columns" / "orders.csv").is_file()
    assert records(shop)[-1][:2] == ("csv_template", "done")
