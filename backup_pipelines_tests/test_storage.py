"""The object store: what is written once, what a failure publishes, what folders hold."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_pipelines.errors import Damaged, Failed, Refused
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_s3 import Place

_WORD = st.text("abz019_-.", min_size=1, max_size=12).filter(lambda s: s.strip("."))


@pytest.fixture
def store(place: Place) -> Store:
    """An empty store of each kind."""
    return place.store


def test_put_new_never_overwrites(store: Store, place: Place) -> None:
    """An object is written once; a second write is refused and changes nothing."""
    store.put_new("a/b.json", b"one")
    for again in (store, place.again()):
        for data in (b"two", b"one"):
            with pytest.raises(Failed, match=r"a/b\.json exists already"):
                again.put_new("a/b.json", data)
    assert store.get("a/b.json") == b"one"


def test_a_writer_never_overwrites(store: Store) -> None:
    """A stream into an object that exists is refused before its first byte."""
    store.put_new("a", b"one")
    with pytest.raises(Failed, match="a exists already"), store.writer("a"):
        pytest.fail("the writer was opened")
    assert store.get("a") == b"one"


@settings(
    # Some of these are requests to a server; a failing key is found all the same.
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(key=st.lists(_WORD, min_size=1, max_size=4).map("/".join), data=st.binary(max_size=500))
def test_what_is_put_is_got(place: Place, key: str, data: bytes) -> None:
    """Any object is read back as it was written, by every way of reading."""
    store = Store(f"{place.store.url}/{hashlib.sha256(key.encode()).hexdigest()}")
    store.delete([key])
    store.put_new(key, data)
    assert store.get(key) == b"".join(store.chunks(key)) == data
    assert store.open_input(key).read() == data
    assert store.checksum(key) == (len(data), hashlib.sha256(data).hexdigest())
    assert store.exists(key)
    assert [(found.key, found.size_bytes) for found in store.objects("")] == [(key, len(data))]


@pytest.mark.parametrize("size", [0, 1, 9 * 1024 * 1024, 20 * 1024 * 1024])
def test_a_writer_streams_and_counts(store: Store, size: int) -> None:
    """What passes through a writer is published whole at the end, with its size and hash."""
    data = os.urandom(size)
    with store.writer("big") as sink:
        for start in range(0, size, 1_000_003):
            sink.write(data[start : min(start + 1_000_003, size)])
        assert not store.exists("big")
    assert store.checksum("big") == (size, sink.sha256) == (sink.size_bytes, sink.sha256)
    assert sink.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (0, ValueError),
        (10, KeyboardInterrupt),
        (9 * 1024 * 1024, ValueError),
        (9 * 1024 * 1024, KeyboardInterrupt),
        (30 * 1024 * 1024, GeneratorExit),
    ],
)
def test_an_exception_publishes_nothing(
    store: Store, place: Place, size: int, error: type[BaseException]
) -> None:
    """A writer that is left by an exception leaves no object, staging file or broken upload."""
    with pytest.raises(error), store.writer("folder/big") as sink:
        sink.write(b"x" * size)
        raise error
    assert not store.exists("folder/big")
    assert place.stored() == []


def test_a_failed_parquet_file_is_not_published(store: Store, place: Place) -> None:
    """pyarrow closes its file when it fails; that publishes nothing."""
    schema = pa.schema([("a", pa.int64())])
    with (
        pytest.raises(ZeroDivisionError),
        store.writer("t.parquet") as sink,
        pq.ParquetWriter(sink, schema) as writer,
    ):
        writer.write_batch(pa.RecordBatch.from_pydict({"a": [1, 2, 3]}, schema=schema))
        _ = 1 / 0
    assert place.stored() == []


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.get("no"),
        lambda store: list(store.chunks("no")),
        lambda store: store.checksum("no"),
        lambda store: store.open_input("no"),
    ],
)
def test_missing_objects(store: Store, read: Callable[[Store], object]) -> None:
    """Reading what is not there is damage, and names the address."""
    assert not store.exists("no")
    with pytest.raises(Damaged, match=rf"^{store.url}/no is missing$"):
        read(store)


def test_folders_and_their_removal(store: Store) -> None:
    """Folders are found by name, and one goes with everything in it and nothing beside it."""
    for key in ("s/backups/b/x", "s/backups/b/deep/y", "s/backups/a/x", "s/backups/bb/x", "t/z"):
        store.put_new(key, b"1")
    assert store.folders("s/backups/") == ["a", "b", "bb"]
    assert store.folders("none/") == []
    assert store.delete_folder("s/backups/b/") == 2
    assert store.delete_folder("s/backups/none/") == 0
    assert store.folders("s/backups/") == ["a", "bb"]
    assert {found.key for found in store.objects("")} == {"s/backups/a/x", "s/backups/bb/x", "t/z"}
    store.delete(["t/z", "t/z"])
    store.delete(["t/z"])
    store.delete([])
    assert not store.exists("t/z")


def test_a_folder_goes_with_its_staging_files(tmp_path: Path) -> None:
    """What a killed writer left in a local folder, which no listing shows, goes as well."""
    store = Store(tmp_path.as_uri())
    staged = tmp_path / "s" / "backups" / "c"
    staged.mkdir(parents=True)
    (staged / "x#1").write_bytes(b"half")
    assert store.folders("s/backups/") == ["c"]
    assert store.delete_folder("s/backups/c/") == 0
    assert store.folders("s/backups/") == []


def test_a_disk_that_fails(tmp_path: Path) -> None:
    """What the disk answers becomes one sentence with the object's address."""
    store = Store(tmp_path.as_uri())
    (tmp_path / "file").write_bytes(b"not a folder")
    with pytest.raises(Failed, match=r"the store failed at file:///.*/file/x"):
        store.put_new("file/x", b"1")
    with (
        pytest.raises(Failed, match=r"the store failed at file:///.*/file/y"),
        store.writer("file/y") as sink,
    ):
        sink.write(b"1")
    with pytest.raises(Failed, match="the store failed at"):
        Store((tmp_path / "file" / "below").as_uri())


@pytest.mark.parametrize("url", ["", "/var/backups", "ftp://host/x", "s3://", "file://"])
def test_urls_that_are_no_store(url: str) -> None:
    """A URL of another kind is refused with an example of each kind."""
    with pytest.raises(Refused, match="file:///folder or s3://bucket/prefix"):
        Store(url)


def test_a_folder_with_odd_characters(tmp_path: Path) -> None:
    """Blanks, percent signs and letters beyond ASCII in the store's own path are kept."""
    store = Store((tmp_path / "mes données 100%").as_uri())
    store.put_new("a", b"1")
    assert (tmp_path / "mes données 100%" / "a").read_bytes() == b"1"


def test_a_new_folder_is_private_and_one_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    """A backup is all rows of a database; who may look into an existing folder was decided."""
    Store((tmp_path / "new").as_uri())
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir(mode=0o750)
    Store((tmp_path / "shared").as_uri())
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o750
