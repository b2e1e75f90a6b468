"""Prune, delete, pin, unpin, reconcile and acknowledge by Dagster."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from backup_pipelines import PostgresBackup, catalog, layout, state_log
from backup_pipelines.retention import pins, removal
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import SHOP, FixedEnvironment, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_restore_jobs import result_of
from backup_pipelines_tests.tiny_backups import Keeping

KEPT = 2
CONFIRM = {"confirm": "CONFIRM"}
CATALOG = dg.AssetKey(["shop", "backups"])


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """The sample system, which keeps its last two backups."""
    shop.defs = of_system((shop.defs.resources or {})["backup_environment"])
    return shop


def observed(shop: Shop, backup_id: str | None = None) -> Mapping[str, Any]:
    """What the newest observation of the catalog says of a backup, or of the catalog itself."""
    found = shop.instance.fetch_observations(CATALOG, limit=99).records
    events = [one.event_log_entry.dagster_event for one in found]
    made = [e.asset_observation_data.asset_observation for e in events if e is not None]
    newest = next(one for one in made if one.partition == backup_id)
    return {name: value.value for name, value in newest.metadata.items()}


def stored(shop: Shop, backup_id: str) -> list[str]:
    """Keys in the folder of a backup."""
    return [found.key for found in shop.store.objects(layout.backup_prefix("shop", backup_id))]


class KeepingEnvironment(FixedEnvironment):
    """The test's own, whose store refuses to remove some objects."""

    kept: list[str]

    def store(self) -> Store:
        return Keeping(self.store_url, self.kept)


def refusing(shop: Shop, kept: list[str]) -> dg.Definitions:
    """The system's definitions over a store that keeps these objects."""
    plain = (shop.defs.resources or {})["backup_environment"]
    assert isinstance(plain, FixedEnvironment)
    environment = KeepingEnvironment(
        store_url=plain.store_url,
        database_url=plain.database_url,
        owner_url=plain.owner_url,
        server_url=plain.server_url,
        kept=kept,
    )
    return of_system(environment)


def of_system(environment: FixedEnvironment) -> dg.Definitions:
    """The definitions of the sample system, which keeps its last two backups."""
    keeps = SHOP.model_copy(update={"retention": RetentionSpec(keep_last=KEPT, floor=1)})
    return dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(keeps)),
        dg.Definitions(resources={"backup_environment": environment}),
    )


def last_record(shop: Shop) -> audit.Record:
    """The newest record of the audit trail."""
    head = audit.newest(shop.store, "shop")
    data = shop.store.get(layout.audit_key("shop", head.sequence))
    return audit.Record.model_validate_json(data)


def test_a_prune_removes_what_retention_does_not_keep(shop: Shop) -> None:
    """Objects, catalog and drop-down; the event log keeps the reason, the assets their history."""
    ids = [shop.backup() for _ in range(4)]
    assert shop.run("shop_pin", {"backup": ids[0], "reason": "audit of 2026"}).success
    assert observed(shop, ids[0])["pinned"] is True
    ran = shop.run("shop_prune", {"reason": "weekly"})
    document = result_of(ran)
    assert [one["backup"] for one in document["removed"]] == [ids[1]]
    assert (document["kept"], document["refused"], document["frozen"]) == (3, [], [])
    assert stored(shop, ids[1]) == []
    assert shop.keys("backups") == shop.keys("restorable") == {ids[0], ids[2], ids[3]}
    told = observed(shop, ids[1])
    assert (told["status"], told["reason"]) == ("removed", "weekly")
    assert "older than the newest 2" in told["why"]
    shown = observed(shop)["verdicts"].records
    verdicts = {row.data["backup"]: row.data["verdict"] for row in shown}
    assert verdicts == dict.fromkeys(ids, "keep") | {ids[1]: "remove"}
    # What is materialized is history: nothing is wiped.
    assert ids[1] in shop.instance.get_materialized_partitions(CATALOG)
    again = result_of(shop.run("shop_prune"))
    assert (again["removed"], again["kept"]) == ([], 3)
    record = last_record(shop)
    assert (record.operation, record.outcome) == ("prune", "done")


def test_a_dry_run_removes_nothing(shop: Shop) -> None:
    """It shows what would go and why, and is no prune in the audit trail."""
    ids = [shop.backup() for _ in range(3)]
    before = {found.key for found in shop.store.objects("shop/backups/")}
    ran = shop.run("shop_prune", {"dry_run": True})
    document = result_of(ran)
    assert document["remove"] == [ids[0]]
    assert document["bytes"] > 0
    assert {found.key for found in shop.store.objects("shop/backups/")} == before
    assert shop.keys("backups") == set(ids)
    assert not shop.instance.fetch_observations(CATALOG, limit=1).records
    assert last_record(shop).operation == "prune_plan"


