"""Object Lock in the runs that take backups: asked before, locked after, told when it fails."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from backup_pipelines import PostgresBackup, catalog, layout
from backup_pipelines.copies import archive
from backup_pipelines.settings_storage import ObjectLockSpec
from backup_pipelines.storage import bucket
from backup_pipelines.storage.object_lock import Locks
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit, notices
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_s3 import S3Server
from backup_pipelines_tests.s3_proxy import Proxy, proxied

LOCKED = SHOP.model_copy(update={"object_lock": ObjectLockSpec(mode="compliance", days=2)})
REFUSED = "PUT ?retention"


def with_locks(shop: Shop) -> Shop:
    """The same shop, whose YAML asks for locks."""
    resources = shop.defs.resources or {}
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(LOCKED)), dg.Definitions(resources=resources)
    )
    return shop


def test_a_folder_is_refused_before_anything_is_written(shop: Shop) -> None:
    """A store that cannot lock gets no backup when the YAML asks for locks."""
    message, code = failure(with_locks(shop).run("shop_backup"))
    assert code == 2
    assert "is a folder, which cannot lock objects" in message
    assert list(shop.store.objects(layout.backups_prefix("shop"))) == []


class TestInABucket:
    """A bucket behind a proxy that may refuse the right to lock."""

    @pytest.fixture
    def proxy(self, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
        """The way to the server."""
        with proxied(moto_server) as proxy:
            proxy.server.use(monkeypatch)
            yield proxy

    @pytest.fixture
    def store(self, proxy: Proxy) -> Store:
        """A store in a bucket that locks."""
        del proxy
        url = f"s3://lock-{secrets.token_hex(6)}/p"
        bucket.ensure(url, object_lock=True)
        return Store(url)

    def test_what_could_not_be_locked_is_told_and_made_up_for(
        self, shop: Shop, store: Store, proxy: Proxy
    ) -> None:
        """The backup is whole all the same; the next one, and a restore's, locks every object."""
        with_locks(shop)
        proxy.refused.append(REFUSED)
        result = shop.run("shop_backup")
        assert result.success
        [entry] = catalog.backups(store, "shop")
        said = [one.user_message for one in shop.instance.all_logs(result.run_id)]
        assert any(text.startswith(f"not locked: {entry.id}: ") for text in said)
        record = newest(store)
        assert "refused access to the locks of" in record.details[notices.NOT_LOCKED]
        event = notices.event_of("shop", record)
        assert event is not None
        assert event.severity == "warning"
        locks, manifest = Locks(store), layout.manifest_key("shop", entry.id)
        assert locks.of(manifest) is None

        proxy.refused.clear()
        undone = {"backup": entry.id, "reason": "a test", "confirm": "CONFIRM"}
        restored = shop.run("shop_restore", undone)
        assert restored.success
        [safety] = [one for one in catalog.backups(store, "shop") if one.type == "safety"]
        for one in (entry, safety):
            for item in store.objects(layout.backup_prefix("shop", one.id)):
                lock = locks.of(item.key)
                assert lock is not None, item.key
                assert lock.mode == "compliance"
        assert newest(store).details["locked"] == 2
        message, code = failure(shop.run("shop_delete", undone))
        assert code == 2
        assert "is locked until" in message

    def test_an_uploaded_backup_is_locked(self, shop: Shop, store: Store, tmp_path: Path) -> None:
        """The backup of an archive is locked by the upload that puts it back."""
        entry, file = catalog.load(store, "shop", shop.backup()), tmp_path / "archive.tar"
        archive.download(store, entry, file, report=ignore)
        store.delete_folder(layout.backup_prefix("shop", entry.id))
        locks, manifest = Locks(store), layout.manifest_key("shop", entry.id)
        assert locks.of(manifest) is None
        assert with_locks(shop).run("shop_upload", {"file": str(file)}).success
        assert locks.of(manifest) is not None
        assert newest(store).details["locked"] == 1


def newest(store: Store) -> audit.Record:
    """The newest record of the audit trail."""
    key = layout.audit_key("shop", audit.newest(store, "shop").sequence)
    return audit.Record.model_validate_json(store.get(key))
