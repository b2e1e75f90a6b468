"""The form of a CSV file, for everything that writes or reads one.

RFC 4180 in UTF-8: commas, lines that end in CR LF, a header. Every value is in quotes, and quotes
within it are doubled; NULL is the bare token. PostgreSQL reads it back by
`COPY ... FROM ... (FORMAT csv, HEADER, NULL '\\N')`.
"""

import codecs
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import BytesIO
from typing import Literal, LiteralString, Protocol, TypeVar

import pyarrow as pa
import pyarrow.csv as pacsv
from pydantic import BaseModel, ConfigDict, Field

from backup_pipelines.csv.null import NULL
from backup_pipelines.postgres.texts import as_text

LINE_END = b"\r\n"
BOM = codecs.BOM_UTF8

SUFFIX = ".csv"

NOTE = re.compile(r"export(-[0-9TZ.]+)?\.json")
"""The names that the note beside the files of an export can have."""

COPY_OPTIONS: LiteralString = r"FORMAT csv, NULL '\N', FORCE_QUOTE *, ENCODING 'UTF8'"
"""The options of COPY TO by which PostgreSQL prints the same rows; it ends lines in LF alone."""

_ROWS = pacsv.WriteOptions(
    include_header=False,
    eol=LINE_END.decode(),
    null_string=NULL,
    quoting_style="all_valid",
)

# Quotes within a value are doubled, so that a single one before the token opens the value.
_LIKE_NULL = re.compile(rb'(?:\A|[,\n])"\\N"(?=[,\r])')

# What some file system does not take, our own mark, and the dot between schema and table.
_UNSAFE = re.compile(r'[%./\\:*?"<>|\x00-\x1f\x7f]|^[ -]|[ ]$')

FORMAT_VERSION = 1
"""Raised whenever an older reader would misunderstand the document beside the files."""


class Column(Protocol):
    """What both a live column and a backup's know of themselves."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def type(self) -> str:
        """Its type as PostgreSQL writes it."""
        ...

    @property
    def generated(self) -> str:
        """How the database computes it; empty where it takes values."""
        ...


AnyColumn = TypeVar("AnyColumn", bound=Column)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class ColumnNote(_Record):
    """One column of a file."""

    name: str
    type: str
    masked: str = Field(
        default="", description="How its values were masked; empty where they are the table's."
    )


class FileNote(_Record):
    """One file, and how to tell that it is as it was written."""

    file: str
    table: str
    module: str
    rows: int
    size_bytes: int
    sha256: str
    columns: tuple[ColumnNote, ...]
    left_out: tuple[str, ...] = Field(description="Generated columns, which take no values.")
    like_null: int = Field(description="Values that read like NULL, told from it by quotes only.")


class EmptyNote(_Record):
    """A table without a file."""

    table: str
    reason: str


class ExportNote(_Record):
    """What lies beside the files of one export: where their rows are from."""

    format_version: int = FORMAT_VERSION
    tool_version: str
    system: str
    source: Literal["live", "backup"]
    backup: str = Field(description="The backup's id; empty for the live database.")
    database: str
    snapshot_at: datetime
    created_at: datetime
    null: str = NULL
    bom: bool
    masked: bool = Field(default=False, description="Whether columns were masked; each says how.")
    files: tuple[FileNote, ...]
    without_file: tuple[EmptyNote, ...]

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(one.rows for one in self.files)


def importable(columns: Iterable[AnyColumn]) -> tuple[AnyColumn, ...]:
    """The columns that a file has: all but generated ones, which the database computes."""
    return tuple(column for column in columns if not column.generated)


def file_name(schema: str, table: str) -> str:
    """The name of a table's file; unusual characters are written as %XX, so that none is shared."""
    shown = _safe(table) if schema == "public" else f"{_safe(schema)}.{_safe(table)}"
    return shown + SUFFIX


def header(names: Sequence[str], *, bom: bool = False) -> bytes:
    """The first line of a file."""
    return (BOM if bom else b"") + line(names)


def line(values: Iterable[str | None]) -> bytes:
    """One line of a file."""
    cells = (NULL if v is None else '"' + v.replace('"', '""') + '"' for v in values)
    return ",".join(cells).encode() + LINE_END


def rows(batch: pa.RecordBatch) -> bytes:
    """The lines of a batch as a backup holds it."""
    texts = [as_text(column) for column in batch.columns]
    sink = BytesIO()
    pacsv.write_csv(pa.RecordBatch.from_arrays(texts, names=batch.schema.names), sink, _ROWS)
    return sink.getvalue()


def like_null(lines: bytes) -> int:
    """How many values of whole lines read like NULL."""
    # The search for the bare bytes is much faster, and mostly all there is to do.
    return len(_LIKE_NULL.findall(lines)) if b'"\\N"' in lines else 0


def _safe(identifier: str) -> str:
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", identifier)