def test_a_frozen_prune_goes_on_once_it_is_acknowledged(shop: Shop) -> None:
    """It looks at the guards itself: the newest backup may be of a database that lost rows."""
    ids = [shop.backup() for _ in range(2)]
    shop.database.run("DELETE FROM order_lines; DELETE FROM orders WHERE id > 10")
    ids.append(shop.backup())
    message, exit_code = failure(shop.run("shop_acknowledge", {"reason": " "}))
    assert (exit_code, "needs a reason" in message) == (2, True)
    document = result_of(shop.run("shop_prune"))
    assert document["removed"] == []
    assert [one["guard"] for one in document["frozen"]] == ["shrink"]
    assert shop.keys("restorable") == set(ids)
    ran = shop.run("shop_acknowledge", {"reason": "the move to the archive"})
    assert result_of(ran)["guards"] == ["shrink"]
    assert [one["backup"] for one in result_of(shop.run("shop_prune"))["removed"]] == [ids[0]]


def test_a_removal_that_was_cut_short_is_finished(shop: Shop) -> None:
    """By the next prune; if only the catalog had not heard of it, by the next backup."""
    first, second, *_ = [shop.backup() for _ in range(3)]
    begun = {key: 1 for key in stored(shop, first)}
    state_log.append(
        shop.store, "shop", "removals", first, catalog.STARTED,
        {"operator": "ada", "reason": "", "why": "too old", "objects": begun},
    )  # fmt: skip
    shop.store.delete([layout.manifest_key("shop", first)])
    ran = shop.run("shop_prune")
    assert [one["backup"] for one in result_of(ran)["removed"]] == [first]
    assert stored(shop, first) == []
    assert first not in shop.keys("backups") | shop.keys("restorable")
    assert observed(shop, first)["why"] == "too old"
    removal.remove(
        shop.store, "shop", second, operator="ada", reason="", why="by a test", report=print
    )
    assert second in shop.keys("restorable")
    shop.backup()
    assert second not in shop.keys("backups") | shop.keys("restorable")


def test_what_the_store_refuses_to_remove_stays_in_the_catalog(shop: Shop) -> None:
    """The run fails and says so, on the backup's partition too; later it goes."""
    ids = [shop.backup() for _ in range(3)]
    locked = layout.manifest_key("shop", ids[0])
    permissive, shop.defs = shop.defs, refusing(shop, [locked])
    ran = shop.run("shop_prune")
    message, exit_code = failure(ran)
    assert (exit_code, f"{ids[0]}: " in message, "AccessDenied" in message) == (1, True, True)
    assert observed(shop, ids[0])["status"] == "not removed"
    assert shop.keys("backups") == shop.keys("restorable") == set(ids)
    message, exit_code = failure(shop.run("shop_delete", {"backup": ids[0], **CONFIRM}))
    assert (exit_code, "AccessDenied" in message) == (1, True)
    assert shop.keys("restorable") == set(ids)
    record = last_record(shop)
    assert (record.operation, record.outcome, record.backup) == ("delete", "failed", ids[0])
    part = next(key for key in stored(shop, ids[0]) if key.endswith(".parquet"))
    shop.defs = refusing(shop, [part])
    assert failure(shop.run("shop_prune"))[1] == 1
    assert stored(shop, ids[0]) == [part]
    # What is left is no backup, and no disagreement: somebody knows of it.
    assert (shop.keys("backups"), shop.keys("restorable")) == (set(ids), set(ids[1:]))
    assert result_of(shop.run("shop_reconcile"))["agrees"] is True
    shop.defs = permissive
    assert [one["backup"] for one in result_of(shop.run("shop_prune"))["removed"]] == [ids[0]]
    assert shop.keys("backups") == set(ids[1:])


