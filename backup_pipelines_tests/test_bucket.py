"""The bucket and the way to it: who makes it, who may do what, keys, sessions, authorities."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.retention.prune import prune
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage import bucket, policies
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.fix_s3 import (
    S3Server,
    allow,
    as_user,
    session_of,
)

# Generous for a busy machine, and far from the minutes that the clients' own defaults take.
SECONDS = 25

MAKE_DATABASE = Callable[[Server], Database]

SCHEMA = "CREATE TABLE a AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 300) g"


def test_the_first_backup_makes_the_bucket(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket is private, lies in the region, and broken uploads go; versioning is advised."""
    moto_server.use(monkeypatch)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    advice = bucket.ensure("s3://new-bucket/prefix")
    assert advice[0] == "created the bucket new-bucket, private"
    assert [line.partition(" for ")[0] for line in advice[1:]] == ["switch versioning on"]
    s3 = moto_server.client()
    assert s3.get_bucket_location(Bucket="new-bucket")["LocationConstraint"] == "eu-central-1"
    block = s3.get_public_access_block(Bucket="new-bucket")["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket="new-bucket")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert bucket.ensure("s3://new-bucket/other") == []
    Store("s3://new-bucket/prefix").put_new("a", b"1")


def test_a_server_that_sets_nothing(
    rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the server would not set on the new bucket is left to people, who are told."""
    rclone_server.use(monkeypatch)
    said = "\n".join(bucket.ensure("s3://plain-bucket"))
    assert "created the bucket plain-bucket" in said
    assert "block all public access to the bucket plain-bucket by hand" in said
    assert "aborts unfinished multipart uploads after 7 days by hand" in said
    assert bucket.ensure("s3://plain-bucket") == []
    assert bucket.ensure(tmp_path.as_uri()) == []


def test_what_to_grant_is_said_and_enough(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may do nothing is told the policy; with exactly that, the bucket is made."""
    as_user(moto_server).use(monkeypatch)
    with pytest.raises(Refused, match="can be neither read nor created") as caught:
        bucket.ensure("s3://granted-bucket/prefix")
    policy = json.loads(str(caught.value).partition(":\n")[2])
    as_user(moto_server, *policy["Statement"]).use(monkeypatch)
    assert bucket.ensure("s3://granted-bucket/prefix")[0].startswith("created the bucket")
    assert bucket.ensure("s3://granted-bucket/prefix") == []
    Store("s3://granted-bucket/prefix").put_new("crm/a", b"1")


def test_who_may_list_the_prefix_only(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that cannot be looked at as a whole but serves the store is good."""
    name = moto_server.bucket()
    # HeadBucket is its own action to moto, and ListBucket to Amazon.
    as_user(moto_server, allow("s3:List*", f"arn:aws:s3:::{name}")).use(monkeypatch)
    assert bucket.ensure(f"s3://{name}/prefix") == []


def test_the_least_that_hosts_need(
    moto_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    server: EmbeddedServer,
    make_database: MAKE_DATABASE,
) -> None:
    """Each host does its work with the documented policy, and is refused what is not its own."""
    # moto judges a removal of many by the right to the whole bucket, Amazon each object by its own.
    monkeypatch.setenv("AWS_DISABLE_BULK_DELETE", "true")
    name, other = moto_server.bucket(), moto_server.bucket()
    url = f"s3://{name}/prefix"

    def become(host: policies.Host) -> Store:
        statements = policies.of_host(host, name, "prefix")["Statement"]
        as_user(moto_server, *statements).use(monkeypatch)
        assert bucket.ensure(url) == []
        for foreign in (f"s3://{other}/prefix", f"s3://{name}/elsewhere"):
            with pytest.raises(Failed, match="refused access"):
                Store(foreign).put_new("sample/backups/x", b"1")
        return Store(url)

    database, target = make_database(server), make_database(server)
    database.run(SCHEMA)
    store = become("backup")
    first, second = back_up(database.owner_url, store), back_up(database.owner_url, store)
    store.put_new("sample/audit/1.json", b"1")
    with pytest.raises(Failed, match="refused access"):
        store.delete(["sample/audit/1.json"])
    store = become("restore")
    verify(store, second, report=ignore)
    run_drill(store, second, server.url(), report=ignore)
    restore_into_empty(store, second, target.owner_url, report=ignore)
    with pytest.raises(Failed, match="refused access"):
        store.delete(["sample/audit/1.json"])
    retention = RetentionSpec(keep_last=1, floor=1)
    system = whole_system().model_copy(update={"retention": retention})
    done = prune(become("prune"), system, operator="ann", reason="tidy")
    assert [one.problem for one in done.refused] == []
    assert len(done.removed) == 1
    # Ids have seconds: which of the two is the older one may be open.
    assert {done.removed[0].id} < {first.id, second.id}


def test_the_policies_in_the_pages() -> None:
    """operations.md shows the policies that the code makes and the tests run with."""
    page = Path(__file__).resolve().parent.parent / "docs/operations.md"
    shown = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", page.read_text(), re.S)
    ]
    for host in ("backup", "restore", "prune"):
        assert policies.of_host(host, "my-bucket", "backups") in shown, host
        assert policies.of_host(host, "my-bucket", "backups", object_lock=True) in shown, host


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_of_ones_own(
    tls_server: S3Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A certificate is checked: it is refused until its authority is named."""
    name = tls_server.bucket()
    tls_server.use(monkeypatch)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(Failed, match=r"is not trusted \(UnknownIssuer\): name its authority in"):
        Store(f"s3://{name}").folders("")
    with pytest.raises(Failed, match="certificate verify failed"):
        bucket.ensure(f"s3://{name}")
    monkeypatch.setenv(variable, str(tls_server.authority))
    assert bucket.ensure(f"s3://{name}") == []
    Store(f"s3://{name}").put_new("a", b"1")
    assert Store(f"s3://{name}").get("a") == b"1"
    monkeypatch.setenv(variable, "/nowhere.pem")
    with pytest.raises(Refused, match=rf"{variable} names /nowhere\.pem, which is no file"):
        Store(f"s3://{name}")


def test_sessions(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role's temporary keys work with their token, and with no other."""
    url = f"s3://{moto_server.bucket()}"
    access, secret, token = session_of(moto_server, allow("s3:*", "*"))
    replace(moto_server, access_key=access, secret_key=secret).use(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    assert bucket.ensure(url) == []
    Store(url).put_new("a", b"1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    with pytest.raises(Failed, match="AWS_SESSION_TOKEN is not that of AWS_ACCESS_KEY_ID"):
        Store(url).get("a")


def test_profiles(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys may come from the AWS command line's files, by the profile that is named."""
    rclone_server.use(monkeypatch)
    url = f"s3://{rclone_server.bucket()}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(
        f"[ours]\naws_access_key_id = {rclone_server.access_key}\n"
        f"aws_secret_access_key = {rclone_server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "ours")
    assert bucket.ensure(url) == []
    Store(url).put_new("a", b"1")
    monkeypatch.setenv("AWS_PROFILE", "theirs")
    with pytest.raises(Refused, match=r"AWS_PROFILE: .*theirs"):
        Store(url)


def test_no_keys_at_all(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the whole chain has no keys, that is what is said, after a moment."""
    rclone_server.use(monkeypatch)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # Where a machine's role would be asked for: here, nobody.
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", nobody)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", nobody)
    began = time.monotonic()
    with pytest.raises(Failed, match="no credentials were found: set AWS_ACCESS_KEY_ID and"):
        Store("s3://bucket").folders("")
    with pytest.raises(Failed, match="Unable to locate credentials"):
        bucket.ensure("s3://bucket")
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000", "is no address of a server: write https://host"),
        ("AWS_ENDPOINT_URL", "s3://host", "is no address of a server: write https://host"),
        ("AWS_CHECKSUM_ALGORITHM", "md4", '"md4" is not a valid checksum algorithm'),
    ],
)
def test_variables_of_no_use(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """A variable that no store can be opened with is refused before anything is sent."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(Refused, match=said):
        Store("s3://bucket/prefix")
