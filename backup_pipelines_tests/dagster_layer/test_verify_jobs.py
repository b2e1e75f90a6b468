"""The verification in rotation by Dagster."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from backup_pipelines import PostgresBackup, catalog, layout
from backup_pipelines.dagster_layer import partitions
from backup_pipelines.health import health
from backup_pipelines.retention.prune import plan_prune
from backup_pipelines.settings import VerifySpec
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure

# All that are whole are due in each run.
EAGER = SHOP.model_copy(update={"verify": VerifySpec(days=1)})


def damage(store: Store, backup_id: str) -> str:
    """Change a byte of a part; returns the part's key."""
    entry = catalog.load(store, "shop", backup_id)
    key = next(t for t in entry.tables if t.name == "orders").parts[0].key
    path = Path(store.url.removeprefix("file://")) / key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return key


def records(shop: Shop) -> list[tuple[str, str, str]]:
    """Operation, outcome and backup of each record of the audit trail, oldest first."""
    head = audit.newest(shop.store, "shop").sequence
    data = [shop.store.get(layout.audit_key("shop", n + 1)) for n in range(head)]
    found = [audit.Record.model_validate_json(one) for one in data]
    return [(one.operation, one.outcome, one.backup) for one in found]


def test_the_rotation_finds_what_is_damaged(shop: Shop) -> None:
    """One damaged backup keeps no other from its turn; the run fails, and it counts no more."""
    environment = (shop.defs.resources or {})["backup_environment"]
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(EAGER)),
        dg.Definitions(resources={"backup_environment": environment}),
    )
    ids = [shop.backup() for _ in range(3)]
    parts = {backup: damage(shop.store, backup) for backup in (ids[0], ids[2])}
    before = len(records(shop))
    message, code = failure(shop.run("shop_verify_rotation"))
    assert (code, message.startswith("2 of 3 backups are not whole:")) == (1, True)
    for backup, part in parts.items():
        assert f"- {backup}: backup {backup} is damaged" in message
        assert part in message
    outcomes = ("failed", "done", "failed")
    expected = [("verify", outcome, one) for outcome, one in zip(outcomes, ids, strict=True)]
    assert records(shop)[before:] == expected

    assert catalog.find(shop.store, "shop", "latest").id == ids[1]
    now = datetime.now(UTC)
    verdicts = {one.id: one.reasons[0] for one in plan_prune(shop.store, EAGER, now).verdicts}
    assert [one for one in ids if verdicts[one].startswith("damaged or not verified")] == [
        ids[0],
        ids[2],
    ]
    [guard] = [
        one for one in health.assess(shop.store, EAGER, now).findings if one.guard == "intact"
    ]
    assert (guard.status, guard.about) == ("error", (ids[0], ids[2]))

    again = shop.run("shop_verify_rotation")
    assert again.success
    assert records(shop)[before + 3 :] == [("verify", "done", ids[1])]


def test_a_store_that_cannot_be_read_makes_no_backup_look_damaged(shop: Shop) -> None:
    """What was not found out is not told: its partition stays as it is."""
    backup = shop.backup()
    entry = catalog.load(shop.store, "shop", backup)
    part = Path(shop.store.url.removeprefix("file://")) / entry.tables[0].parts[0].key
    part.unlink()
    # A link to itself is an error of the file system; that nothing is there would be damage.
    part.symlink_to(part)
    message, code = failure(shop.run("shop_verify", {"backup": backup}))
    assert code == 1
    assert "damaged" not in message
    seen = shop.instance.fetch_observations(partitions.catalog_key("shop"), limit=20).records
    said = [one.asset_observation.description for one in seen if one.partition_key == backup]
    assert not any("damaged" in (text or "") for text in said)
    assert catalog.find(shop.store, "shop", "latest").id == backup
