"""Object Lock: what is locked until when, what that keeps, and which stores cannot do it."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines import catalog, layout
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.exporting import leftovers
from backup_pipelines.health import health
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention import locking, removal
from backup_pipelines.retention.prune import delete_backup, plan_prune, prune
from backup_pipelines.settings_storage import ObjectLockSpec
from backup_pipelines.storage import bucket, policies
from backup_pipelines.storage.object_lock import Lock, Locks, Mode, stronger, whole_second
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_s3 import S3Server, as_user
from backup_pipelines_tests.tiny_backups import keys, put_backup, system, tiny_id

MODES: Sequence[Mode] = ("governance", "compliance")
DAYS = 30
NOW = datetime.now(UTC).replace(microsecond=0)


def locking_system(mode: Mode = "governance", days: int = DAYS, **retention: Any) -> System:
    """The system crm, whose backups are locked."""
    spec = ObjectLockSpec(mode=mode, days=days)
    return system(**retention).model_copy(update={"object_lock": spec})


@pytest.fixture
def store(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in a bucket that we have made with Object Lock."""
    moto_server.use(monkeypatch)
    url = f"s3://lock-{secrets.token_hex(6)}/some/prefix"
    made = bucket.ensure(url, object_lock=True)
    assert made[0].endswith("private, with Object Lock")
    assert "NoncurrentVersionExpiration" in made[-1]
    assert "versioning" not in made[-1]
    return Store(url)


def young(store: Store, number: int, **more: Any) -> Manifest:
    """A backup made some days ago: number 0 is of today, 1 of yesterday."""
    more = {"parts": 1, **more}
    return put_backup(store, 1000 - number, at=NOW - timedelta(days=number), **more)


def locks_of(store: Store, entry: Manifest) -> dict[str, Lock | None]:
    """The lock of every object of a backup."""
    locks = Locks(store)
    prefix = layout.backup_prefix(entry.system, entry.id)
    return {item.key: locks.of(item.key) for item in store.objects(prefix)}


def versions(server: S3Server, store: Store, key: str) -> list[tuple[str, str]]:
    """Bucket and version of every version of an object, by another client."""
    name, _, prefix = store.url.removeprefix("s3://").partition("/")
    found = server.client().list_object_versions(Bucket=name, Prefix=f"{prefix}/{key}")
    return [(name, one["VersionId"]) for one in found.get("Versions", [])]


@pytest.mark.parametrize("mode", MODES)
def test_every_object_is_locked_until_the_promised_day(
    moto_server: S3Server, store: Store, mode: Mode
) -> None:
    """Parts, DDL and manifest are locked, the server refuses to remove them, and twice is once."""
    entry, locked = young(store, 1), locking_system(mode)
    done = locking.lock_due(store, locked, report=ignore)
    assert done == locking.Locked((entry.id,), {})
    until = NOW - timedelta(days=1) + timedelta(days=DAYS)
    found = locks_of(store, entry)
    assert len(found) == len(keys(store)) >= 4
    assert set(found.values()) == {Lock(mode, until)}
    client = moto_server.client()
    for key in found:
        [(name, version)] = versions(moto_server, store, key)
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=name, Key=f"some/prefix/{key}", VersionId=version)
    assert locking.lock_due(store, locked, report=ignore).done == ()


def test_a_lock_is_prolonged_and_never_shortened(store: Store) -> None:
    """A shared part keeps the longer of two promises, and compliance stays compliance."""
    entry = young(store, 2, parts=2)
    part = entry.tables[0].parts[0]
    locks, long = Locks(store), NOW + timedelta(days=90)
    locks.lock([part.key], "compliance", long)
    locking.lock_due(store, locking_system(), report=ignore)
    assert locks.of(part.key) == Lock("compliance", long)
    assert locks.of(entry.tables[0].parts[1].key) == Lock("governance", NOW + timedelta(days=28))
    later = young(store, 0, shares=[entry.tables[0].parts[1]])
    locking.lock_due(store, locking_system(), report=ignore)
    assert locks.of(entry.tables[0].parts[1].key) == Lock("governance", NOW + timedelta(days=30))
    assert set(locks_of(store, later).values()) == {Lock("governance", NOW + timedelta(days=30))}
    # A longer promise, or the other mode, holds for backups that are there already.
    done = locking.lock_due(store, locking_system("compliance", 40), report=ignore)
    assert set(done.done) == {entry.id, later.id}
    assert set(locks_of(store, later).values()) == {Lock("compliance", NOW + timedelta(days=40))}


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(st.lists(st.builds(Lock, st.sampled_from(MODES), MOMENTS), min_size=1))
def test_no_order_of_promises_makes_a_lock_weaker(promises: list[Lock]) -> None:
    """Whatever is promised one after the other, the longest and the strictest stays."""
    kept: Lock | None = None
    for one in promises:
        kept = stronger(one, kept)
        assert stronger(one, kept) == kept
    assert kept is not None
    assert kept.until == max(one.until for one in promises)
    assert (kept.mode == "compliance") == any(one.mode == "compliance" for one in promises)
    second = whole_second(kept.until)
    assert kept.until <= second < kept.until + timedelta(seconds=1)
    assert second.microsecond == 0


