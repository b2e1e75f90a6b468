"""Putting an archive back: each byte is checked before it counts, the manifest is written last."""

import re
import tarfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from backup_pipelines import layout, manifest, verify
from backup_pipelines.backup_id import BackupId
from backup_pipelines.copies import json_document
from backup_pipelines.copies.archive import END, RECOVERY, objects_of, pieces
from backup_pipelines.errors import BackupError, Damaged, Refused
from backup_pipelines.exporting import leftovers, sealing
from backup_pipelines.manifest import DdlSection, Document, Manifest, Part
from backup_pipelines.pace import Amount
from backup_pipelines.progress import Meter, Report
from backup_pipelines.retention import removal
from backup_pipelines.storage.store import Store

_MANIFEST = re.compile(r"[^/]+/backups/[^/]+/manifest\.json")

# Manifests have kilobytes for each table; more than this is none, and would fill the memory.
_LARGEST_MANIFEST = 1 << 30


@dataclass(frozen=True)
class Uploaded:
    """The backup that is in the store now."""

    entry: Manifest
    objects: int
    bytes: int
    kept: int
    """Objects that were there already, with the right bytes."""


@dataclass(frozen=True)
class _Archive:
    """An archive whose members are those of its manifest, in number, name and size."""

    stream: IO[bytes]
    entry: Manifest
    document: bytes
    begins: Mapping[str, int]
    """Where the content of each member begins."""


@dataclass
class _Work:
    store: Store
    archive: _Archive
    written: list[str] = field(default_factory=list[str])
    kept: int = 0


def upload(store: Store, system: str, file: Path, *, operator: str, report: Report) -> Uploaded:
    """Put the backup of an archive into the store, and verify it before it counts.

    Raises Refused for what is no archive of this system, or a backup that is there already;
    Damaged for one with other bytes than its manifest says. Neither leaves anything in the store.
    An upload that was cut off is continued by the next.
    """
    with _opened(file) as archive:
        entry = archive.entry
        _refuse_unfit(store, system, entry, file)
        work = _Work(store, archive)
        objects = objects_of(entry)
        try:
            if not store.exists(layout.started_key(system, entry.id)):
                leftovers.mark_started(store, system, entry.id, operator)
                work.written.append(layout.started_key(system, entry.id))
            total = Amount(bytes=sum(one.size_bytes for one in objects.values()))
            with Meter(f"{system}: uploading", report, total) as meter:
                for key, one in objects.items():
                    _put(work, key, one, meter)
            # Before the manifest, so that one that is not whole never was a backup.
            result = verify.verify(store, entry, report=report)
        except (Refused, Damaged):
            _take_back(work)
            raise
        sealing.seal(store, entry, archive.document)
        verify.remember(store, entry, None, operator=operator)
    return Uploaded(entry, result.objects, result.bytes, work.kept)


def _refuse_unfit(store: Store, system: str, entry: Manifest, file: Path) -> None:
    if entry.system != system:
        raise Refused(f"{file} is of {entry.system}, not of {system}: upload it there")
    if not BackupId.is_valid(entry.id):
        raise Refused(f"{file} is of {entry.id!r}, which is no backup id")
    if store.exists(layout.manifest_key(system, entry.id)):
        raise Refused(
            f"backup {entry.id} is already there; if it is damaged, delete it first, then upload "
            "again"
        )
    if entry.id in removal.unfinished(store, system):
        raise Refused(
            f"the removal of backup {entry.id} is not finished: run "
            f"backup-pipelines prune {system}, then upload again"
        )


def _put(work: _Work, key: str, one: DdlSection | Part | Document, meter: Meter) -> None:
    store, entry = work.store, work.archive.entry
    if store.exists(key):
        if store.checksum(key) == (one.size_bytes, one.sha256):
            work.kept += 1
            meter.add(bytes=one.size_bytes, what=key)
            return
        own = layout.backup_prefix(entry.system, entry.id)
        if not key.startswith(own) or key in removal.in_use(store, entry.system, own, but=entry.id):
            raise Refused(
                f"{store.uri(key)} has other bytes than the archive, and belongs to other "
                "backups too: verify those first"
            )
        store.delete([key])
    stream = work.archive.stream
    stream.seek(work.archive.begins[key])
    # Leaving the block by an exception publishes nothing.
    with store.writer(key) as out:
        for piece in pieces(stream, one.size_bytes):
            out.write(piece)
            meter.add(bytes=len(piece), what=key)
        if (out.size_bytes, out.sha256) != (one.size_bytes, one.sha256):
            raise Damaged(f"the archive is damaged: {key} has other bytes than its manifest says")
    work.written.append(key)


