"""The jobs that read a backup: drill, verify, restore into an empty database."""

import uuid
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from backup_pipelines import catalog
from backup_pipelines.dagster_layer.jobs import refuse_reexecution
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Refused
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.dagster_layer.conftest import Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure, run_of
from backup_pipelines_tests.fix_postgres import Database, Server

CATALOG = dg.AssetKey(["shop", "backups"])


def damage(store: Store, backup_id: str) -> None:
    """Change one stored part of the orders."""
    entry = catalog.load(store, "shop", backup_id)
    [table] = [table for table in entry.tables if table.qualified == "public.orders"]
    part = Path(store.url.removeprefix("file://")) / table.parts[0].key
    assert part.is_file()
    part.write_bytes(part.read_bytes()[:-1] + b"!")


def evaluations(shop: Shop) -> list[dg.AssetCheckEvaluation]:
    """What the instance knows of the check `restorable`, newest first."""
    key = dg.AssetCheckKey(CATALOG, "restorable")
    records = shop.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    found: list[dg.AssetCheckEvaluation] = []
    for record in records:
        assert record.event is not None
        event = record.event.dagster_event
        assert event is not None
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found.append(event.asset_check_evaluation_data)
    return found


def test_drill_passes(shop: Shop) -> None:
    """The check on the catalog says what was restored and how long each module took."""
    backup_id = shop.backup()
    assert shop.run("shop_drill").success
    [evaluation] = evaluations(shop)
    assert evaluation.passed
    shown = {name: value.value for name, value in evaluation.metadata.items()}
    assert (shown["backup"], shown["tables"], shown["rows"]) == (backup_id, 5, 153)
    assert set(shown["seconds_by_module"]) == {"sales", "stock"}


def test_drill_of_a_damaged_backup_fails(shop: Shop) -> None:
    """Both the check and the run say so."""
    damage(shop.store, shop.backup())
    message, exit_code = failure(shop.run("shop_drill"))
    assert "public" in message
    assert exit_code == 1
    [evaluation] = evaluations(shop)
    assert not evaluation.passed
    assert evaluation.description == message


def test_drill_without_a_backup_is_refused(shop: Shop) -> None:
    """Nothing was tried, so the check says nothing."""
    message, exit_code = failure(shop.run("shop_drill"))
    assert "no full backup" in message
    assert exit_code == 2
    assert evaluations(shop) == []


def test_a_backup_does_not_drill(shop: Shop) -> None:
    """The check belongs to its own job; a backup runs none."""
    shop.backup()
    assert evaluations(shop) == []


def test_verify(shop: Shop) -> None:
    """An id, latest, or a partition chosen in the launchpad; damage fails the run."""
    first, second = shop.backup(), shop.backup()
    assert shop.run("shop_verify").success
    assert shop.run("shop_verify", {"backup": second}).success
    damage(shop.store, first)
    message, exit_code = failure(shop.run("shop_verify", partition=first))
    assert first in message
    assert exit_code == 1


def test_unknown_partition_is_refused(shop: Shop) -> None:
    """A run can be started with any partition tag; only a manifest makes it a backup."""
    shop.backup()
    result = shop.run("shop_verify", tags={"dagster/partition": "20260115T020000Z-manual-9f3c1a"})
    assert "has no backup" in failure(result)[0]


def test_restore_into_an_empty_database(
    shop: Shop,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows are there afterwards; a second time the database is not empty."""
    shop.backup()
    target = make_database(server)
    monkeypatch.setenv("TARGET_URL", target.owner_url)
    config = {"into_env": "TARGET_URL", "confirm": "CONFIRM"}
    assert shop.run("shop_restore_into", config).success
    with psycopg.connect(target.owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (100,)
    assert failure(shop.run("shop_restore_into", config))[1] == 2


def test_restore_needs_a_variable_that_is_set(shop: Shop) -> None:
    """The URL itself never is in the config, which Dagster stores in clear text."""
    shop.backup()
    config = {"into_env": "UNSET_URL", "confirm": "CONFIRM"}
    message, exit_code = failure(shop.run("shop_restore_into", config))
    assert message.startswith("UNSET_URL is not set")
    assert exit_code == 2


@pytest.mark.parametrize("confirm", [{}, {"confirm": "yes"}, {"confirm": "confirm"}])
def test_without_confirm_there_is_no_run(shop: Shop, confirm: dict[str, str]) -> None:
    """The launchpad refuses the config before a run exists."""
    with pytest.raises(dg.DagsterInvalidConfigError, match=r"CONFIRM"):
        shop.run("shop_restore_into", {"into_env": "TARGET_URL", **confirm})
    assert shop.instance.get_runs() == []


def test_reexecution_of_a_restore_is_refused() -> None:
    """Its stored CONFIRM was typed for another moment."""
    refuse_reexecution(run_of({}))
    with pytest.raises(Refused, match="confirm it anew"):
        refuse_reexecution(run_of({}, parent=str(uuid.uuid4())))
