"""The parts of some tables as files that DuckDB can open, each checked before it is read.

Plain parts of a folder store are read where they are. Others are fetched, and decrypted, into a
private folder that is removed at the end.
"""

import shutil
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from backup_pipelines import encryption, layout
from backup_pipelines.errors import Damaged, Failed, Refused
from backup_pipelines.manifest import Part, Table
from backup_pipelines.storage.reading import read_again
from backup_pipelines.storage.store import Store

# A part has up to 240 MB: more at once would only fill memory and the line.
_FETCHED_AT_ONCE = 4

# What DuckDB takes for a pattern in the name of a file.
_PATTERN = frozenset("*?[{")

_NOT_SHOWN = "the backup is damaged, so nothing of it is shown"


@contextmanager
def private_folder() -> Generator[Path]:
    """A new folder that only this user can look into, removed with the block."""
    with tempfile.TemporaryDirectory(prefix="backup-look-") as folder:
        yield Path(folder)


class LocalParts:
    """Parts of one store, each checked and brought here once."""

    def __init__(self, store: Store, folder: Path) -> None:
        """What has to be fetched comes into `folder`."""
        self._store = store
        self._folder = folder
        self._known: dict[str, Path] = {}
        self._made = 0
        self._lock = Lock()

    def bring(self, tables: Sequence[Table]) -> None:
        """Check the parts of these tables, and fetch those that cannot be read where they are.

        Raises Damaged for a part that is missing or is not as its manifest says, Refused when the
        disk is too small for those that are fetched.
        """
        wanted = {p.key: p for t in tables for p in t.parts if p.key not in self._known}
        fetched = [part for part in wanted.values() if self._in_place(part) is None]
        self._refuse_too_large(sum(part.size_bytes for part in fetched))
        with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
            found = pool.map(self._brought, wanted.values())
            self._known.update(zip(wanted, found, strict=True))

    def paths(self, table: Table) -> list[Path]:
        """The files of a table that was brought."""
        return [self._known[part.key] for part in table.parts]

    def _in_place(self, part: Part) -> Path | None:
        path = self._store.local_path(part.key)
        usable = path is not None and not layout.is_encrypted(part.key)
        return path if usable and not _PATTERN & set(str(path)) else None

    def _brought(self, part: Part) -> Path:
        path = self._in_place(part)
        if path is not None:
            read_again(lambda: self._refuse_changed(part, *self._store.checksum(part.key)))
            return path
        with self._lock:
            self._made += 1
            target = self._folder / f"part-{self._made:05d}.parquet"
        try:
            read_again(lambda: self._fetch(part, target))
        except OSError as error:
            raise Failed(f"{target} cannot be written ({error.strerror})") from error
        return target

    def _fetch(self, part: Part, target: Path) -> None:
        with target.open("wb") as out:
            for piece in encryption.plain_pieces(self._store, part, _NOT_SHOWN):
                out.write(piece)

    def _refuse_changed(self, part: Part, size: int, sha256: str) -> None:
        if (size, sha256) != (part.size_bytes, part.sha256):
            raise Damaged(
                f"{self._store.uri(part.key)} has other bytes than were written: {_NOT_SHOWN}"
            )

    def _refuse_too_large(self, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise Refused(
                f"the parts of these tables have {needed:,} bytes, and the disk of {self._folder} "
                f"has {free:,}: set TMPDIR to a folder with more room"
            )
