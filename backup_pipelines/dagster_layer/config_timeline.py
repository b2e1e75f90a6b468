"""What people fill in for the jobs that look through the backups."""

import dagster as dg
from pydantic import Field

from backup_pipelines.dagster_layer.config import BackupChoice, StoreChoice


class DiffConfig(BackupChoice):
    """What became of the rows of a backup."""

    other: str = Field(
        default="live",
        description="Until when: live for the tables as they are now, or the id of another backup, "
        "or latest.",
    )
    tables: list[str] = Field(
        default=[],
        description="Only these tables, as schema.table (public without a schema); nothing named "
        "is all.",
    )
    rows: int = Field(
        default=20,
        ge=0,
        le=200,
        description="How many rows of each table are shown at most, up to 200. They are kept in "
        "the run, where everybody who sees it can read them.",
    )
    to: str = Field(
        default="",
        description="A new Parquet file for all rows that differ, on the machine where the run "
        "executes; empty means none.",
    )


class HistoryConfig(dg.Config):
    """What became of one record."""

    table: str = Field(description="Its table, as schema.table (public without a schema).")
    key: list[str] = Field(
        description="Its primary key: a value in quotes for each column. It is kept in the run, "
        "and so is the record."
    )
    store: StoreChoice = Field(
        default=StoreChoice.first,
        description="Whose backups are looked into: first, or second for the copies in the second "
        "store.",
    )
