"""One file with a whole backup: how it is laid out, and how a download makes it.

An uncompressed tar: the manifest first, then every object under its key, RECOVERY.md and restore.py
before the others. Each byte of it follows from the manifest and the objects, so that a download
can go on where it broke off.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backup_pipelines import layout, manifest
from backup_pipelines.errors import Damaged, Failed, Refused
from backup_pipelines.manifest import DdlSection, Document, Manifest, Part
from backup_pipelines.pace import Amount
from backup_pipelines.progress import Meter, Report
from backup_pipelines.storage.store import Store

RECOVERY = "RECOVERY.txt"
"""The member that is for people where a backup is so old that it has no RECOVERY.md."""

END = bytes(2 * tarfile.BLOCKSIZE)
"""What a tar ends with; a file without it was cut."""

PART_SUFFIX = ".part"
"""What an unfinished download is called."""

# As the store's: few calls, flat memory.
_CHUNK = 4 * 1024 * 1024

# Of what today's backups say themselves, in RECOVERY.md.
_RECOVERY_TEXT = """\
This file is one whole backup of the system {system}: {id},
of {snapshot_at} (UTC), made by backup_pipelines {version}.

Put it back into a store, from where it can be restored:
    backup-pipelines upload {system} FILE
    backup-pipelines restore {system} {id} --confirm CONFIRM

