"""Tables as CSV files: from the live database in one snapshot, or from a backup.

The same rows give the same bytes, wherever they come from: PostgreSQL prints the live ones by
COPY, and what a backup holds is printed as PostgreSQL does.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backup_pipelines import encryption
from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.files import NewFiles, new_files
from backup_pipelines.csv.form import ColumnNote, EmptyNote, ExportNote, FileNote
from backup_pipelines.csv.null import NULL
from backup_pipelines.csv.printed import parsed, printed
from backup_pipelines.csv.tables import (
    CsvTable,
    Rows,
    live_snapshot,
    of_backup,
    refuse_nothing,
    with_columns,
)
from backup_pipelines.exporting.export import expected
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.masking.batches import MaskedRows
from backup_pipelines.masking.facts import Facts, facts_of_backup, facts_of_live
from backup_pipelines.masking.keyed import key_of_environment
from backup_pipelines.masking.policy import Policy, make_policy
from backup_pipelines.masking.values import ColumnMask, Masker
from backup_pipelines.pace import Amount
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.progress import Meter, Report
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_masking import MaskingSpec
from backup_pipelines.storage.reading import read_back
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

_NO_COLUMNS = "it has no columns that take values"


@dataclass(frozen=True)
class Exported:
    """What an export has made."""

    note: ExportNote
    to: Path
    """The folder, or the archive with the files."""
    seconds: float

    @property
    def in_words(self) -> str:
        """How much that is, and where."""
        tables = f"{len(self.note.files):,} file{'' if len(self.note.files) == 1 else 's'}"
        masked = ", masked" if self.note.masked else ""
        return f"{tables} with {self.note.rows:,} rows in {self.to}{masked}"

    def document(self) -> dict[str, Any]:
        """What `csv export --json` prints."""
        return {
            **self.note.model_dump(mode="json"),
            "to": str(self.to),
            "rows": self.note.rows,
            "seconds": self.seconds,
        }

    @property
    def warnings(self) -> list[str]:
        """What people must know who use the files."""
        return [
            *(
                f"{one.table} has {one.like_null:,} values that read like NULL ({NULL}): "
                f"in {one.file} they are in quotes, which a spreadsheet drops when it saves"
                for one in self.note.files
                if one.like_null
            ),
            *(f"{one.table} has no file, because {one.reason}" for one in self.note.without_file),
        ]


@dataclass(frozen=True)
class Asked:
    """What is to be exported, where to, and how."""

    selection: Selection
    to: Path
    zipped: bool = False
    bom: bool = False
    masking: MaskingSpec | None = None
    """The rules by which values are masked; None leaves them as they are."""


class _Masks:
    """What the files of an export are masked by; nothing, where nobody asked for it."""

    def __init__(self, asked: Asked) -> None:
        self._spec = asked.masking
        # Refused before a database is asked for anything.
        self._masker = Masker(key_of_environment()) if asked.masking is not None else None
        self._policy: Policy | None = None

    def hold_against(self, facts: Callable[[], Facts]) -> None:
        """Find the masks of the tables; raises Refused when the rules do not suit them."""
        if self._spec is not None:
            self._policy = make_policy(self._spec, facts())

    def of(self, table: CsvTable) -> Mapping[str, ColumnMask]:
        """The masks of a table's columns."""
        return self._policy.of(table.qualified) if self._policy is not None else {}

    def rows(self, table: CsvTable) -> MaskedRows | None:
        """What masks the rows of a table, if anything does."""
        masks = self.of(table)
        return MaskedRows(table.qualified, self._masker, masks) if self._masker and masks else None


def export_live(system: System, url: str, asked: Asked, *, report: Report) -> Exported:
    """Export tables of the live database as they are in one snapshot.

    Raises Refused when a table cannot be read whole or a file exists, Failed when the work broke
    off; no file is left then.
    """
    started = time.monotonic()
    masks = _Masks(asked)
    with live_snapshot(system, url, asked.selection, "the CSV export") as (moment, tables):
        masks.hold_against(lambda: facts_of_live(moment.connection, system))

        def rows(table: CsvTable) -> Generator[tuple[int, bytes]]:
            masked, names = masks.rows(table), [c.name for c in table.importable]
            for part in table.parts:
                assert isinstance(part, LiveTable)
                types = {column.name: column.base_type for column in part.columns}
                wanted = {name: types[name] for name in names}
                for number, lines in printed(moment.connection, part.identifier, wanted):
                    yield number, lines if masked is None else _masked_lines(masked, lines, names)

        about = {
            "system": system.system,
            "source": "live",
            "backup": "",
            "database": moment.server.database,
            "snapshot_at": moment.server.now,
        }
        return _export(tables, rows, masks, asked, about, report, started)


