"""Where files of an import lie: a folder, a zip archive, or one file; read, never unpacked."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.tables import CsvTable
from backup_pipelines.errors import Refused
from backup_pipelines.wording import size

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")

# An archive is never unpacked as a whole; still, one that is made to be endless is none of rows.
_MOST_MEMBERS = 10_000
_LARGE_BYTES = 1 << 30
_LARGEST_RATIO = 500

_ENCRYPTED = 0x1

Signature = tuple[int, int, int]

_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class SourceFile:
    """One file for one table."""

    name: str
    """As people know it, without the folder or archive."""
    table: CsvTable
    size_bytes: int
    """Unpacked."""
    path: Path
    member: str
    """Its name in the archive `path`; empty for a file of its own."""
    signature: Signature
    """What `path` was when the files were looked for."""

    @contextmanager
    def open(self) -> Generator["Input"]:
        """Its bytes from the beginning; raises Refused when they cannot be read, or have changed.

        What breaks off on the way is Refused as well: nothing has been changed by then.
        """
        with ExitStack() as stack:
            with explained(self.path, self.member):
                stream: IO[bytes] = stack.enter_context(open(self.path, "rb"))
                self.refuse_changed()
                if self.member:
                    archive = stack.enter_context(zipfile.ZipFile(stream))
                    stream = stack.enter_context(archive.open(self.member))
            yield Input(stream, self)

    def refuse_changed(self) -> None:
        """Raise Refused when the file is not the one that was found any more."""
        with explained(self.path):
            now = signature_of(self.path)
        if now != self.signature:
            raise Refused(f"{self.path} was changed while it was read: start again")


class Input:
    """An open file that explains why it cannot be read."""

    def __init__(self, stream: IO[bytes], file: SourceFile) -> None:
        """Read from `stream`."""
        self._stream = stream
        self._file = file

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer only at the end."""
        with explained(self._file.path, self._file.member):
            return self._stream.read(size)


@dataclass(frozen=True)
class Place:
    """What lies in a folder or an archive, by names below it."""

    path: Path
    names: Mapping[str, tuple[Path, str, int]]
    """The path, the member and the size of each file."""


def in_folder(source: Path) -> Place:
    """The files of a folder."""
    with explained(source):
        # Hidden files are what systems and spreadsheets keep beside.
        files = [p for p in source.iterdir() if not p.name.startswith(".") and p.is_file()]
        return Place(source, {p.name: (p, "", p.stat().st_size) for p in files})


def in_archive(source: Path) -> Place:
    """The members of a zip archive, without the folder that all of them lie in."""
    with explained(source), zipfile.ZipFile(source) as archive:
        members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise Refused(f"{source} has {len(members):,} members, which no import has: unpack it")
    files = [one for one in members if not one.is_dir() and not _is_hidden(one.filename)]
    prefix = _common_folder([one.filename for one in files])
    names: dict[str, tuple[Path, str, int]] = {}
    for one in files:
        name = one.filename.removeprefix(prefix)
        if name in names:
            raise Refused(f"{source} has the member {one.filename!r} twice")
        if not name.lower().endswith(csv_form.SUFFIX):
            names[name] = (source, one.filename, 0)
            continue
        _refuse_odd(source, one)
        names[name] = (source, one.filename, one.file_size)
    return Place(source, names)


def is_zip(source: Path) -> bool:
    """Whether a file is a zip archive; raises Refused for other packed files."""
    with explained(source), open(source, "rb") as file:
        begin = file.read(4)
    if begin[:2] == b"\x1f\x8b" or begin == b"\x28\xb5\x2f\xfd":
        raise Refused(f"{source} is compressed: unpack it first, or make a zip archive")
    return begin in (b"PK\x03\x04", b"PK\x05\x06") or source.suffix.lower() == ".zip"


def refuse_workbook(source: Path) -> None:
    """Raise Refused for a workbook, with what to do."""
    if source.suffix.lower() in WORKBOOKS:
        raise Refused(
            f"{source} is a workbook: save each of its sheets as CSV (UTF-8), named after its "
            "table, and import the folder of them"
        )


def _is_hidden(member: str) -> bool:
    """Whether it is what macOS packs beside the files, or another hidden file."""
    return any(step.startswith((".", "__MACOSX")) for step in PurePosixPath(member).parts)


def _common_folder(members: Sequence[str]) -> str:
    """The folder that all members lie in, however deep; empty where some lie outside."""
    if not members:
        return ""
    parents = [PurePosixPath(name).parts[:-1] for name in members]
    # The descriptions of a template lie in a folder of their own, beside the files.
    shallow = min(parents, key=len)
    depth = len(shallow)
    while any(parent[:depth] != shallow[:depth] for parent in parents):
        depth -= 1
    return "".join(f"{step}/" for step in shallow[:depth])


def _refuse_odd(source: Path, one: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(one.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused(f"{source} has the member {one.filename!r}, which is no plain file")
    if one.flag_bits & _ENCRYPTED:
        raise Refused(f"{one.filename} in {source} is encrypted: unpack it first")
    if one.file_size > max(_LARGE_BYTES, one.compress_size * _LARGEST_RATIO):
        raise Refused(
            f"{one.filename} in {source} unpacks from {size(one.compress_size)} to "
            f"{size(one.file_size)}, as no rows do: if it is right, unpack it first"
        )


def signature_of(path: Path) -> Signature:
    """What tells whether a file is still the one that it was."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


@contextmanager
def explained(path: Path, member: str = "") -> Generator[None]:
    """Raise Refused, naming the file, for whatever keeps it from being read."""
    try:
        yield
    except _UNREADABLE as error:
        what = f"{member} in {path}" if member else f"{path}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Refused(f"{what} cannot be read ({why})") from error
