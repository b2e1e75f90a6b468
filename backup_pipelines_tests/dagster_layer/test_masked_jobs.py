"""Masked copies by the jobs: the field `masked`, what a run shows, and the audit trail."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from backup_pipelines import PostgresBackup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.settings_masking import MaskingSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import SHOP, TABLES, FixedEnvironment, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.fix_masking import KEY
from backup_pipelines_tests.fix_postgres import Database, Server

MASKED = SHOP.model_copy(
    update={
        "masking": MaskingSpec.model_validate(
            {"tables": {"orders": {"id": "hash", "note": "hash"}, "order_lines": {"of": "hash"}}}
        )
    }
)


@pytest.fixture
def masked_shop(
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    """The sample system with rules, and the key."""
    monkeypatch.setenv("BACKUP_MASKING_KEY", KEY)
    database = make_database(server)
    database.run(TABLES)
    environment = FixedEnvironment(
        store_url=store.url,
        database_url=database.reader_url,
        owner_url=database.owner_url,
        server_url=server.url(),
    )
    defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(MASKED)),
        dg.Definitions(resources={"backup_environment": environment}),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(database, store, instance, defs)


def test_a_masked_copy(
    masked_shop: Shop,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked for by the field, not without it; the result and the trail have what was masked."""
    backup_id = masked_shop.backup()
    urls: dict[str, str] = {}
    for name, masked in (("MASKED_URL", True), ("PLAIN_URL", False)):
        urls[name] = make_database(server).admin_url
        monkeypatch.setenv(name, urls[name])
        config = {"into_env": name, "masked": masked, "confirm": "CONFIRM"}
        ran = masked_shop.run("shop_restore_into", config)
        assert ran.success
        [event] = [e for e in ran.all_events if e.is_successful_output]
        result = event.step_output_data.metadata["result"].value
        assert ("masked" in result) == masked
        [noted] = audit.records(masked_shop.store, "shop", last=1)
        assert noted.details.get("masked", False) is masked
        assert ("public.orders" in noted.digests_after) == (not masked)
        assert "stock.items" in noted.digests_after
        assert noted.backup == backup_id
    found: dict[str, list[tuple[object, ...]]] = {}
    for name, url in urls.items():
        with psycopg.connect(url) as connection:
            query = "SELECT l.id, l.price, o.note FROM order_lines l JOIN orders o ON l.of = o.id"
            found[name] = connection.execute(query).fetchall()
    plain, masked_rows = found["PLAIN_URL"], found["MASKED_URL"]
    assert sorted(row[:2] for row in plain) == sorted(row[:2] for row in masked_rows)
    assert {row[2] for row in plain} == {"x"}
    [(note,)] = {row[2:] for row in masked_rows}
    assert isinstance(note, str) and len(note) == 32


def test_masked_files(masked_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The field masks an export; without the key it is refused."""
    config = {"tables": ["orders"], "to": str(tmp_path / "out"), "masked": True}
    assert masked_shop.run("shop_csv_export", config).success
    [noted] = audit.records(masked_shop.store, "shop", last=1)
    assert (noted.details["masked"], noted.rows) == (True, 100)
    assert '"x"' not in (tmp_path / "out" / "orders.csv").read_text()
    monkeypatch.delenv("BACKUP_MASKING_KEY")
    message, code = failure(
        masked_shop.run("shop_csv_export", config | {"to": str(tmp_path / "b")})
    )
    assert (code, "BACKUP_MASKING_KEY is not set" in message) == (2, True)


def test_a_system_without_rules(shop: Shop, tmp_path: Path) -> None:
    """It is refused, not copied as it is."""
    config = {"tables": ["orders"], "to": str(tmp_path / "out"), "masked": True}
    message, code = failure(shop.run("shop_csv_export", config))
    assert (code, "shop has no rules for masked copies" in message) == (2, True)
    assert not (tmp_path / "out").exists()