def export_backup(store: Store, entry: Manifest, asked: Asked, *, report: Report) -> Exported:
    """Export tables of a backup, each of whose objects is read back before.

    Raises what `export_live` raises, and Damaged when an object is not as it was written.
    """
    started = time.monotonic()
    refuse_nothing(asked.selection)
    masks = _Masks(asked)
    tables = of_backup(entry, asked.selection)
    encryption.refuse_closed(entry)
    masks.hold_against(lambda: facts_of_backup(store, entry))

    def rows(table: CsvTable) -> Generator[tuple[int, bytes]]:
        masked = masks.rows(table)
        for part in table.parts:
            assert isinstance(part, Table)
            for stored in part.parts:
                read_back(store, stored.key, stored.size_bytes, stored.sha256)
            for batch in stored_batches(store, part, [c.name for c in table.importable]):
                shown = batch if masked is None else masked.masked(batch)
                yield batch.num_rows, csv_form.rows(shown)

    about = {
        "system": entry.system,
        "source": "backup",
        "backup": entry.id,
        "database": entry.database,
        "snapshot_at": entry.snapshot_at,
    }
    return _export(tables, rows, masks, asked, about, report, started)


def _export(
    tables: Sequence[CsvTable],
    rows: Rows,
    masks: _Masks,
    asked: Asked,
    about: dict[str, Any],
    report: Report,
    started: float,
) -> Exported:
    written = with_columns(tables)
    created_at = datetime.now(UTC)
    archive = archive_name(about["system"], asked.selection) if asked.zipped else ""
    beside = "export.json" if asked.zipped else f"export-{created_at:%Y%m%dT%H%M%S.%fZ}.json"
    title = f"{about['system']}: exporting"
    with new_files(asked.to, archive) as files:
        files.refuse_existing([*(table.file for table in written), beside])
        with Meter(title, report, _expected(written), exact=bool(about["backup"])) as meter:
            notes = [
                _write(files, table, rows, masks.of(table), asked.bom, meter) for table in written
            ]
        note = ExportNote(
            **about,
            tool_version=version("backup_pipelines"),
            created_at=created_at,
            bom=asked.bom,
            masked=asked.masking is not None,
            files=tuple(notes),
            without_file=tuple(
                EmptyNote(table=table.qualified, reason=_NO_COLUMNS)
                for table in tables
                if not table.importable
            ),
        )
        with files.new(beside) as out:
            out.write(note.model_dump_json(indent=1).encode() + b"\n")
    seconds = round(time.monotonic() - started, 3)
    return Exported(note, (asked.to / archive).absolute(), seconds)


def _expected(tables: Sequence[CsvTable]) -> Amount:
    """The rows of all tables; those of a live database as PostgreSQL estimates them."""
    parts = [part for table in tables for part in table.parts]
    live = [part for part in parts if isinstance(part, LiveTable)]
    stored = sum(part.rows for part in parts if isinstance(part, Table))
    return Amount(stored or expected(live).rows)


def archive_name(system: str, selection: Selection) -> str:
    """The name of the archive of an export: for one module or table alone, its own."""
    named = [*selection.modules, *selection.tables]
    only = csv_form.file_name("public", named[0]).removesuffix(csv_form.SUFFIX)
    return f"{system}_{only}.zip" if len(named) == 1 else f"{system}.zip"


def _masked_lines(masked: MaskedRows, lines: bytes, names: Sequence[str]) -> bytes:
    return csv_form.rows(masked.masked(parsed(lines, names)))


def _write(
    files: NewFiles,
    table: CsvTable,
    rows: Rows,
    masks: Mapping[str, ColumnMask],
    bom: bool,
    meter: Meter,
) -> FileNote:
    count = like_null = 0
    with files.new(table.file) as out:
        out.write(csv_form.header([c.name for c in table.importable], bom=bom))
        for number, lines in rows(table):
            out.write(lines)
            count += number
            like_null += csv_form.like_null(lines)
            meter.add(number, what=table.qualified)
    return FileNote(
        file=table.file,
        table=table.qualified,
        module=table.module,
        rows=count,
        size_bytes=out.size_bytes,
        sha256=out.sha256,
        columns=tuple(
            ColumnNote(
                name=c.name,
                type=c.type,
                masked=masks[c.name].in_words if c.name in masks else "",
            )
            for c in table.importable
        ),
        left_out=tuple(c.name for c in table.columns if c.generated),
        like_null=like_null,
    )
