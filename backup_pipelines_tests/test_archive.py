"""Downloading a backup as one file and uploading it: only what is whole ever counts as a backup."""

import fcntl
import io
import random
import resource
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.copies import archive
from backup_pipelines.copies.archive_upload import Uploaded, upload
from backup_pipelines.errors import BackupError, Damaged, Failed, NewerFormat, Refused
from backup_pipelines.exporting import leftovers
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.object_writer import ObjectWriter
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_damage import Victim
from backup_pipelines_tests.fix_restore import SOAK_SEED
from backup_pipelines_tests.fix_s3 import Place
from backup_pipelines_tests.forging import resealed
from backup_pipelines_tests.tiny_backups import Killed

FLIPS = 200
CUTS = 60
RESUMES = 40


def download(victim: Victim, to: Path) -> archive.Downloaded:
    """The archive of the first backup."""
    return archive.download(victim.store, victim.entry, to, report=ignore)


@pytest.fixture(scope="module")
def made(victim: Victim, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an archive."""
    to = tmp_path_factory.mktemp("archive") / "backup.tar"
    download(victim, to)
    return to.read_bytes()


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """Another store, which is empty."""
    return Store((tmp_path / "other").as_uri())


@pytest.fixture
def send(victim: Victim, other: Store, tmp_path: Path) -> Callable[..., Uploaded]:
    """Uploads these bytes as a file into the other store."""

    def upload_bytes(data: bytes, *, store: Store = other, system: str = "") -> Uploaded:
        file = tmp_path / "sent.tar"
        file.write_bytes(data)
        name = system or victim.entry.system
        return upload(store, name, file, operator="test", report=ignore)

    return upload_bytes


def contents(store: Store, system: str = "sample") -> dict[str, bytes]:
    """All objects of a system's backups, without the markers, which are for people."""
    found = (item.key for item in store.objects(layout.backups_prefix(system)))
    return {key: store.get(key) for key in found if not key.endswith("/started.json")}


def expected(victim: Victim) -> dict[str, bytes]:
    """The objects of the first backup."""
    return {key: victim.read(key) for key in victim.keys}


def assert_nothing(store: Store) -> None:
    """No object of any backup, and no folder that looks like one."""
    assert contents(store) == {}
    assert leftovers.unsealed(store, "sample") == []
    assert catalog.ids(store, "sample") == []


def tar_of(members: Mapping[str, bytes]) -> bytes:
    """A tar as others make it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_round_trip_into_any_store(victim: Victim, made: bytes, place: Place, send: Any) -> None:
    """What was downloaded from one store is, uploaded into another, the same whole backup."""
    done = send(made, store=place.store)
    assert (done.objects, done.kept) == (len(victim.keys) - 1, 0)
    assert contents(place.again()) == expected(victim)
    (row,) = catalog.listing(place.again(), "sample").entries
    assert (row.manifest, row.status) == (victim.entry, "completed")
    assert verify(place.again(), row.manifest, report=ignore).objects == done.objects
    with pytest.raises(Refused, match="is already there"):
        send(made, store=place.store)
    if place.folder is None:
        back = io.BytesIO()
        for chunk in place.store.chunks(victim.manifest):
            back.write(chunk)
        assert back.getvalue() == victim.read(victim.manifest)


def test_an_uploaded_backup_restores(victim: Victim, made: bytes, other: Store, send: Any) -> None:
    """A restore of it proves every table equal."""
    entry = send(made).entry
    result = restore_into_empty(other, entry, victim.target, report=ignore)
    assert (result.rows, result.skipped) == (victim.entry.records_count, ())


def test_any_tar_tool_unpacks_it_to_the_keys(victim: Victim, made: bytes, tmp_path: Path) -> None:
    """Unpacked it is the folder that RECOVERY.md starts from, which is in it."""
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path, filter="data")
    assert names[0] == victim.manifest
    assert [name.rpartition("/")[2] for name in names[1:3]] == ["RECOVERY.md", "restore.py"]
    assert sorted(names) == victim.keys
    assert {key: (tmp_path / key).read_bytes() for key in victim.keys} == expected(victim)


def test_the_archive_of_a_backup_without_documents(
    victim: Victim, other: Store, send: Any, tmp_path: Path
) -> None:
    """An older backup, which has no RECOVERY.md, gets a short text, and is taken back."""
    document = victim.document()
    for one in document.pop("documents"):
        (victim.folder / one["key"]).rename(tmp_path / one["key"].rpartition("/")[2])
    to = tmp_path / "backup.tar"
    with victim.changed({victim.manifest: resealed(document)}):
        try:
            old = victim.load()
            done = archive.download(victim.store, old, to, report=ignore)
        finally:
            for one in victim.entry.documents:
                (tmp_path / one.key.rpartition("/")[2]).rename(victim.folder / one.key)
    with tarfile.open(to) as tar:
        said = tar.extractfile(archive.RECOVERY)
        assert said is not None and victim.entry.id in said.read().decode()
    assert done.objects == len(victim.keys) - 3
    assert send(to.read_bytes()).entry == old


def test_one_that_was_packed_again_is_taken(victim: Victim, other: Store, send: Any) -> None:
    """The order of the members and the tool that packed them do not matter."""
    members = {key: victim.read(key) for key in reversed(victim.keys)}
    send(tar_of(members))
    assert contents(other) == expected(victim)


def test_cut_archives(victim: Victim, made: bytes, other: Store, send: Any) -> None:
    """An archive that was cut anywhere is none, and nothing of it stays."""
    chosen = random.Random(SOAK_SEED)
    lengths = [0, 1, 512, len(made) - 1, len(made) - 512, len(made) - 1024]
    lengths += [chosen.randrange(len(made)) for _ in range(CUTS)]
    for length in lengths:
        with pytest.raises((Refused, Damaged)):
            send(made[:length])
        assert_nothing(other)


def test_flipped_bytes(victim: Victim, made: bytes, other: Store, send: Any) -> None:
    """A flipped byte is found, or lay where no reader looks; what counts is always as it was."""
    chosen, found = random.Random(SOAK_SEED), 0
    for _ in range(FLIPS):
        data, at = bytearray(made), chosen.randrange(len(made))
        data[at] ^= 1 << chosen.randrange(8)
        try:
            entry = send(bytes(data)).entry
        except (Refused, Damaged, NewerFormat):
            found += 1
            assert_nothing(other)
        else:
            assert contents(other) == expected(victim), at
            other.delete_folder(layout.backup_prefix("sample", entry.id))
    assert found > FLIPS / 2


def test_every_flip_in_an_object_is_found(
    victim: Victim, made: bytes, other: Store, send: Any
) -> None:
    """Inside the manifest and the objects no byte can change."""
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        for info in tar.getmembers():
            for at in (0, info.size // 2, info.size - 1):
                data = bytearray(made)
                data[info.offset_data + at] ^= 1
                with pytest.raises((Damaged, NewerFormat)):
                    send(bytes(data))
                assert_nothing(other)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "sample/backups/../x", "extra", "sample/audit/1.json"]
)
def test_foreign_members(victim: Victim, other: Store, send: Any, name: str) -> None:
    """A member that the manifest does not name is refused, wherever it points."""
    with pytest.raises(Refused, match="which its manifest does not name"):
        send(tar_of({**expected(victim), name: b"x"}))
    assert_nothing(other)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_members_that_are_no_files(victim: Victim, other: Store, send: Any, kind: bytes) -> None:
    """Links and devices are refused, also under a name that the manifest has."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for key in victim.keys:
            info, data = tarfile.TarInfo(key), victim.read(key)
            info.size = len(data)
            if key == victim.keys[0]:
                info.type, info.linkname, info.size = kind, "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(data) if info.size else None)
    with pytest.raises(Refused, match="which is no plain file"):
        send(out.getvalue())
    assert_nothing(other)


def test_members_twice_and_missing(victim: Victim, other: Store, send: Any) -> None:
    """Each object is there once: a second one is refused, a missing one is damage."""
    out = io.BytesIO(tar_of(expected(victim)))
    with tarfile.open(fileobj=out, mode="a") as tar:
        tar.addfile(tarfile.TarInfo(victim.keys[0]), io.BytesIO())
    with pytest.raises(Refused, match="twice"):
        send(out.getvalue())
    for key in victim.keys:
        held = {name: data for name, data in expected(victim).items() if name != key}
        with pytest.raises((Refused, Damaged), match=r"lacks 1 of its objects|0 manifests"):
            send(tar_of(held))
    assert_nothing(other)


def test_another_systems_archive(made: bytes, other: Store, send: Any) -> None:
    """A backup goes to the system that it is of, and to no other."""
    with pytest.raises(Refused, match="is of sample, not of crm"):
        send(made, system="crm")
    assert contents(other, "crm") == {}


@pytest.mark.parametrize(
    "key",
    [
        "sample/backups/20260101T000000Z-manual-000001/manifest.json",
        "sample/backups/../../etc/schema/pre-data.sql",
        "crm/backups/20260101T000000Z-manual-000001/schema/pre-data.sql",
        "sample/audit/000000000001.json",
        "sample/backups/20260101T000000Z-manual-000001/data/../part-00000.parquet",
    ],
)
def test_a_manifest_that_names_what_is_no_backups(
    victim: Victim, other: Store, send: Any, key: str
) -> None:
    """A forged manifest, sealed anew, cannot have other objects written than a backup has."""
    document = victim.document()
    old = document["ddl"][0]["key"]
    document["ddl"][0]["key"] = key
    members = {**expected(victim), victim.manifest: resealed(document), key: victim.read(old)}
    del members[old]
    said = r"which is no object of sample's backups|has 2 manifests"
    with pytest.raises((Refused, Damaged), match=said):
        send(tar_of(members))
    assert [item.key for item in other.objects("")] == []


def test_a_forged_manifest_never_counts(victim: Victim, other: Store, send: Any) -> None:
    """What the bytes of the objects do not bear out is found before there is a backup."""
    document = victim.document()
    table = next(t for t in document["tables"] if t["parts"])
    table["parts"][0]["rows"] += 1
    with pytest.raises(Damaged, match="do not restore it"):
        send(tar_of({**expected(victim), victim.manifest: resealed(document)}))
    assert_nothing(other)


def shared(victim: Victim, folder: str) -> dict[str, bytes]:
    """The backup as if one of its parts lay in another backup's folder."""
    document, members = victim.document(), expected(victim)
    part = next(t for t in document["tables"] if t["parts"])["parts"][0]
    old, new = part["key"], part["key"].replace(victim.entry.id, folder)
    part["key"] = new
    members[new] = members.pop(old)
    members[victim.manifest] = resealed(document)
    return members


def test_parts_in_another_backups_folder(victim: Victim, other: Store, send: Any) -> None:
    """They are written where they are missing, kept where they are, and never replaced."""
    folder = "20250101T000000Z-manual-000001"
    members = shared(victim, folder)
    key = next(name for name in members if folder in name)
    other.put_new(key, b"other bytes")
    with pytest.raises(Refused, match="belongs to other backups too"):
        send(tar_of(members))
    assert contents(other) == {key: b"other bytes"}
    other.delete([key])
    assert send(tar_of(members)).kept == 0
    assert contents(other) == members
    other.delete_folder(layout.backup_prefix("sample", victim.entry.id))
    assert send(tar_of(members)).kept == 1


class Cut(Store):
    """A store whose user is killed before the n-th object is written (from 0)."""

    def __init__(self, url: str, at: int) -> None:
        super().__init__(url)
        self._left = at

    def put_new(self, key: str, data: bytes) -> None:
        self._count()
        super().put_new(key, data)

    def writer(self, key: str) -> ObjectWriter:
        self._count()
        return super().writer(key)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


def test_a_killed_upload_goes_on(victim: Victim, made: bytes, other: Store, send: Any) -> None:
    """Killed before any of its writes it is no backup, and the next upload completes it."""
    # The marker, the objects, the manifest.
    for at in range(len(victim.keys) + 1):
        with pytest.raises(Killed):
            send(made, store=Cut(other.url, at))
        assert catalog.backups(other, "sample") == []
        if at > 1:
            key = next(k for k in sorted(contents(other)))
            path = Path(other.url.removeprefix("file://")) / key
            path.write_bytes(b"half of i")
        assert send(made).kept == max(0, at - 2)
        assert contents(other) == expected(victim)
        other.delete_folder(layout.backup_prefix("sample", victim.entry.id))


def test_a_cut_download_goes_on(victim: Victim, made: bytes, tmp_path: Path) -> None:
    """Wherever it was cut, and whatever its end has become, it ends as an uninterrupted one."""
    chosen, to = random.Random(SOAK_SEED), tmp_path / "backup.tar"
    part = tmp_path / "backup.tar.part"
    head = archive.members(victim.entry, victim.read(victim.manifest))[0].span
    for number in range(RESUMES):
        length = chosen.randrange(len(made) + 1)
        there = bytearray(made[:length])
        if number % 2 and length > head:
            there[chosen.randrange(head, length)] ^= 1
        part.write_bytes(there)
        done = download(victim, to)
        assert to.read_bytes() == made
        assert done.kept <= length
        assert not part.exists()
        to.unlink()
    part.write_bytes(made)
    assert download(victim, to).kept == len(made) - len(archive.END)


def test_what_is_in_the_way_of_a_download(victim: Victim, tmp_path: Path) -> None:
    """A file, another backup's unfinished one, no folder: refused, and left as it was."""
    to, part = tmp_path / "backup.tar", tmp_path / "backup.tar.part"
    to.write_bytes(b"mine")
    with pytest.raises(Refused, match="exists"):
        download(victim, to)
    to.unlink()
    part.write_bytes(b"something else")
    with pytest.raises(Refused, match="no unfinished download of this backup"):
        download(victim, to)
    assert part.read_bytes() == b"something else"
    with pytest.raises(Refused, match="cannot be written"):
        download(victim, tmp_path / "nowhere" / "backup.tar")
    assert [path.name for path in tmp_path.iterdir()] == [part.name]


def test_a_full_disk_and_two_at_once(
    victim: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room nothing is begun; of two downloads of one file the second is refused."""
    to, part = tmp_path / "backup.tar", tmp_path / "backup.tar.part"
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(Refused, match="its disk has 1,000: choose another place"):
            download(victim, to)
    assert list(tmp_path.iterdir()) == []
    with part.open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another download is writing"):
            download(victim, to)
    assert download(victim, to).kept == 0


def test_a_file_that_cannot_grow(victim: Victim, made: bytes, tmp_path: Path) -> None:
    """A write that fails half-way is one sentence, and the next download goes on from there."""
    to, limits = tmp_path / "backup.tar", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(made) * 3 // 4 // 512 * 512, limits[1]))
    try:
        with pytest.raises(Failed, match="the same download goes on from there"):
            download(victim, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not to.exists()
    assert download(victim, to).kept > 0
    assert to.read_bytes() == made


def test_a_damaged_object_makes_no_archive(victim: Victim, tmp_path: Path) -> None:
    """No file has the final name, and once the object is put right the download goes on."""
    to, key = tmp_path / "backup.tar", victim.keys[-1]
    good = victim.read(key)
    for bad in (good[:-1], good + b"x", good[:-1] + bytes([good[-1] ^ 1]), None):
        with victim.changed({key: bad}), pytest.raises(BackupError) as caught:
            download(victim, to)
        assert isinstance(caught.value, (Damaged, NewerFormat))
        assert not to.exists()
    download(victim, to)
    assert to.stat().st_mode & 0o077 == 0
