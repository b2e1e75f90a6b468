"""One fault at a time: what is tried again, what is found, and what is left."""

from collections.abc import Callable, Generator, Sequence

import pytest

from backup_pipelines import catalog, state_log
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.retention import removal
from backup_pipelines.storage import s3
from backup_pipelines.storage import store as store_module
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import check, verify
from backup_pipelines_tests.fault_proxy import KINDS, FaultProxy, fault_proxy
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_restore import MakeSite
from backup_pipelines_tests.fix_s3 import S3Server
from backup_pipelines_tests.test_faults import HURRY
from backup_pipelines_tests.tiny_backups import keys, put_backup

SCHEMA = "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 300) g"

# None of these says that the request itself is wrong.
_PASSING = (
    "reset before the body",
    "reset within the body",
    "reset after the body",
    "500",
    "503 SlowDown",
    "answer cut off",
    "answer lost",
    "sent twice",
)

MAKE_DATABASE = Callable[[Server], Database]

_CHANGED = "byte of the answer changed"


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Generator[FaultProxy]:
    """A way to each server, to which later stores lead."""
    monkeypatch.setattr(store_module, "_UPLOAD_CHUNK", 64 * 1024)
    for name in ("_FIRST_RETRIES", "_LATER_RETRIES"):
        monkeypatch.setattr(s3, name, HURRY)
    with fault_proxy(s3_server, late_seconds=0) as proxy:
        proxy.server.use(monkeypatch)
        yield proxy


@pytest.fixture
def store(proxy: FaultProxy) -> Store:
    """An empty bucket behind the proxy."""
    return Store(f"s3://{proxy.server.bucket()}/p")


def once(kind: str, after: int = 0) -> Callable[[str, str], str]:
    """A fault of the request after so many."""
    kinds = iter([*[""] * after, kind])
    return lambda method, path: next(kinds, "")


def whenever(kind: str, *, method: str, ending: str) -> Callable[[str, str], str]:
    """A fault of all requests of this method for paths that end so."""
    return lambda asked, path: kind if asked == method and path.endswith(ending) else ""


def upload(store: Store, key: str) -> None:
    """An upload in four parts."""
    with store.writer(key) as sink:
        sink.write(bytes(200_000))


# What is done with a store, and which of its requests differ.
_USES: dict[str, tuple[Sequence[int], Callable[[Store, str], object]]] = {
    "get": ([0], lambda store, key: store.get("there")),
    "read": ([0, 1], lambda store, key: store.open_input("there").read()),
    "list": ([0], lambda store, key: [list(store.objects("")), store.folders("")]),
    "put": ([0, 1], lambda store, key: store.put_new(key, b"1234")),
    "delete": ([0], lambda store, key: store.delete([key, "nothing"])),
    # The start, a part, the end.
    "upload": ([1, 3, 6], upload),
}


@pytest.mark.parametrize("use", _USES)
def test_one_fault_is_survived(store: Store, proxy: FaultProxy, use: str) -> None:
    """Whatever a request meets once, the operation is done; only the start of an upload is not."""
    store.put_new("there", b"abc" * 1000)
    assert set(_PASSING) <= set(KINDS)
    requests, work = _USES[use]
    for number, kind in enumerate(_PASSING):
        for after in requests:
            # The answer that names an upload is not asked for again; nothing of it is stored.
            if (use, kind, after) == ("upload", "answer cut off", 1):
                continue
            key = f"{number}/{after}"
            proxy.pick = once(kind, after)
            work(store, key)
            proxy.pick = None
            assert store.exists(key) is (use in ("put", "upload"))
            assert use != "upload" or store.checksum(key)[0] == 200_000


def test_a_write_that_arrives_changed(store: Store, proxy: FaultProxy) -> None:
    """Neither server compares the checksum it gets: we compare its answer, and take it away."""
    store.put_new("first", b"1")
    proxy.pick = once("byte of the request changed", after=0 if store.is_write_once else 1)
    with pytest.raises(Failed, match="k reached the store with other bytes than were sent"):
        store.put_new("k", b"data")
    proxy.pick = None
    assert not store.exists("k")
    store.put_new("k", b"data")
    assert store.get("k") == b"data"


def test_clock_skew(store: Store, proxy: FaultProxy) -> None:
    """A server that finds our clock wrong is told of as such, at once."""
    store.put_new("first", b"1")
    proxy.pick = once("403 RequestTimeTooSkewed")
    with pytest.raises(Failed, match=r"RequestTimeTooSkewed\): this machine's clock is wrong"):
        store.get("first")


