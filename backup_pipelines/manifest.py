"""The manifest: everything a reader needs to know of one backup, written once, last.

docs/format.md describes the JSON for people who write another reader.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backup_pipelines import layout
from backup_pipelines.backup_id import BackupType
from backup_pipelines.errors import Damaged, NewerFormat

# The highest that this version reads; raised whenever an older reader would misunderstand. What is
# written has the lowest that says all of it, so that older readers read whatever they can.
FORMAT_VERSION = 2

# An older reader takes every part for Parquet, and would call these damaged.
_WITH_JSON_LINES = 2

# The recipe of `postgres/digest.py`; digests of different versions must never be compared.
DIGEST_VERSION = 1

# The seal is the document's last field, so that what it covers is simply the bytes before it.
_SEAL_BEGINS, _SEAL_ENDS = b',\n "seal": "', b'"\n}'


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Record):
    """One object with rows of a table."""

    key: str = Field(description="Whole key under the store; may lie in an earlier backup.")
    rows: int
    size_bytes: int
    sha256: str
    digest: str = Field(description="Sum of the row hashes modulo 2^64, 16 hex digits.")
    first_page: int | None = Field(default=None, description="First heap page read, inclusive.")
    end_page: int | None = Field(
        default=None, description="Heap page after the last; open if null."
    )


Encoding = Literal["native", "decimal", "text"]


class Column(_Record):
    """One column of a table, as PostgreSQL describes it and as Parquet files hold it."""

    name: str
    type: str = Field(description="format_type() of the column, e.g. numeric(12,2).")
    base_type: str = Field(description="The same with domains resolved, schema-qualified.")
    encoding: Encoding
    arrow_type: str
    not_null: bool = False
    default: str | None = None
    identity: Literal["", "always", "by default"] = ""
    generated: Literal["", "stored", "virtual"] = ""


class Table(_Record):
    """One table, its rows' digest and where its rows are."""

    schema_name: str = Field(alias="schema")
    name: str
    module: str
    kind: Literal["table", "partitioned"] = "table"
    partition_of: str | None = Field(default=None, description="Qualified name of the root table.")
    inherits: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    rows: int
    digest: str
    size_bytes: int
    source_bytes: int = Field(description="pg_table_size() when the backup was taken.")
    seconds: float
    row_security: bool = False
    force_row_security: bool = False
    parts: tuple[Part, ...] = ()

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    @property
    def qualified(self) -> str:
        """`schema.name` without quotes: how people, the YAML and the catalog name it."""
        return f"{self.schema_name}.{self.name}"

    @property
    def formats(self) -> frozenset[layout.Format]:
        """How the rows of its parts are written."""
        return frozenset(layout.format_of(part.key) for part in self.parts)


class ForeignKey(_Record):
    """One foreign key between tables of the database."""

    name: str
    table: str
    columns: tuple[str, ...]
    references: str
    referenced_columns: tuple[str, ...]
    definition: str
    deferrable: bool = False
    validated: bool = True
    on_delete: str = Field(description="pg_constraint.confdeltype: a, r, c, n or d.")


class Sequence(_Record):
    """The position of one sequence, read after the snapshot (sequences are not MVCC)."""

    schema_name: str = Field(alias="schema")
    name: str
    last_value: int
    is_called: bool
    owned_by: str | None = None

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class View(_Record):
    """The name of a materialized view, which a restore refreshes."""

    schema_name: str = Field(alias="schema")
    name: str

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class DdlObject(_Record):
    """One statement group of the DDL, with the hash that a restore checks before running it."""

    type: str
    schema_name: str = Field(alias="schema")
    name: str
    owner: str
    sha256: str

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class DdlSection(_Record):
    """One file of DDL by pg_dump: pre-data (before the rows) or post-data (after them)."""

    section: Literal["pre-data", "post-data"]
    key: str
    size_bytes: int
    sha256: str
    objects: tuple[DdlObject, ...]


class Excluded(_Record):
    """Something of the database that this backup does not hold, and why."""

    name: str
    reason: str


class Encryption(_Record):
    """To whom the objects of a backup are encrypted, by age."""

    recipients: tuple[str, ...] = Field(description="Public keys, as age writes them.")
    key_check: str = Field(
        description="The backup's id as an age file for the same recipients, in base64: whoever "
        "opens it can read the backup."
    )


class Reuse(_Record):
    """What a backup names of earlier ones, since the database still holds the same."""

    backup: str = Field(description="Id of the backup whose parts were compared with the rows.")
    generation: int = Field(description="How many backups in a row name parts of others.")
    parts: int = Field(description="Parts that lie in the folders of earlier backups.")
    size_bytes: int = Field(description="Bytes of those parts.")


class Document(_Record):
    """A file for people in trouble, which lies beside the parts: how to read them, and a script."""

    key: str
    size_bytes: int
    sha256: str


