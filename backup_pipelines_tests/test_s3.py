"""S3 over HTTP: backups from end to end, what the servers enforce, and what each failure says."""

import base64
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from backup_pipelines import catalog
from backup_pipelines.backup import take_backup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import BackupError, Damaged, Failed, NoStore
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.retention.prune import prune
from backup_pipelines.scheduling import due
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage import bucket
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.fix_s3 import (
    S3Server,
)
from backup_pipelines_tests.s3_proxy import proxied

MB = 1024 * 1024

SCHEMA = """
CREATE TABLE a AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 300) g;
CREATE TABLE b (id int PRIMARY KEY, amount numeric);
INSERT INTO b SELECT g, g * 1.50 FROM generate_series(1, 50) g;
"""

# Generous for a busy machine, and far from the minutes that the client's own defaults take.
SECONDS = 25

MAKE_DATABASE = Callable[[Server], Database]


def source(make_database: MAKE_DATABASE, server: EmbeddedServer) -> Database:
    """A small database."""
    made = make_database(server)
    made.run(SCHEMA)
    return made


def test_from_backup_to_prune(
    s3_server: S3Server, server: EmbeddedServer, make_database: MAKE_DATABASE
) -> None:
    """Backups are taken, verified, drilled, restored with equal digests, and one is pruned."""
    store = Store(f"s3://{s3_server.bucket()}/deep/prefix")
    database, target = source(make_database, server), make_database(server)
    first, second = back_up(database.owner_url, store), back_up(database.owner_url, store)
    assert verify(store, second, report=ignore).objects == 6
    assert run_drill(store, second, server.url(), report=ignore).rows == 350
    assert restore_into_empty(store, second, target.owner_url, report=ignore).rows == 350
    again = back_up(target.admin_url, store)
    assert [t.digest for t in again.tables] == [t.digest for t in second.tables]
    retention = RetentionSpec(keep_last=2, floor=1)
    system = whole_system().model_copy(update={"retention": retention})
    done = prune(store, system, operator="ann", reason="tidy")
    [gone] = [one.id for one in done.removed]
    # Ids have seconds: which is the oldest may be open.
    everything = {first.id, second.id, again.id}
    assert everything - {entry.id for entry in catalog.backups(store, "sample")} == {gone}
    stored = s3_server.stored(store.url.split("/")[2])
    assert not [key for key in stored if f"/backups/{gone}/" in key]


def test_a_backup_that_breaks_off(
    s3_server: S3Server, server: EmbeddedServer, make_database: MAKE_DATABASE
) -> None:
    """A backup that ends after its first table leaves no object and no unfinished upload."""
    name = s3_server.bucket()
    database = source(make_database, server)
    items = take_backup(request_for(), database.owner_url, Store(f"s3://{name}/p"))
    next(items)
    assert s3_server.stored(name) != []
    items.close()
    assert s3_server.stored(name) == []


UPLOAD = """
import resource, sys
from backup_pipelines.storage.store import Store
store, chunk = Store(sys.argv[1]), bytes(1 << 20)
store.put_new("first", b"1")
with store.writer("small") as sink:
    sink.write(chunk)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with store.writer("big") as sink:
    for _ in range(int(sys.argv[2])):
        sink.write(chunk)
unit = 1024 if sys.platform == "linux" else 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


def test_uploads_in_parts_take_little_memory(s3_server: S3Server) -> None:
    """An object of 128 MB is uploaded in parts, with less than half of it in memory."""
    name = s3_server.bucket()
    command = [sys.executable, "-c", UPLOAD, f"s3://{name}", "128"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60 * MB
    found = s3_server.client().head_object(Bucket=name, Key="big")
    assert found["ContentLength"] == 128 * MB
    # rclone's is not of parts.
    assert s3_server.name == "rclone" or found["ETag"].strip('"').endswith("-16")


def test_checksums_are_sent(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sha256 of every object and every part goes with it, signed."""
    with proxied(s3_server) as proxy:
        proxy.server.use(monkeypatch)
        store = Store(f"s3://{s3_server.bucket()}")
        store.put_new("small", b"1")
        with store.writer("big") as sink:
            sink.write(bytes(9 * MB))
    bodies = [headers for method, _, headers in proxy.requests if method == "PUT"]
    # The object, once more to see what the server does, and two parts.
    assert len(bodies) == 4
    for headers in bodies:
        sent = base64.b64decode(headers["x-amz-checksum-sha256"]).hex()
        assert sent == headers["x-amz-content-sha256"]
        assert "x-amz-content-sha256" in headers["authorization"]