def _take_back(work: _Work) -> None:
    """Remove what was written; what cannot be removed, the next backup removes as a leftover."""
    store, system = work.store, work.archive.entry.system
    with suppress(BackupError):
        store.delete(work.written)
        begin = len(layout.backups_prefix(system))
        for backup_id in sorted({key[begin:].partition("/")[0] for key in work.written}):
            prefix = layout.backup_prefix(system, backup_id)
            if next(iter(store.objects(prefix)), None) is None:
                store.delete_folder(prefix)


@contextmanager
def _opened(file: Path) -> Generator[_Archive]:
    """The archive in a file, after a look at all members' names, kinds and sizes."""
    try:
        stream = file.open("rb")
    except OSError as error:
        raise Refused(f"{file} cannot be read ({error.strerror})") from error
    with stream:
        try:
            _refuse_document(stream, file)
            found = _members(stream, file)
            yield _checked(stream, file, found)
        except OSError as error:
            raise Damaged(f"{file} cannot be read to its end ({error.strerror})") from error


def _refuse_document(stream: IO[bytes], file: Path) -> None:
    if stream.read(len(json_document.BEGINS)) == json_document.BEGINS:
        raise Refused(
            f"{file} is a JSON document of rows, which has no DDL and no digests to restore by: "
            "upload an archive, which `download` makes without --format json"
        )
    stream.seek(0)


def _members(stream: IO[bytes], file: Path) -> dict[str, tarfile.TarInfo]:
    """The members by name; raises Refused for what no archive has, Damaged for a cut one."""
    found: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            while (info := tar.next()) is not None:
                plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
                if not plain:
                    raise Refused(f"{file} has the member {info.name!r}, which is no plain file")
                if info.name in found:
                    raise Refused(f"{file} has the member {info.name!r} twice")
                found[info.name] = info
            end = tar.offset
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise Refused(
            f"{file} is no archive of a backup, or was cut or damaged ({error})"
        ) from error
    # What tarfile cannot read in the middle it takes for the end.
    stream.seek(end)
    if stream.read(len(END)) != END or any(any(rest) for rest in pieces(stream, _rest(stream))):
        raise Damaged(f"{file} is damaged, or was cut: it does not end as archives do")
    return found


def _rest(stream: IO[bytes]) -> int:
    here = stream.tell()
    size = stream.seek(0, 2)
    stream.seek(here)
    return size - here


def _checked(stream: IO[bytes], file: Path, found: dict[str, tarfile.TarInfo]) -> _Archive:
    """The archive, if its members are those that its manifest names; the seal is checked too."""
    manifests = [name for name in found if _MANIFEST.fullmatch(name)]
    if len(manifests) != 1:
        raise Refused(f"{file} has {len(manifests)} manifests of backups, and an archive has one")
    info = found[manifests[0]]
    if info.size > _LARGEST_MANIFEST:
        raise Refused(f"{file} has a manifest of {info.size:,} bytes, which is none")
    stream.seek(info.offset_data)
    document = stream.read(info.size)
    entry = manifest.parse(document, f"{file}: {info.name}")
    if info.name != layout.manifest_key(entry.system, entry.id):
        raise Refused(f"{file} has the manifest of {entry.system} {entry.id} as {info.name!r}")
    objects = objects_of(entry)
    if foreign := sorted(found.keys() - objects.keys() - {info.name, RECOVERY}):
        raise Refused(f"{file} has the member {foreign[0]!r}, which its manifest does not name")
    if lacking := sorted(objects.keys() - found.keys()):
        raise Damaged(f"{file} lacks {len(lacking)} of its objects, {lacking[0]} for one")
    for key, one in objects.items():
        if found[key].size != one.size_bytes:
            raise Damaged(
                f"{file} is damaged: {key} has {found[key].size:,} bytes instead of "
                f"{one.size_bytes:,}"
            )
    begins = {name: each.offset_data for name, each in found.items()}
    return _Archive(stream, entry, document, begins)
