"""The parts of some tables as files that DuckDB can open, each checked before it is read.

Plain Parquet of a folder store is read where it is. Other parts are fetched, and decrypted, into a
private folder that is removed at the end; JSON Lines become Parquet there, of the columns' types.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from backup_pipelines import encryption, layout
from backup_pipelines.errors import Damaged, Failed, Refused
from backup_pipelines.manifest import Part, Table
from backup_pipelines.postgres.json_reading import parsed
from backup_pipelines.postgres.texts import from_text
from backup_pipelines.postgres.types import arrow_type
from backup_pipelines.storage.reading import read_again
from backup_pipelines.storage.store import Store

# A part has up to 240 MB: more at once would only fill memory and the line.
_FETCHED_AT_ONCE = 4

# What DuckDB takes for a pattern in the name of a file.
_PATTERN = frozenset("*?[{")

_NOT_SHOWN = "the backup is damaged, so nothing of it is shown"


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
        tables_of = {p.key: t for t in tables for p in t.parts if p.key not in self._known}
        wanted = {p.key: p for t in tables for p in t.parts if p.key in tables_of}
        fetched = [part for part in wanted.values() if self._in_place(part) is None]
        self._refuse_too_large(sum(_room_for(part) for part in fetched))
        with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
            found = pool.map(self._brought, wanted.values(), tables_of.values())
            self._known.update(zip(wanted, found, strict=True))

    def paths(self, table: Table) -> list[Path]:
        """The files of a table that was brought."""
        return [self._known[part.key] for part in table.parts]

    def _in_place(self, part: Part) -> Path | None:
        path = self._store.local_path(part.key)
        as_it_is = not layout.is_encrypted(part.key) and not layout.is_json_lines(part.key)
        return path if path is not None and as_it_is and not _PATTERN & set(str(path)) else None

    def _brought(self, part: Part, table: Table) -> Path:
        path = self._in_place(part)
        if path is not None:
            read_again(lambda: self._refuse_changed(part, *self._store.checksum(part.key)))
            return path
        with self._lock:
            self._made += 1
            target = self._folder / f"part-{self._made:05d}.parquet"
        try:
            read_again(lambda: self._fetch(part, table, target))
        except OSError as error:
            raise Failed(f"{target} cannot be written ({error.strerror})") from error
        return target

    def _fetch(self, part: Part, table: Table, target: Path) -> None:
        in_lines = layout.is_json_lines(part.key)
        fetched = target.with_suffix(".jsonl.zst") if in_lines else target
        with fetched.open("wb") as out:
            for piece in encryption.plain_pieces(self._store, part, _NOT_SHOWN):
                out.write(piece)
        if in_lines:
            self._convert(part, table, fetched, target)
            fetched.unlink()

    def _convert(self, part: Part, table: Table, fetched: Path, target: Path) -> None:
        """Lines as the Parquet that a backup in that format would have."""
        names = [column.name for column in table.columns]
        kinds = [arrow_type(column.arrow_type) for column in table.columns]
        # Names may differ by nothing but their case, and are of no use here.
        schema = pa.schema([(f"c{number}", kind) for number, kind in enumerate(kinds)])
        try:
            with (
                fetched.open("rb") as file,
                pq.ParquetWriter(target, schema, compression="zstd") as writer,
            ):
                for batch, _ in parsed(file, names, names):
                    pairs = zip(batch.columns, kinds, strict=True)
                    values = [from_text(texts, kind) for texts, kind in pairs]
                    writer.write_batch(pa.RecordBatch.from_arrays(values, schema=schema))
        except (pa.ArrowException, ValueError) as error:
            raise Damaged(f"{self._store.uri(part.key)} cannot be read: {error}") from error

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


def _room_for(part: Part) -> int:
    """Bytes that a fetched part takes: lines lie beside what they become."""
    return part.size_bytes * (2 if layout.is_json_lines(part.key) else 1)
