"""New files that appear under their names all at once, when all of them are whole.

Until then they lie in a hidden folder beside, which goes whichever way the work ends.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from backup_pipelines.errors import BackupError, Failed, Refused

HIDDEN_PREFIX = ".csv-"
"""How the folder of unfinished files begins; a killed process leaves it."""

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700

# The attributes of a file in an archive: a regular one, for its owner.
_ZIP_ATTRIBUTES = (0o100000 | _PRIVATE_FILE) << 16


@dataclass
class Counted:
    """A file that is being written, its bytes counted and hashed on their way."""

    _out: IO[bytes]
    size_bytes: int = 0
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)  # pyright: ignore[reportPrivateUsage]

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._out.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()


@dataclass
class NewFiles:
    """The files of one piece of work, in a hidden folder until it is done."""

    to: Path
    _hidden: Path
    _archive: zipfile.ZipFile | None = None
    _names: list[str] = field(default_factory=list[str])

    def refuse_existing(self, names: Iterable[str]) -> None:
        """Raise Refused when one of the files that are to be made is there already."""
        if self._archive is None:
            _refuse_existing(self.to, names)

    @contextmanager
    def new(self, name: str) -> Generator[Counted]:
        """A file to write; `name` may lie in a folder."""
        if self._archive is not None:
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, _ZIP_ATTRIBUTES
            # How large it gets is not known before.
            with self._archive.open(entry, "w", force_zip64=True) as out:
                yield Counted(out)
            return
        path = self.path(name)
        with open(path, "xb", opener=_private) as out:
            yield Counted(out)
        self._names.append(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The files that are whole."""
        return tuple(self._names)

    def path(self, name: str) -> Path:
        """Where a library may write a file itself; `made` it then."""
        path = self._hidden / name
        path.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        return path

    def made(self, name: str) -> None:
        """Say of a file that a library wrote that it is whole."""
        self.path(name).chmod(_PRIVATE_FILE)
        self._names.append(name)

    def publish(self) -> None:
        """Give all files their names, or none."""
        _refuse_existing(self.to, self._names)
        done: list[Path] = []
        try:
            for name in self._names:
                target = self.to / name
                target.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
                (self._hidden / name).rename(target)
                done.append(target)
        except BaseException:
            for target in done:
                target.unlink(missing_ok=True)
            raise


@contextmanager
def new_files(to: Path, archive: str = "") -> Generator[NewFiles]:
    """Files that are made in `to`, or in one zip archive of that name there.

    Raises Refused when `to` cannot be written or the archive exists, Failed for a full disk.
    """
    with ExitStack() as stack:
        stack.enter_context(_disk_errors(to))
        if archive:
            _refuse_existing(to, [archive])
        hidden = stack.enter_context(_hidden_folder(to))
        if not archive:
            files = NewFiles(to, hidden)
            yield files
        else:
            folder = NewFiles(to, hidden)
            with (
                open(hidden / archive, "xb", opener=_private) as out,
                zipfile.ZipFile(out, "w") as packed,
            ):
                yield NewFiles(to, hidden, packed)
            folder.made(archive)
            files = folder
        files.publish()


@contextmanager
def _hidden_folder(to: Path) -> Generator[Path]:
    made = _missing(to)
    try:
        to.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=HIDDEN_PREFIX, dir=to))
    except OSError as error:
        raise Refused(f"{to} is no folder that can be written ({error.strerror})") from error
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        # Those that this made and nothing came into.
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that are not there yet, the innermost first."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


@contextmanager
def _disk_errors(to: Path) -> Generator[None]:
    try:
        yield
    except BackupError:
        raise
    except OSError as error:
        raise Failed(
            f"the files in {to} cannot be written ({error.strerror}); none of them was kept"
        ) from error


def _refuse_existing(to: Path, names: Iterable[str]) -> None:
    there = [name for name in names if os.path.lexists(to / name)]
    if there:
        shown = ", ".join(there[:3]) + (f" and {len(there) - 3} more" if len(there) > 3 else "")
        raise Refused(f"{to} has {shown} already: remove them, or choose another folder")


def _private(path: str, flags: int) -> int:
    # A link could lead anywhere.
    return os.open(path, flags | os.O_NOFOLLOW, _PRIVATE_FILE)
