"""Files that are to be imported, as the rest of an import knows them: read, and laid aside.

Their rows lie as texts in Parquet parts in a store of the import's own, so that the restore engine
takes them as it takes the rows of a backup.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backup_pipelines.csv.catalog import TableFacts
from backup_pipelines.csv.null import NULL
from backup_pipelines.manifest import Table
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.system import qualify

LINE = "line of the file"
"""The column beside the values with the line that a row begins in; no table's column of a file."""

ImportMode = Literal["insert", "upsert"]


@dataclass(frozen=True)
class Reading:
    """How files are to be read; what is empty is found out."""

    encoding: str = ""
    delimiter: str = ""
    null: str = NULL
    """What stands for NULL without quotes."""


@dataclass(frozen=True)
class AskedImport:
    """An import as somebody asked for it."""

    source: Path
    """A folder of files, a zip archive of them, or one file."""
    selection: Selection
    mode: ImportMode = "insert"
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """By qualified table: unique columns that rows are matched by instead of the primary key."""
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names in headers, and the columns that they mean; `file.csv:name` is of one file."""
    ignored: frozenset[str] = frozenset()
    """Names in headers of columns that are not imported; `file.csv:name` is of one file."""
    accepted: frozenset[str] = frozenset()
    """Columns, as `table.column`, whose values are meant though they look like a spreadsheet's."""
    reading: Reading = Reading()


def asked_import(config: Mapping[str, Any]) -> AskedImport:
    """An import by the fields of its job's config."""
    return AskedImport(
        source=Path(config["source"]),
        selection=Selection(tuple(config["modules"]), tuple(config["tables"])),
        mode=config["mode"],
        keys={
            qualify(table): tuple(name.strip() for name in columns.split(","))
            for table, columns in config["match"].items()
        },
        renamed=config["rename"],
        ignored=frozenset(config["ignore"]),
        accepted=frozenset(config["accept"]),
        reading=Reading(config["encoding"], config["delimiter"], config["null_token"]),
    )


@dataclass(frozen=True)
class FileForm:
    """How a file is written, and how that is known."""

    encoding: str
    delimiter: str
    has_bom: bool
    in_words: str
    """For people: `UTF-8, separated by semicolons`, with what it was found by where in doubt."""


@dataclass(frozen=True)
class Incoming:
    """The rows of one file, laid aside for one table."""

    file: str
    facts: TableFacts
    form: FileForm
    columns: tuple[str, ...]
    """The table's columns that the file has, in the file's order."""
    headers: Mapping[str, str]
    """What the file calls each of them."""
    ignored: tuple[str, ...]
    """What is in the file and not imported."""
    table: Table
    """With parts in the import's store, each with the column LINE beside the values as texts."""
    warnings: tuple[str, ...] = ()
