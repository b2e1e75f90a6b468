"""Two stores at once, each by its own variables: nothing of one leads to the other."""

import re

import pytest

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.storage import bucket
from backup_pipelines.storage.store import Store
from backup_pipelines.storage.variables import Variables
from backup_pipelines_tests.fix_s3 import S3Server

SECOND = Variables("SECOND_", "CRM_SECOND_STORE_URL")


@pytest.fixture
def two_servers(
    moto_server: S3Server, rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> tuple[S3Server, S3Server]:
    """The first by the usual variables, the second by those with the prefix."""
    moto_server.use(monkeypatch)
    for name, value in rclone_server.environment().items():
        monkeypatch.setenv(f"SECOND_{name}", value)
    return moto_server, rclone_server


def test_each_has_its_own_server_and_keys(
    two_servers: tuple[S3Server, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are written and read by their own keys, whatever else the usual variables say."""
    first, second = two_servers
    for name, value in {
        "AWS_SESSION_TOKEN": "of-the-first",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_CA_BUNDLE": "/nowhere.pem",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    beside = Store(f"s3://{second.bucket()}/p", SECOND)
    first.use(monkeypatch)
    for name in ("AWS_SKIP_SIGNATURE", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"):
        monkeypatch.delenv(name)
    usual = Store(f"s3://{first.bucket()}/p")
    for store, data in ((usual, b"1"), (beside, b"2"), (usual, b"3"), (beside, b"4")):
        store.put_new(data.decode(), data)
    assert first.stored(usual.url.split("/")[2]) == ["p/1", "p/3"]
    assert second.stored(beside.url.split("/")[2]) == ["p/2", "p/4"]


def test_a_bucket_is_made_on_its_own_server(two_servers: tuple[S3Server, S3Server]) -> None:
    """The second store's bucket is made by its own keys, and the first's server knows nothing."""
    first, second = two_servers
    url = "s3://made-for-the-second/p"
    assert bucket.ensure(url, SECOND)[0] == "created the bucket made-for-the-second, private"
    assert bucket.ensure(url, SECOND) == []
    assert second.stored("made-for-the-second") == []
    names = [found["Name"] for found in first.client().list_buckets()["Buckets"]]
    assert "made-for-the-second" not in names


def test_it_never_falls_back_to_the_others_keys(
    two_servers: tuple[S3Server, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys of its own it is refused, though the first's are there."""
    monkeypatch.delenv("SECOND_AWS_SECRET_ACCESS_KEY")
    said = "SECOND_AWS_SECRET_ACCESS_KEY: not set, and the store of CRM_SECOND_STORE_URL has"
    for use in (lambda: Store("s3://b", SECOND), lambda: bucket.ensure("s3://b", SECOND)):
        with pytest.raises(Refused, match=re.escape(said)):
            use()


def test_it_never_falls_back_to_the_others_server(
    two_servers: tuple[S3Server, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an endpoint it is Amazon's, not that of the first."""
    monkeypatch.delenv("SECOND_AWS_ENDPOINT_URL")
    monkeypatch.setenv("SECOND_AWS_REGION", "eu-west-3")
    store = Store("s3://bucket", SECOND)
    assert store._s3 is not None
    assert store._s3.server == "Amazon S3"
    assert "https://s3.eu-west-3.amazonaws.com" in store._s3.first.config.values()


def test_what_cannot_be_kept_apart_is_refused(
    two_servers: tuple[S3Server, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encryption on the first's server would be asked of the second's too."""
    monkeypatch.setenv("AWS_SSE_KMS_KEY_ID", "arn:aws:kms:key")
    with pytest.raises(Refused, match="set SECOND_AWS_SSE_KMS_KEY_ID to the same value"):
        Store("s3://b", SECOND)


def test_errors_name_its_own_variables(
    two_servers: tuple[S3Server, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be put right is said of the second's variables."""
    _, second = two_servers
    missing = Store("s3://no-such-bucket", SECOND)
    with pytest.raises(Refused, match="correct CRM_SECOND_STORE_URL, or take a backup"):
        missing.get("a")
    monkeypatch.setenv("SECOND_AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Failed, match=re.escape(": SECOND_AWS_SECRET_ACCESS_KEY is not that of SE")):
        Store(f"s3://{second.bucket()}", SECOND).get("a")
    monkeypatch.setenv("SECOND_AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(Refused, match="SECOND_AWS_ENDPOINT_URL 'nowhere' is no address"):
        Store("s3://b", SECOND)
    with pytest.raises(Refused, match="CRM_SECOND_STORE_URL 'nothing' is not a store"):
        Store("nothing", SECOND)