def test_a_manifest_whose_answers_get_lost(
    store: Store, proxy: FaultProxy, server: EmbeddedServer, make_database: MAKE_DATABASE
) -> None:
    """A backup that fails as it is sealed keeps its objects: the manifest may be there."""
    database = _filled(make_database, server)
    sent: list[str] = []

    def pick(method: str, path: str) -> str:
        if method == "PUT" and path.endswith("manifest.json"):
            sent.append(path)
        return "answer lost" if path in sent else ""

    proxy.pick = pick
    with pytest.raises(Failed, match="could not be sealed"):
        back_up(database.owner_url, store)
    proxy.pick = None
    [entry] = catalog.backups(store, "sample")
    assert verify(store, entry, report=ignore).read_again == ()


def test_a_manifest_that_never_arrives(
    store: Store, proxy: FaultProxy, server: EmbeddedServer, make_database: MAKE_DATABASE
) -> None:
    """What a backup that could not be sealed has left, the next one removes."""
    database = _filled(make_database, server)
    proxy.pick = whenever("reset before the body", method="PUT", ending="manifest.json")
    with pytest.raises(Failed, match="could not be sealed"):
        back_up(database.owner_url, store)
    proxy.pick = None
    assert catalog.backups(store, "sample") == []
    entry = back_up(database.owner_url, store)
    assert {key.split("/")[2] for key in keys(store, "sample")} == {entry.id}


def test_what_is_read_once_more(
    store: Store, proxy: FaultProxy, server: EmbeddedServer, make_database: MAKE_DATABASE
) -> None:
    """One changed answer is told and brands nothing; two are damage, until it reads well again."""
    entry = back_up(_filled(make_database, server).owner_url, store)
    proxy.pick = _first(_CHANGED, ending=".parquet")
    [line] = check(store, entry, report=ignore).read_again
    assert "has other bytes than were written" in line
    assert line.endswith("something changes bytes on their way")
    proxy.pick = whenever(_CHANGED, method="GET", ending=".parquet")
    with pytest.raises(Damaged, match="has other bytes than were written"):
        check(store, entry, report=ignore)
    proxy.pick = None
    assert set(catalog.states(store, "sample").damaged) == {entry.id}
    check(store, entry, report=ignore)
    assert catalog.states(store, "sample").damaged == {}


def test_rows_that_change_after_the_verification(
    store: Store, proxy: FaultProxy, server: EmbeddedServer, make_site: MakeSite
) -> None:
    """Rows that are read changed for the comparison end the restore, where no digest would tell."""
    site = make_site(server, SCHEMA, "ALTER TABLE t ADD PRIMARY KEY (id)")
    site.store = store
    entry, whole = site.back_up(), site.digests()
    site.run("UPDATE t SET note = 'x' WHERE id < 200")
    before = site.image()

    def report(line: str) -> None:
        if line.startswith("comparing"):
            proxy.pick = whenever(_CHANGED, method="GET", ending=".parquet")

    refused = 0
    for seed in range(6):
        proxy.pick = None
        with proxy.faulty(seed, rate=0):
            try:
                site.restore(entry, mode="upsert", report=report)
            except Failed:
                refused += 1
                assert site.image() == before
            else:
                # Some bytes of a footer say nothing.
                assert site.digests() == whole
                site.run("UPDATE t SET note = 'x' WHERE id < 200")
    assert refused > 2


def test_a_manifest_that_is_read_once_more(store: Store, proxy: FaultProxy) -> None:
    """One changed answer hides no backup, and no part that its manifest names."""
    entry = put_backup(store, 1)
    named = {part.key for part in entry.tables[0].parts}
    for number in range(5):
        proxy.pick = _first(_CHANGED, ending="manifest.json")
        assert catalog.listing(store, "crm").problems == {}, number
        proxy.pick = _first(_CHANGED, ending="manifest.json")
        assert named <= removal.in_use(store, "crm", "crm/"), number


def test_a_state_that_is_no_json(store: Store) -> None:
    """A note that was damaged in the store is told of by its address."""
    state = state_log.append(store, "crm", "removals", "x", "started", {"objects": {}})
    store.delete([state.key])
    store.put_new(state.key, b'{"objects": ')
    with pytest.raises(Damaged, match=rf"^{store.uri(state.key)} is not what was written"):
        state_log.content(store, state)


def _first(kind: str, *, ending: str) -> Callable[[str, str], str]:
    left = [kind]

    def pick(method: str, path: str) -> str:
        return left.pop() if left and method == "GET" and path.endswith(ending) else ""

    return pick


def _filled(make_database: MAKE_DATABASE, server: EmbeddedServer) -> Database:
    made = make_database(server)
    made.run(SCHEMA)
    return made
