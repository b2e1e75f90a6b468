"""Encrypted backups by Dagster: verify, drill, restore, undo, re-encryption and the catalog."""

from pathlib import Path

import dagster as dg
import pytest

from backup_pipelines import PostgresBackup, catalog, layout
from backup_pipelines.exporting import reuse
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.trail import audit
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_operations import warnings
from backup_pipelines_tests.dagster_layer.test_restore_jobs import (
    CONFIRM,
    content,
    lose_rows,
    result_of,
)
from backup_pipelines_tests.dagster_layer.test_verify_jobs import records
from backup_pipelines_tests.test_encrypted_objects import pair


def encrypt_to(shop: Shop, *keys: str) -> None:
    """Let the YAML name these recipients from now on."""
    environment = (shop.defs.resources or {})["backup_environment"]
    system = SHOP.model_copy(update={"encryption": EncryptionSpec(recipients=list(keys))})
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(system)),
        dg.Definitions(resources={"backup_environment": environment}),
    )


def details(shop: Shop, back: int) -> audit.Record:
    """The record of the audit trail, so many before the newest."""
    sequence = audit.newest(shop.store, "shop").sequence - back
    data = shop.store.get(layout.audit_key("shop", sequence))
    return audit.Record.model_validate_json(data)


def test_a_host_without_an_identity_verifies_bytes_and_plans_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog says that a backup is encrypted, a verification what it could not look at."""
    monkeypatch.delenv(BACKUP_AGE_IDENTITY, raising=False)
    encrypt_to(shop, pair()[1])
    backup_id = shop.backup()
    assert shop.row(backup_id)["encrypted"] is True
    verified = shop.run("shop_verify", {"backup": backup_id})
    assert result_of(verified)["opened"] is False
    assert "no identity here opens it: bytes only" in details(shop, 0).message
    message, code = failure(shop.run("shop_plan", partition=backup_id))
    assert (code, "BACKUP_AGE_IDENTITY is not set" in message) == (2, True)


def test_a_restore_is_undone_after_its_backups_were_encrypted_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys rotate: catalog and audit trail tell old and new ids, and the new key opens it all."""
    (one, first), (other, second) = pair(), pair()
    encrypt_to(shop, first)
    backup_id = shop.backup()
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, one)
    before = content(shop)
    lose_rows(shop)
    lost = content(shop)
    assert shop.run("shop_restore", {"backup": backup_id, **CONFIRM}).success
    assert content(shop) == before
    assert len(shop.keys("restorable")) == 2

    encrypt_to(shop, second)
    message, code = failure(shop.run("shop_reencrypt", {"backup": "all", **CONFIRM}))
    assert (code, "could not be proved" in message) == (2, True)
    file = tmp_path / "identities"
    file.write_text(f"{one}\n{other}\n")
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(file))
    old = shop.keys("restorable")
    document = result_of(shop.run("shop_reencrypt", {"backup": "all", **CONFIRM}))
    new = {found["new"] for found in document["backups"]}
    assert {found["old"] for found in document["backups"]} == old
    assert shop.keys("restorable") == shop.keys("backups") == new
    assert records(shop)[-2:] == [
        ("reencrypt", "done", found["old"]) for found in document["backups"]
    ]
    assert details(shop, 0).details["new"] == document["backups"][-1]["new"]
    assert details(shop, 0).details["recipients"] == second

    # The new identity alone, and by the id that the run of the restore has noted.
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, other)
    assert shop.run("shop_undo", CONFIRM).success
    assert content(shop) == lost
    assert shop.run("shop_drill", {"backup": backup_id}).success
    assert details(shop, 0).message.endswith("; the identity here opens it")

    monkeypatch.delenv(BACKUP_AGE_IDENTITY)
    with dg.DagsterInstance.ephemeral() as empty:
        shop.instance = empty
        rebuilt = result_of(shop.run("shop_catalog_rebuild"))
        assert len(rebuilt["added"]) == 3
        assert shop.keys("restorable") == set(catalog.ids(shop.store, "shop"))


def test_what_stays_under_the_old_key_is_told_until_nothing_does(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alone leaves what the other names; when that is encrypted anew as well, nothing stays."""
    monkeypatch.setattr(reuse, "WORTH_BYTES", 1)
    identity, public = pair()
    first, second = shop.backup(), shop.backup()
    entry = catalog.load(shop.store, "shop", second)
    assert entry.reuse is not None and entry.reuse.backup == first
    encrypt_to(shop, public)
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
    ran = shop.run("shop_reencrypt", {"backup": first, **CONFIRM})
    [told] = result_of(ran)["backups"]
    assert told["named"] == entry.reuse.parts
    said = warnings(shop, ran.run_id)
    assert "other backups name objects of these" in said and f"- {first}: " in said
    ran = shop.run("shop_reencrypt", {"backup": "all", **CONFIRM})
    [told] = result_of(ran)["backups"]
    assert (told["old"], told["named"]) == (second, 0)
    assert "other backups name" not in warnings(shop, ran.run_id)
    # Both at once, to plain: what the later one has named is gone at the end.
    encrypt_to(shop)
    ran = shop.run("shop_reencrypt", {"backup": "all", **CONFIRM})
    assert [told["named"] for told in result_of(ran)["backups"]] == [0, 0]
    assert "other backups name" not in warnings(shop, ran.run_id)


def test_one_that_cannot_be_read_keeps_no_other_from_its_turn(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails and names it; the others are done, and the catalog shows them."""
    identity, public = pair()
    damaged, whole = shop.backup(), shop.backup()
    part = next(
        part.key
        for table in catalog.load(shop.store, "shop", damaged).tables
        for part in table.parts
    )
    shop.store.delete([part])
    encrypt_to(shop, public)
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, identity)
    message, code = failure(shop.run("shop_reencrypt", {"backup": "all", **CONFIRM}))
    assert (code, "1 of 2 were not encrypted anew" in message, part in message) == (1, True, True)
    [new] = shop.keys("restorable") - {damaged}
    assert new != whole
    assert catalog.find(shop.store, "shop", whole).id == new
    assert catalog.load(shop.store, "shop", new).encryption is not None