def test_what_was_not_locked_is_locked_later(
    moto_server: S3Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to lock the backup stays whole, status says so, and the next one locks."""
    entry, locked = young(store, 0), locking_system()
    assert [one.id for one in locking.unlocked(store, locked, catalog.listing(store, "crm"), NOW)]
    name = store.url.removeprefix("s3://").partition("/")[0]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    failed = locking.lock_due(Store(store.url), locked, report=ignore)
    assert failed.done == ()
    assert "not locked: all backups:" in failed.in_words
    moto_server.use(monkeypatch)
    assert catalog.find(store, "crm", "latest").id == entry.id
    finding = guard(store, locked)
    assert (finding.status, finding.about) == ("warning", (entry.id,))
    statements = policies.of_host("backup", name, "some/prefix", object_lock=True)["Statement"]
    as_user(moto_server, *statements).use(monkeypatch)
    assert locking.lock_due(Store(store.url), locked, report=ignore).done == (entry.id,)
    moto_server.use(monkeypatch)
    assert guard(store, locked).status == "ok"
    old = young(store, 3)
    assert guard(store, locked).status == "error"
    assert guard(store, locked).about == (old.id,)
    assert guard(store, system()) is None


def guard(store: Store, of: System) -> Any:
    """What the guard says of the locks."""
    found = health.assess(store, of, NOW + timedelta(minutes=1)).findings
    return next((finding for finding in found if finding.guard == "object_lock"), None)


def test_backups_that_stay_as_they_are(store: Store) -> None:
    """Neither what is past its days, nor damaged, nor being removed, nor unsealed is locked."""
    past, damaged, going = young(store, DAYS + 1), young(store, 3), young(store, 2)
    good = young(store, 1)
    store.put_new(f"crm/verifications/{damaged.id}/20260101T000000000000Z-damaged.json", b"{}")
    store.put_new(f"crm/removals/{going.id}/20260101T000000000000Z-started.json", b"{}")
    leftovers.mark_started(store, "crm", tiny_id(1), "somebody")
    done = locking.lock_due(store, locking_system(), report=ignore)
    assert done == locking.Locked((good.id,), {})
    for entry in (past, damaged, going):
        assert set(locks_of(store, entry).values()) == {None}
    assert leftovers.remove(store, "crm", ignore) == [tiny_id(1)]


@pytest.mark.parametrize("promise", [True, False])
def test_prune_keeps_what_is_locked(store: Store, promise: bool) -> None:
    """A locked backup is kept with its date, asked of the store; afterwards it goes as usual."""
    entries = [young(store, number) for number in (2, 0)]
    locking.lock_due(store, locking_system(), report=ignore)
    # Without the section in the YAML what the store keeps counts all the same.
    kept = locking_system(keep_last=1) if promise else system(keep_last=1)
    plan = plan_prune(store, kept, NOW)
    assert plan.remove == ()
    until = NOW - timedelta(days=2) + timedelta(days=DAYS)
    [verdict] = [one for one in plan.verdicts if one.id == entries[0].id]
    assert verdict.reasons == (f"locked until {until:%Y-%m-%d %H:%M} UTC",)
    done = prune(store, kept, operator="ann", reason="", now=NOW, report=ignore)
    assert (done.removed, done.refused, done.kept) == ((), (), 2)
    with pytest.raises(Refused, match=f"is locked until {until:%Y-%m-%d}"):
        delete_backup(store, kept, entries[0].id, operator="ann", reason="", report=ignore)
    later = until + timedelta(seconds=1)
    done = prune(store, kept, operator="ann", reason="", now=later, report=ignore)
    assert [one.id for one in done.removed] == [entries[0].id]
    assert done.refused == ()
    assert [one.id for one in catalog.backups(store, "crm")] == [entries[1].id]


def test_the_promise_counts_before_the_lock(store: Store) -> None:
    """A backup that could not be locked so far, or whose lock may not be seen, is kept as well."""
    for number in (1, 0):
        young(store, number)
    assert len(plan_prune(store, system(keep_last=1), NOW).remove) == 1
    assert plan_prune(store, locking_system(keep_last=1), NOW).remove == ()


def test_removals_never_fail_because_of_locks(moto_server: S3Server, store: Store) -> None:
    """What is removed in spite of a lock goes from every listing, and its versions stay."""
    entry = young(store, 0)
    locking.lock_due(store, locking_system(), report=ignore)
    done = removal.remove(
        store, "crm", entry.id, operator="ann", reason="", why="a test", report=ignore
    )
    assert done.problem == ""
    assert keys(store) == set()
    assert len(versions(moto_server, store, layout.backups_prefix("crm"))) >= 4


def test_the_least_to_grant(
    moto_server: S3Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each host locks, or sees what is locked, with the documented policy and no more."""
    name = store.url.removeprefix("s3://").partition("/")[0]
    for number in (2, 1):
        young(store, number)
    for host, locked in (("backup", 2), ("restore", 0)):
        statements = policies.of_host(host, name, "some/prefix", object_lock=True)["Statement"]  # pyright: ignore
        as_user(moto_server, *statements).use(monkeypatch)
        done = locking.lock_due(Store(store.url), locking_system(), report=ignore)
        assert (len(done.done), done.problems) == (locked, {})
    statements = policies.of_host("prune", name, "some/prefix", object_lock=True)["Statement"]
    as_user(moto_server, *statements).use(monkeypatch)
    assert plan_prune(Store(store.url), system(keep_last=1), NOW).remove == ()
    asked = [action for statement in statements for action in statement["Action"]]
    assert "s3:PutObjectRetention" not in asked
    assert not any("Bypass" in action or "DeleteObjectVersion" in action for action in asked)


def test_a_bucket_without_object_lock(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that was made without it is refused with what to do, and nothing is written."""
    moto_server.use(monkeypatch)
    plain = Store(f"s3://{moto_server.bucket()}/p")
    with pytest.raises(Refused, match=r"made without Object Lock.* only when a bucket is made"):
        locking.refuse_unable(plain, locking_system())
    assert plan_prune(plain, system(), NOW).verdicts == ()
    assert list(plain.objects("")) == []


def test_a_server_that_does_not_know_it(
    rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that would take a lock for new content of the object never gets one."""
    rclone_server.use(monkeypatch)
    url = f"s3://lock-{secrets.token_hex(6)}/p"
    bucket.ensure(url, object_lock=True)
    store = Store(url)
    entry = young(store, 0)
    before = {key: store.checksum(key) for key in keys(store)}
    with pytest.raises(Refused, match="does not lock objects, or its server does not know how"):
        locking.refuse_unable(store, locking_system())
    with pytest.raises(Refused, match="does not lock objects"):
        Locks(store).lock([entry.tables[0].parts[0].key], "governance", NOW + timedelta(days=1))
    done = locking.lock_due(store, locking_system(), report=ignore)
    assert (done.done, list(done.problems)) == ((), ["all backups"])
    assert {key: store.checksum(key) for key in keys(store)} == before
    assert len(plan_prune(store, system(), NOW).verdicts) == 1


def test_a_folder_cannot_lock(tmp_path: Path) -> None:
    """A folder is refused in one sentence; without the section in the YAML nobody asks."""
    folder = Store((tmp_path / "store").as_uri())
    with pytest.raises(Refused, match=r"is a folder, which cannot lock objects: name an S3 bucket"):
        locking.refuse_unable(folder, locking_system())
    locking.refuse_unable(folder, system())
    assert locking.lock_due(folder, system()) == locking.Locked((), {})
    assert guard(folder, locking_system()).status == "error"


def test_a_server_that_is_away(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be asked is an error of prune, and never counts as not locked."""
    moto_server.use(monkeypatch)
    with pytest.raises(Refused, match="no-such-bucket-anywhere does not exist"):
        Locks(Store("s3://no-such-bucket-anywhere")).refuse_unable()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Failed, match="the store failed at"):
        Locks(Store("s3://no-such-bucket-anywhere")).of("a")