def test_who_keeps_objects_from_being_overwritten(s3_server: S3Server) -> None:
    """A store knows after its first write whether the server itself refuses a second one."""
    store = Store(f"s3://{s3_server.bucket()}")
    store.put_new("a", b"1")
    assert store.is_write_once is (s3_server.name == "moto")
    assert Store(store.url).is_write_once is store.is_write_once
    assert s3_server.stored(store.url[5:]) == ["a"]


def test_many_writers_of_one_object(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of writers at the same time one wins, and what it wrote stays."""
    moto_server.use(monkeypatch)
    store = Store(f"s3://{moto_server.bucket()}")

    def write(number: int) -> bool:
        try:
            store.put_new("key", b"%d" % number)
        except Failed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(24)))
    assert won.count(True) == 1
    assert store.get("key") == b"%d" % won.index(True)


def test_an_answer_that_got_lost(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write whose answer is lost is tried again, and finds that the object is its own."""
    name = moto_server.bucket()
    with proxied(moto_server, lost=["PUT"]) as proxy:
        proxy.server.use(monkeypatch)
        store = Store(f"s3://{name}")
        store.put_new("mine", b"1")
        assert store.get("mine") == b"1"
        with pytest.raises(Failed, match="mine exists already"):
            store.put_new("mine", b"1")
    assert proxy.lost == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"secret_key": "wrong"}, "SignatureDoesNotMatch): AWS_SECRET_ACCESS_KEY is not that of"),
        ({"access_key": "AKIA0000000000000000"}, "InvalidAccessKeyId): the server does not know"),
    ],
)
def test_signatures_are_checked(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], said: str
) -> None:
    """A wrong key or secret is refused by the servers, and the sentence says which it was."""
    store = Store(f"s3://{s3_server.bucket()}")
    store.put_new("a", b"1")
    replace(s3_server, **change).use(monkeypatch)
    for use in (lambda s: s.get("a"), lambda s: s.put_new("b", b"1"), lambda s: s.folders("")):
        with pytest.raises(Failed, match=re.escape(f"{s3_server.endpoint} refused access")):
            use(Store(store.url))
    with pytest.raises(Failed, match=re.escape(said)):
        Store(store.url).get("a")


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.folders("crm/backups/"),
        lambda store: store.get("a"),
        lambda store: store.put_new("a", b"1"),
        lambda store: store.writer("a"),
    ],
    ids=["list", "get", "put", "upload"],
)
def test_a_closed_port(
    rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch, use: Callable[[Store], object]
) -> None:
    """A server that is not there fails in seconds, in one sentence with endpoint and bucket."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    replace(rclone_server, endpoint=endpoint).use(monkeypatch)
    began = time.monotonic()
    with pytest.raises(Failed) as caught:
        use(Store("s3://bucket/prefix"))
    assert time.monotonic() - began < SECONDS
    said = str(caught.value)
    assert said.startswith("the store failed at s3://bucket/prefix/")
    assert f"{endpoint} cannot be reached (Connection refused): check AWS_ENDPOINT_URL" in said
    assert "\n" not in said


def test_a_closed_port_before_a_backup(
    rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does the look at the bucket that a backup begins with."""
    replace(rclone_server, endpoint=f"http://127.0.0.1:{free_port()}").use(monkeypatch)
    with pytest.raises(Failed, match=r"failed at s3://bucket/prefix: http://127\.0\.0\.1:\d+ can"):
        bucket.ensure("s3://bucket/prefix")


def test_a_bucket_that_is_missing(s3_server: S3Server) -> None:
    """What reads or writes says so in one sentence; for schedules nothing was ever done."""
    store = Store("s3://no-such-bucket/prefix")
    for use in (
        lambda: store.folders(""),
        lambda: list(store.objects("")),
        lambda: store.get("a"),
        lambda: store.put_new("a", b"1"),
        lambda: store.delete(["a"]),
    ):
        with pytest.raises(NoStore) as caught:
            use()
        said = f"the bucket no-such-bucket does not exist at {s3_server.endpoint}: correct "
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)
    assert due.last_backup(store, "crm") is None
    assert due.last_drill(store, "crm") is None


def test_what_is_missing_is_damage(s3_server: S3Server) -> None:
    """An object that is gone is damage, not an unknown bucket nor a refused access."""
    store = Store(f"s3://{s3_server.bucket()}/p")
    with pytest.raises(Damaged, match=r"/p/a is missing$"):
        store.get("a")
    with pytest.raises(BackupError, match=r"/p/a is missing$"):
        store.open_input("a")