class Manifest(_Record):
    """One backup, whole."""

    format_version: int = 1
    digest_version: int = DIGEST_VERSION
    tool_version: str
    id: str
    system: str
    copy_of: tuple[str, ...] = Field(
        default=(),
        description="Ids that the same backup had before it was encrypted anew, oldest first.",
    )
    type: BackupType
    scope: Literal["full", "modules", "tables"]
    modules: tuple[str, ...]
    label: str = ""
    reason: str = ""
    created_by: str
    run_id: str = ""
    started_at: datetime
    snapshot_at: datetime
    created_at: datetime = Field(description="When the last part had been read back.")
    server_version: int = Field(description="server_version_num, e.g. 180006.")
    database: str
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...]
    sequences: tuple[Sequence, ...]
    materialized_views: tuple[View, ...] = Field(description="In order of refresh.")
    ddl: tuple[DdlSection, ...]
    roles: tuple[str, ...] = Field(description="Roles the DDL names; listed, never recreated.")
    extensions: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    warnings: tuple[str, ...] = ()
    encryption: Encryption | None = Field(
        default=None, description="Null when the objects can be read by whoever has them."
    )
    reuse: Reuse | None = Field(
        default=None, description="Null when every part was written for this backup."
    )
    documents: tuple[Document, ...] = Field(
        default=(), description="RECOVERY.md and the script beside it; never encrypted."
    )

    @property
    def seconds(self) -> float:
        """Wall time from start to the read-back of the last part."""
        return (self.created_at - self.started_at).total_seconds()

    @property
    def tables_count(self) -> int:
        """How many tables people would count: a partitioned table is one."""
        return sum(1 for table in self.tables if table.partition_of is None)

    @property
    def records_count(self) -> int:
        """Rows in all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def parts(self) -> Iterator[Part]:
        """The parts of all tables."""
        return chain.from_iterable(table.parts for table in self.tables)

    @property
    def objects(self) -> Iterator[Document | DdlSection | Part]:
        """Everything that is named but the manifest itself, wherever it lies."""
        return chain(self.documents, self.ddl, self.parts)

    @property
    def inherited(self) -> Iterator[Part]:
        """The parts that lie in the folders of earlier backups."""
        return (p for p in self.parts if layout.backup_id_of(self.system, p.key) != self.id)

    @property
    def size_bytes(self) -> int:
        """Bytes of parts, DDL and documents in the store."""
        beside = (*self.ddl, *self.documents)
        return sum(t.size_bytes for t in self.tables) + sum(one.size_bytes for one in beside)

    @property
    def added_bytes(self) -> int:
        """Bytes that were written to the store for this backup."""
        return self.size_bytes - (self.reuse.size_bytes if self.reuse else 0)

    @property
    def module(self) -> str:
        """The catalog's module column: empty for a full backup, else the modules' names."""
        return "" if self.scope == "full" else ", ".join(self.modules)

    def to_json(self) -> bytes:
        """The manifest as it is stored, with its seal."""
        return with_seal(self.model_dump_json(by_alias=True, indent=1).encode())


def format_version_of(tables: Iterable[Table]) -> int:
    """The format version of a manifest with these tables."""
    parts = (part for table in tables for part in table.parts)
    return _WITH_JSON_LINES if any(layout.is_json_lines(part.key) for part in parts) else 1


def with_seal(document: bytes) -> bytes:
    """A JSON object, ending in a line with its brace, with the sha256 of itself as last field."""
    body = document.removesuffix(b"\n}")
    return body + _SEAL_BEGINS + hashlib.sha256(body).hexdigest().encode() + _SEAL_ENDS


def is_sealed(data: bytes) -> bool:
    """Whether a manifest's bytes are those that it was sealed with."""
    body, _, rest = data.rpartition(_SEAL_BEGINS)
    return rest == hashlib.sha256(body).hexdigest().encode() + _SEAL_ENDS


class _Version(BaseModel):
    format_version: int


def parse(data: bytes, key: str) -> Manifest:
    """The manifest in `data`, which came from `key`.

    Raises NewerFormat for a format this version does not know, Damaged for anything malformed and
    for bytes that are not those it was sealed with.
    """
    try:
        version = _Version.model_validate_json(data).format_version
        if version > FORMAT_VERSION:
            raise NewerFormat(
                f"{key} has format version {version}, this version reads up to "
                f"{FORMAT_VERSION}: upgrade backup_pipelines to read it"
            )
        if not is_sealed(data):
            raise Damaged(
                f"{key} is not a valid manifest: its bytes are not those that its seal is of, so "
                "it was damaged or changed after it was written"
            )
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the document"
        raise Damaged(f"{key} is not a valid manifest: {place}: {first['msg']}") from error
