"""What `status` knows of the second store, and that a dead one harms nothing."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from backup_pipelines import catalog, environment, verify
from backup_pipelines.copies import copying
from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.health import health, second_look
from backup_pipelines.health.finding import Finding
from backup_pipelines.health.health import Health
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests import histories
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_receivers import HttpReceivers
from backup_pipelines_tests.histories import NOW, crm, put_backup

VARIABLE = "CRM_SECOND_STORE_URL"
SPEC = {"url_env": VARIABLE, "aws_prefix": "SECOND_"}

# A first contact may take 15 s; a look is of several requests at once, and the machine is busy.
SECONDS = 40


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty second store of crm."""
    store = Store((tmp_path / "second").as_uri())
    monkeypatch.setenv(VARIABLE, store.url)
    return store


def twice(**more: object) -> System:
    """The system crm with a second store."""
    return crm(second_store={**SPEC, **more})


def looked(store: Store, system: System) -> Health:
    """What `status` finds, with a look at the second store."""
    second = second_look.look(system, lambda: environment.second_store(system))
    return health.assess(store, system, NOW, None, second)


def guard(store: Store, system: System) -> Finding:
    """What the guard over the second store finds."""
    return histories.found(looked(store, system), "second_store")


def copy_manifest(first: Store, second: Store, backup_id: str) -> None:
    """Put a backup that is only a manifest into the second store too."""
    key = f"crm/backups/{backup_id}/manifest.json"
    second.put_new(key, first.get(key))


def test_without_one_nothing_is_said(store: Store) -> None:
    """A system with one store has one line, and no guard over another."""
    put_backup(store, 1)
    found = looked(store, crm())
    assert [one.name for one in found.destinations] == ["first"]
    assert "second_store" not in [one.guard for one in found.findings]


def test_a_variable_that_is_not_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second store that is configured and missing is a warning."""
    monkeypatch.delenv(VARIABLE, raising=False)
    found = guard(store, twice())
    assert (found.status, found.cause) == ("warning", "unset")
    assert f"{VARIABLE} is not set" in found.message


def test_both_stores_are_described(store: Store, second: Store) -> None:
    """Newest good backup, count, bytes and lag of each."""
    old, new = put_backup(store, 30), put_backup(store, 1)
    copy_manifest(store, second, old.id)
    found = looked(store, twice())
    first, other = found.destinations
    assert (first.newest, first.backups, first.lacking) == (new.id, 2, 0)
    assert (other.newest, other.backups, other.lacking) == (old.id, 1, 1)
    assert (other.url, other.lacking_since) == (second.url, new.created_at)
    assert 0 < other.bytes < first.bytes
    assert guard(store, twice()).status == "ok"
    document = found.document()["destinations"]
    assert isinstance(document, list)
    assert [one["name"] for one in document] == ["first", "second"]


def test_a_lag(store: Store, second: Store) -> None:
    """What is not copied within the period of the schedule and two hours is a warning."""
    put_backup(store, 49)
    assert guard(store, twice()).status == "ok"
    put_backup(store, 51)
    found = guard(store, twice())
    assert (found.status, found.cause) == ("warning", "lag")
    assert "lacks 2 backups for 2.1 days" in found.message
    kept = twice(retention=RetentionSpec(keep_last=1, floor=1).model_dump())
    assert guard(store, kept).numbers["lacking"] == 1
    assert second.url


def test_a_damaged_copy(store: Store, second: Store) -> None:
    """A copy that was found damaged is a warning, and the first store is as good as before."""
    entry = put_backup(store, 1)
    copy_manifest(store, second, entry.id)
    assert guard(store, twice()).status == "ok"
    verify.remember(second, entry, "a part is missing")
    found = guard(store, twice())
    assert (found.status, found.cause) == ("warning", entry.id)
    assert histories.found(looked(store, twice()), "intact").status == "ok"


def test_one_place_for_both_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A copy in the same place would be none."""
    monkeypatch.setenv(BACKUP_STORE_URL, store.url)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for url in (store.url + "/", (tmp_path / "link").as_uri()):
        monkeypatch.setenv(VARIABLE, url)
        with pytest.raises(Refused, match="names the same place as BACKUP_STORE_URL"):
            environment.second_store(twice())


def test_a_second_store_that_never_answers(
    store: Store,
    server: Server,
    make_database: Callable[[Server], Database],
    http_receivers: HttpReceivers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy and a look end by their timeouts; a backup and its status are not held up by them."""
    receiver = http_receivers.start("hang")
    monkeypatch.setenv(VARIABLE, "s3://bucket/p")
    monkeypatch.setenv("SECOND_AWS_ENDPOINT_URL", receiver.url())
    monkeypatch.setenv("SECOND_AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("SECOND_AWS_SECRET_ACCESS_KEY", "secret")
    system = whole_system("crm").model_copy(update={"second_store": twice().second_store})
    second = environment.second_store(system)
    database = make_database(server)
    database.run("CREATE TABLE t AS SELECT 1 AS id")
    first, ended = back_up(database.owner_url, store, system), dict[str, tuple[float, str]]()

    def timed(name: str, work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            began, said = time.monotonic(), ""
            try:
                said = str(work())
            except BackupError as error:
                said = str(error)
            ended[name] = (time.monotonic() - began, said)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def copy() -> object:
        done = copying.copy_missing(
            store, second, system, RetentionSpec(), operator="ann", report=ignore
        )
        return list(done)

    threads = [
        timed("copy", copy),
        timed("look", lambda: second_look.look(system, lambda: environment.second_store(system))),
    ]
    while not receiver.received:
        time.sleep(0.01)
    later = back_up(database.owner_url, store, system)
    assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(SECONDS)
    assert max(seconds for seconds, _ in ended.values()) < SECONDS
    assert all("did not answer in time" in said for _, said in ended.values())
    assert {entry.id for entry in catalog.backups(store, "crm")} == {first.id, later.id}
    now = later.created_at + timedelta(minutes=1)
    problem = second_look.SecondLook("s3://bucket/p", ended["look"][1])
    found = health.assess(store, system, now, None, problem)
    assert histories.found(found, "freshness").status == "ok"
    assert histories.found(found, "second_store").status == "warning"
    assert found.healthy