Without backup_pipelines: docs/recovery.md of it, "By hand".
"""


@dataclass(frozen=True)
class Member:
    """One file in an archive; `data` where it does not come from the store as an object."""

    name: str
    size_bytes: int
    sha256: str
    header: bytes
    data: bytes | None = None

    @property
    def padding(self) -> bytes:
        """What fills the last block."""
        return bytes(-self.size_bytes % tarfile.BLOCKSIZE)

    @property
    def span(self) -> int:
        """Bytes that it takes in the file."""
        return len(self.header) + self.size_bytes + len(self.padding)


@dataclass(frozen=True)
class Downloaded:
    """The file that was made."""

    file: Path
    objects: int
    bytes: int
    kept: int
    """Bytes that an interrupted download had left, and that were good."""


def objects_of(entry: Manifest) -> Mapping[str, DdlSection | Part | Document]:
    """What a manifest names, by key; raises Damaged for a key that no backup of its system has."""
    found: dict[str, DdlSection | Part | Document] = {}
    for one in entry.objects:
        if not layout.is_content_key(entry.system, one.key):
            raise Damaged(
                f"the manifest of {entry.id} names {one.key}, which is no object of "
                f"{entry.system}'s backups"
            )
        if one.key in found:
            raise Damaged(f"the manifest of {entry.id} names {one.key} twice")
        found[one.key] = one
    return found


def members(entry: Manifest, document: bytes) -> list[Member]:
    """All files of a backup's archive in their order; `document` is the manifest as it is stored.

    Raises Damaged as `objects_of` does.
    """
    found = [_in_hand(entry, layout.manifest_key(entry.system, entry.id), document)]
    if not entry.documents:
        found.append(_in_hand(entry, RECOVERY, _recovery_text(entry)))
    return found + [
        Member(key, one.size_bytes, one.sha256, _header(entry, key, one.size_bytes))
        for key, one in objects_of(entry).items()
    ]


def download(store: Store, entry: Manifest, to: Path, *, report: Report) -> Downloaded:
    """Make one file of a backup, every object checked on its way.

    Raises Refused when `to` exists, its disk is too small or another download writes it; Damaged
    when an object is not as the manifest says. Until all is written it is called `to`.part.
    """
    _refuse_existing(to)
    if not to.parent.is_dir():
        raise Refused(
            f"{to} cannot be written: make the folder {to.parent} first, or choose another"
        )
    key = layout.manifest_key(entry.system, entry.id)
    document = store.get(key)
    content = members(manifest.parse(document, key), document)
    total = sum(member.span for member in content) + len(END)
    # Around the file, whose closing writes once more what could not be written.
    with _disk_errors(to), _own_part(to, total) as out:
        kept, start = _kept(out, content, to)
        out.truncate(start)
        out.seek(start)
        title = f"{entry.system}: downloading"
        with Meter(title, report, Amount(bytes=total), already=Amount(bytes=start)) as meter:
            for member in content[kept:]:
                _write(store, member, out, meter)
            out.write(END)
            meter.add(bytes=len(END))
        out.flush()
        os.fsync(out.fileno())
        # Again, since it has taken a while.
        _refuse_existing(to)
        _part_of(to).rename(to)
    return Downloaded(to, len(objects_of(entry)), total, start)


def pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """The next `size` bytes of a file in pieces, or what there is of them."""
    while size > 0 and (piece := stream.read(min(size, _CHUNK))):
        size -= len(piece)
        yield piece


def _recovery_text(entry: Manifest) -> bytes:
    return _RECOVERY_TEXT.format(
        system=entry.system,
        id=entry.id,
        snapshot_at=f"{entry.snapshot_at:%Y-%m-%d %H:%M:%S}",
        version=entry.tool_version,
    ).encode()


def _in_hand(entry: Manifest, name: str, data: bytes) -> Member:
    sha256 = hashlib.sha256(data).hexdigest()
    return Member(name, len(data), sha256, _header(entry, name, len(data)), data)


def _header(entry: Manifest, name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(entry.created_at.timestamp())
    return info.tobuf(tarfile.PAX_FORMAT)


def _write(store: Store, member: Member, out: IO[bytes], meter: Meter) -> None:
    out.write(member.header)
    digest, size = hashlib.sha256(), 0
    for chunk in store.chunks(member.name) if member.data is None else (member.data,):
        size += len(chunk)
        # One that never ends must not fill the disk.
        if size > member.size_bytes:
            break
        digest.update(chunk)
        out.write(chunk)
        meter.add(bytes=len(chunk), what=member.name)
    if (size, digest.hexdigest()) != (member.size_bytes, member.sha256):
        raise Damaged(
            f"{store.uri(member.name)} is not as the manifest says, by size or sha256: the backup "
            "is damaged, and no archive was made"
        )
    out.write(member.padding)
    meter.add(bytes=member.span - size)


def _kept(out: IO[bytes], content: list[Member], to: Path) -> tuple[int, int]:
    """How many members an earlier download has left whole, and where they end."""
    first = content[0]
    whole = first.header + (first.data or b"") + first.padding
    there = out.read(len(whole))
    if not whole.startswith(there):
        raise Refused(
            f"{_part_of(to)} is no unfinished download of this backup: remove it, or choose "
            "another file"
        )
    if there != whole:
        return 0, 0
    end = first.span
    for number, member in enumerate(content[1:], start=1):
        if not _is_next(out, member):
            return number, end
        end += member.span
    return len(content), end


def _is_next(out: IO[bytes], member: Member) -> bool:
    if out.read(len(member.header)) != member.header:
        return False
    digest = hashlib.sha256()
    for piece in pieces(out, member.size_bytes):
        digest.update(piece)
    return digest.hexdigest() == member.sha256 and (out.read(len(member.padding)) == member.padding)


@contextmanager
def _own_part(to: Path, total: int) -> Generator[IO[bytes]]:
    """The unfinished file, which no other process writes meanwhile."""
    _refuse_existing(to)
    part = _part_of(to)
    try:
        free = shutil.disk_usage(to.parent).free
        missing = total - (part.stat().st_size if part.exists() else 0)
        if missing > free:
            raise Refused(
                f"{to} would need {missing:,} bytes more, and its disk has {free:,}: choose "
                "another place"
            )
        # The rows are nobody else's to read; a link could lead anywhere.
        number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Refused(f"{part} cannot be written ({error.strerror})") from error
    with os.fdopen(number, "r+b") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(f"another download is writing {part}") from error
        # One that ended between opening and locking has renamed the file.
        if not part.exists() or not os.path.samestat(os.fstat(number), part.stat()):
            raise Refused(f"another download has just finished {to}")
        yield out


@contextmanager
def _disk_errors(to: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(
            f"{_part_of(to)} cannot be written ({error.strerror}); the same download goes on "
            "from there"
        ) from error


def _refuse_existing(to: Path) -> None:
    if os.path.lexists(to):
        raise Refused(f"{to} exists: remove it, or choose another file")


def _part_of(to: Path) -> Path:
    return to.with_name(to.name + PART_SUFFIX)
