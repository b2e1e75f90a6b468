"""`preflight` and stores: a trial object in each kind, room, rights, locks, and who may read."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_pipelines import environment
from backup_pipelines.storage import policies
from backup_pipelines_tests.cli.conftest import Cli
from backup_pipelines_tests.cli.shop_system import by_check, define, said
from backup_pipelines_tests.fix_postgres import Database
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.fix_s3 import Place, S3Server, allow, as_user

pytest_plugins = ["backup_pipelines_tests.cli.fix_shop"]


def test_stores_of_each_kind(
    cli: Cli, shop: Database, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a server with conditional writes, one without: tried for real, and left empty."""
    monkeypatch.setenv(environment.BACKUP_STORE_URL, place.store.url)
    done = cli("preflight", "shop", "--json")
    assert done.code == 0, done.out
    found = by_check(done)
    for check in ("store", "store: write", "store: read", "store: private", "store: remove"):
        assert found[check]["status"] == "ok", found[check]
    ignores = place.server is not None and place.server.name == "rclone"
    assert found["store: write once"]["status"] == ("warning" if ignores else "ok")
    if place.server is not None:
        assert "without credentials the server answers 40" in found["store: private"]["found"]
    assert place.stored() == []


def test_a_bucket_that_is_not_there_is_made_by_the_first_backup(
    cli: Cli, shop: Database, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a warning, and preflight makes none."""
    monkeypatch.setenv(environment.BACKUP_STORE_URL, "s3://preflight-is-not-there/x")
    done = cli("preflight", "shop", "--json")
    assert done.code == 0
    assert "does not exist" in dict(said(done, "warning"))["store"]
    names = [bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]]
    assert "preflight-is-not-there" not in names


def test_a_bucket_that_anybody_may_read_is_wrong(
    cli: Cli, shop: Database, trusting_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects that come without credentials are found out by asking for one."""
    trusting_server.use(monkeypatch)
    bucket = trusting_server.bucket()
    everybody = {**allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"), "Principal": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    trusting_server.client().put_bucket_policy(Bucket=bucket, Policy=policy)
    monkeypatch.setenv(environment.BACKUP_STORE_URL, f"s3://{bucket}/x")
    done = cli("preflight", "shop", "--json")
    assert [check for check, _ in said(done, "wrong")] == ["store: private"]


def test_a_server_that_is_away_is_asked_once(
    cli: Cli,
    shop_defs: Path,
    shop: Database,
    moto_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its timeouts are waited for once, and what depends on it is not looked at."""
    moto_server.use(monkeypatch)
    define(shop_defs, object_lock={"mode": "governance", "days": 3})
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv(environment.BACKUP_STORE_URL, "s3://bucket/x")
    done = cli("preflight", "shop", "--json")
    [(check, found)] = said(done, "wrong")
    assert (check, "cannot be reached" in found) == ("store", True)
    assert dict(said(done, "warning"))["object lock"].startswith("not checked")
    assert by_check(done)["schedule"]["status"] == "ok"


def test_object_lock_is_as_the_yaml_says(
    cli: Cli,
    shop_defs: Path,
    shop: Database,
    moto_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder or a bucket without Object Lock is wrong where the YAML wants it."""
    moto_server.use(monkeypatch)
    define(shop_defs, object_lock={"mode": "governance", "days": 3})
    [(check, found)] = said(cli("preflight", "shop", "--json"), "wrong")
    assert (check, "is a folder, which cannot lock" in found) == ("object lock", True)
    plain = moto_server.bucket()
    monkeypatch.setenv(environment.BACKUP_STORE_URL, f"s3://{plain}/x")
    done = cli("preflight", "shop", "--json")
    [(check, found)] = said(done, "wrong")
    assert (check, "was made without Object Lock" in found) == ("object lock", True)
    locking = f"{plain}-locks"
    moto_server.client().create_bucket(Bucket=locking, ObjectLockEnabledForBucket=True)
    monkeypatch.setenv(environment.BACKUP_STORE_URL, f"s3://{locking}/x")
    done = cli("preflight", "shop", "--json")
    assert by_check(done)["object lock"]["found"].endswith("governance, 3 days")
    assert (done.code, moto_server.stored(locking)) == (0, [])


def test_the_rights_of_a_backup_host_suffice_and_lacking_ones_are_said(
    cli: Cli, shop: Database, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the documented policy all is well; without the right to remove only that is said."""
    # moto judges a removal of many by the right to the whole bucket, Amazon each object by its own.
    monkeypatch.setenv("AWS_DISABLE_BULK_DELETE", "true")
    bucket = moto_server.bucket()
    monkeypatch.setenv(environment.BACKUP_STORE_URL, f"s3://{bucket}/x")
    granted = policies.of_host("backup", bucket, "x")["Statement"]
    as_user(moto_server, *granted).use(monkeypatch)
    enough = cli("preflight", "shop", "--json")
    assert said(enough, "wrong") == []
    assert moto_server.stored(bucket) == []
    less = [statement for statement in granted if statement["Sid"] != "RemoveObjects"]
    as_user(moto_server, *less).use(monkeypatch)
    [(check, found)] = said(cli("preflight", "shop", "--json"), "wrong")
    assert (check, "refused access" in found) == ("store: remove", True)
    as_user(moto_server, allow("s3:ListBucket", f"arn:aws:s3:::{bucket}")).use(monkeypatch)
    [(check, found)] = said(cli("preflight", "shop", "--json"), "wrong")
    assert (check, "refused access" in found) == ("store: write", True)


def test_a_second_store_is_tried_and_its_faults_are_warnings(
    cli: Cli,
    shop_defs: Path,
    shop: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second store that works is ok and left as it was; one that fails stops no backup."""
    define(shop_defs, second_store={"url_env": "SECOND_URL"})
    monkeypatch.setenv("SECOND_URL", (tmp_path / "second").as_uri())
    done = cli("preflight", "shop", "--json")
    assert by_check(done)["second store: remove"]["status"] == "ok"
    assert not (tmp_path / "second").exists()
    monkeypatch.setenv("SECOND_URL", f"{(tmp_path / 'a' / 'store').as_uri()}/")
    same = cli("preflight", "shop", "--json")
    assert same.code == 0
    assert "names the same place" in dict(said(same, "warning"))["second store"]
    assert not (tmp_path / "a").exists()


def test_an_open_folder_is_a_warning(
    cli: Cli, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that any user of the machine may enter is named with the command."""
    made = Path(f"/tmp/preflight-{datetime.now(UTC).timestamp()}")
    made.mkdir(mode=0o755)
    try:
        monkeypatch.setenv(environment.BACKUP_STORE_URL, made.as_uri())
        done = cli("preflight", "shop", "--json")
        assert (
            by_check(done)["store: private"]["advice"] == f"Take it from them: chmod o-rwx {made}"
        )
        made.chmod(0o750)
        assert said(cli("preflight", "shop", "--json"), "warning") == []
    finally:
        shutil.rmtree(made)


def test_sizes_are_held_against_disk_and_yaml(cli: Cli, shop_defs: Path, shop: Database) -> None:
    """A limit that the kept backups outgrow, and a window that is too short, are warnings."""
    define(shop_defs, storage_limit="1 KB", guards={"window_minutes": 0.001})
    warnings = dict(said(cli("preflight", "shop", "--json"), "warning"))
    assert warnings.keys() == {"storage_limit", "duration"}
    assert "30 backups of about" in warnings["storage_limit"]
    define(shop_defs, storage_limit="999999 TB")
    assert (
        "the YAML's storage_limit is 999999 TB"
        in dict(said(cli("preflight", "shop", "--json"), "warning"))["room"]
    )