def test_delete_takes_the_partition_or_an_id(shop: Shop) -> None:
    """And nothing else: not the latest, not two at once, not a pinned one, not the last one."""
    first, second, third = (shop.backup() for _ in range(3))
    for config, partition, said in [
        ({}, None, "name the backup"),
        ({"backup": "latest"}, None, "give the id"),
        ({"backup": first}, second, "which?"),
        ({"backup": "20260115T020000Z-manual-9f3c1a"}, None, "has no backup"),
        ({"backup": "../x"}, None, "not a backup id"),
    ]:
        message, exit_code = failure(
            shop.run("shop_delete", {**config, **CONFIRM}, partition=partition)
        )
        assert (exit_code, said in message) == (2, True), message
    assert shop.run("shop_pin", partition=first).success
    assert "is pinned" in failure(shop.run("shop_delete", CONFIRM, partition=first))[0]
    assert shop.keys("restorable") == {first, second, third}
    assert shop.run("shop_unpin", partition=first).success
    assert shop.run("shop_delete", {"reason": "test data", **CONFIRM}, partition=first).success
    ran = shop.run("shop_delete", {"backup": second, **CONFIRM})
    assert result_of(ran)["backup"] == second
    assert shop.keys("backups") == shop.keys("restorable") == {third}
    assert stored(shop, first) == stored(shop, second) == []
    assert "last good full" in failure(shop.run("shop_delete", CONFIRM, partition=third))[0]
    with pytest.raises(dg.DagsterInvalidConfigError, match="confirm"):
        shop.run("shop_delete", {"backup": third})


def test_pins_are_shown_and_kept(shop: Shop) -> None:
    """On the backup's partition, by whom and why; what is pinned or not is refused again."""
    backup_id = shop.backup()
    tags = {"backup_pipelines/operator": "ada"}
    shop.run("shop_pin", {"backup": "latest", "reason": "before the move"}, tags=tags)
    shown = observed(shop, backup_id)
    assert shown == {"pinned": True, "operator": "ada", "reason": "before the move"}
    assert pins.pinned(shop.store, "shop") == {backup_id}
    assert failure(shop.run("shop_pin", {"backup": backup_id}))[1] == 2
    assert shop.run("shop_unpin", {"backup": backup_id}).success
    assert observed(shop, backup_id)["pinned"] is False
    assert pins.pinned(shop.store, "shop") == set()
    assert failure(shop.run("shop_unpin", {"backup": backup_id}))[1] == 2


def test_reconcile_reports_both_directions_and_repairs_on_request(shop: Shop) -> None:
    """Orphans, lost objects, backups that only one side knows; a failed one is no disagreement."""
    lost, unknown, missing = (shop.backup() for _ in range(3))
    shop.instance.add_dynamic_partitions("shop_backups", ["20260115T020000Z-manual-9f3c1a"])
    assert result_of(shop.run("shop_reconcile"))["agrees"] is True
    shop.store.put_new(layout.backup_prefix("shop", lost) + "stray", b"12")
    gone = next(key for key in stored(shop, lost) if "orders" in key)
    shop.store.delete([gone])
    for name in ("shop_backups", "shop_restorable"):
        shop.instance.delete_dynamic_partition(name, unknown)
    shop.store.delete_folder(layout.backup_prefix("shop", missing))
    before = (shop.keys("backups"), stored(shop, lost))
    ran = shop.run("shop_reconcile")
    document = result_of(ran)
    assert document["orphans"] == [
        {"key": layout.backup_prefix("shop", lost) + "stray", "size_bytes": 2}
    ]
    assert list(document["lost"]) == document["marked_damaged"] == [lost]
    assert document["unknown_to_catalog"] == [unknown]
    assert document["missing_from_store"] == [missing]
    assert document["repaired"] is None
    assert (shop.keys("backups"), stored(shop, lost)) == before
    assert catalog.states(shop.store, "shop").damaged.keys() == {lost}
    assert observed(shop)["agrees"] is False
    message, exit_code = failure(shop.run("shop_reconcile", {"repair": True}))
    assert (exit_code, "confirm: CONFIRM" in message) == (2, True)
    document = result_of(shop.run("shop_reconcile", {"repair": True, **CONFIRM}))
    # A young object may be of a backup that is being written.
    assert document["repaired"] == {"objects": 0, "bytes": 0}
    assert shop.keys("restorable") == {lost, unknown}
    assert missing not in shop.keys("backups")
    document = result_of(shop.run("shop_reconcile"))
    assert (document["missing_from_store"], document["unknown_to_catalog"]) == ([], [])


@pytest.mark.parametrize(
    ("job", "config"),
    [
        ("shop_prune", {}),
        ("shop_delete", {"backup": "20260115T020000Z-manual-9f3c1a", **CONFIRM}),
        ("shop_reconcile", {"repair": True, **CONFIRM}),
        ("shop_acknowledge", {"reason": "seen"}),
    ],
)
def test_a_reexecution_is_refused(shop: Shop, job: str, config: Mapping[str, object]) -> None:
    """One click must not repeat what somebody else has confirmed."""
    assert "re-execution" in shop.reexecute(job, config)
