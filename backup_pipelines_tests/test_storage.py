"""The object store: what is written once, what a failure publishes, what folders hold."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_pipelines.errors import Damaged, Failed, Refused
from backup_pipelines.storage.store import Store

_WORD = st.text("abz019_-.", min_size=1, max_size=12).filter(lambda s: s.strip("."))


def files(folder: Path) -> list[Path]:
    """Every file on disk, staging files included."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_put_new_never_overwrites(store: Store) -> None:
    """An object is written once; a second write is refused and changes nothing."""
    store.put_new("a/b.json", b"one")
    with pytest.raises(Failed, match=r"a/b\.json exists already"):
        store.put_new("a/b.json", b"two")
    assert store.get("a/b.json") == b"one"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(key=st.lists(_WORD, min_size=1, max_size=4).map("/".join), data=st.binary(max_size=500))
def test_what_is_put_is_got(tmp_path: Path, key: str, data: bytes) -> None:
    """Any object is read back as it was written, by every way of reading."""
    store = Store((tmp_path / hashlib.sha256(key.encode()).hexdigest()).as_uri())
    store.delete([key])
    store.put_new(key, data)
    assert store.get(key) == b"".join(store.chunks(key)) == data
    assert store.open_input(key).read() == data
    assert store.checksum(key) == (len(data), hashlib.sha256(data).hexdigest())
    assert store.exists(key)
    assert [(found.key, found.size_bytes) for found in store.objects("")] == [(key, len(data))]


@pytest.mark.parametrize("size", [0, 1, 9 * 1024 * 1024, 30 * 1024 * 1024])
def test_a_writer_streams_and_counts(store: Store, size: int) -> None:
    """What passes through a writer is published whole at the end, with its size and hash."""
    data = bytes(range(256)) * (size // 256 + 1)
    with store.writer("big") as sink:
        for start in range(0, size, 1_000_003):
            sink.write(data[start : min(start + 1_000_003, size)])
        assert not store.exists("big")
    assert store.checksum("big") == (size, sink.sha256) == (sink.size_bytes, sink.sha256)
    assert sink.sha256 == hashlib.sha256(data[:size]).hexdigest()


@pytest.mark.parametrize("size", [0, 10, 9 * 1024 * 1024, 30 * 1024 * 1024])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_publishes_nothing(
    store: Store, tmp_path: Path, size: int, error: type[BaseException]
) -> None:
    """A writer that is left by an exception leaves no object and no staging file."""
    with pytest.raises(error), store.writer("folder/big") as sink:
        sink.write(b"x" * size)
        raise error
    assert not store.exists("folder/big")
    assert files(tmp_path) == []


def test_a_failed_parquet_file_is_not_published(store: Store, tmp_path: Path) -> None:
    """pyarrow closes its file when it fails; that publishes nothing."""
    schema = pa.schema([("a", pa.int64())])
    with (
        pytest.raises(ZeroDivisionError),
        store.writer("t.parquet") as sink,
        pq.ParquetWriter(sink, schema) as writer,
    ):
        writer.write_batch(pa.RecordBatch.from_pydict({"a": [1, 2, 3]}, schema=schema))
        _ = 1 / 0
    assert files(tmp_path) == []


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
    with pytest.raises(Damaged, match=r"file:///.*/no is missing"):
        read(store)


def test_folders_and_their_removal(store: Store, tmp_path: Path) -> None:
    """Folders are found by name, and one goes with everything in it, staging files too."""
    for key in ("s/backups/b/x", "s/backups/b/deep/y", "s/backups/a/x", "s/backups/bb/x", "t/z"):
        store.put_new(key, b"1")
    staged = tmp_path / "store" / "s" / "backups" / "c"
    staged.mkdir()
    (staged / "x#1").write_bytes(b"half")
    assert store.folders("s/backups/") == ["a", "b", "bb", "c"]
    assert store.folders("none/") == []
    assert store.delete_folder("s/backups/b/") == 2
    assert store.delete_folder("s/backups/c/") == 0
    assert store.delete_folder("s/backups/none/") == 0
    assert store.folders("s/backups/") == ["a", "bb"]
    assert {found.key for found in store.objects("")} == {"s/backups/a/x", "s/backups/bb/x", "t/z"}
    store.delete(["t/z", "t/z"])
    assert not store.exists("t/z")


def test_a_store_that_fails(store: Store, tmp_path: Path) -> None:
    """What the disk or the service answers becomes one sentence with the object's address."""
    (tmp_path / "store" / "file").write_bytes(b"not a folder")
    with pytest.raises(Failed, match=r"the store failed at file:///.*/file/x"):
        store.put_new("file/x", b"1")
    with (
        pytest.raises(Failed, match=r"the store failed at file:///.*/file/y"),
        store.writer("file/y") as sink,
    ):
        sink.write(b"1")
    with pytest.raises(Failed, match="the store failed at"):
        Store((tmp_path / "store" / "file" / "below").as_uri())


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
