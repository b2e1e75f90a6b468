"""What the launchpad asks for a CSV import, and for a plan of one."""

from enum import Enum

import dagster as dg
from pydantic import Field

from backup_pipelines.csv.null import NULL
from backup_pipelines.dagster_layer.config import TypeCONFIRM


class ImportMode(Enum):
    """What becomes of rows that are there already."""

    insert = "insert"
    upsert = "upsert"


class CsvPlanConfig(dg.Config):
    """Files that are to be imported, and how they are read."""

    source: str = Field(
        description="Folder of CSV files, zip archive of them, or one file, on the machine where "
        "the run executes. Files are named as the CSV export names them: contacts.csv."
    )
    modules: list[str] = Field(
        default=[],
        description="Only files of these modules' tables. No module and no table means every "
        "table that has a file.",
    )
    tables: list[str] = Field(
        default=[], description="These tables too, as schema.table (public without a schema)."
    )
    mode: ImportMode = Field(
        default=ImportMode.insert,
        description="insert: every row is new, one that is there already is an error. upsert: "
        "rows that are there already are updated. No row is ever deleted.",
    )
    match: dict[str, str] = Field(
        default={},
        description="For upsert: table, and the unique columns that its rows are matched by "
        "instead of the primary key, with commas between them: contacts: email.",
    )
    rename: dict[str, str] = Field(
        default={},
        description="Name in a header, and the column that it means: e-mail: email. "
        "contacts.csv:e-mail is of that file alone.",
    )
    ignore: list[str] = Field(
        default=[], description="Names in headers of columns that are not imported."
    )
    accept: list[str] = Field(
        default=[],
        description="Columns, as table.column, whose values are meant although they look as if a "
        "spreadsheet had changed them.",
    )
    encoding: str = Field(
        default="", description="How the files are encoded; empty means that it is found out."
    )
    delimiter: str = Field(
        default="",
        description="What separates values: a comma, a semicolon, a pipe, or tab; empty means "
        "that it is found out.",
    )
    null_token: str = Field(
        default=NULL,
        description="What stands for NULL without quotes. Empty means that empty values are NULL.",
    )
    problems_to: str = Field(
        default="",
        description="File for everything that is wrong, on the machine where the run executes; "
        "empty means <source>-problems.csv beside the source.",
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class CsvImportConfig(CsvPlanConfig):
    """An import into the live database."""

    plan: str = Field(
        default="",
        description="Hash of a plan: the import refuses when it would do anything else by now.",
    )
    skip_safety: bool = Field(
        default=False,
        description="Take no safety backup of the tables, so that the import cannot be undone; "
        "needs a reason.",
    )
    lock_seconds: float = Field(
        default=30.0, gt=0, description="How long to wait for the application's locks."
    )
    confirm: TypeCONFIRM = Field(
        description="Type CONFIRM: live rows will be written. The undo job takes it back, unless "
        "skip_safety is true."
    )
