"""What people fill in when they launch a run; every field explains itself in the launchpad.

Run config is stored in clear text: databases are named by environment variables, never by URL.
"""

from enum import Enum

import dagster as dg
from pydantic import Field


class TypeCONFIRM(Enum):
    """The typed confirmation; its name is the hint that the launchpad shows when it is missing."""

    CONFIRM = "CONFIRM"


class FormatChoice(Enum):
    """How a backup's rows are written."""

    parquet = "parquet"
    jsonl = "jsonl"


class BackupConfig(dg.Config):
    """A backup of whatever assets are selected."""

    label: str = Field(
        default="", description="A name for people, shown in the catalog: before the migration."
    )
    reason: str = Field(
        default="", description="Why it is taken, in your words; kept in the manifest."
    )
    format: FormatChoice | None = Field(
        default=None,
        description="How rows are written: parquet, or jsonl for JSON Lines in zstd; left out, as "
        "the system's YAML says.",
    )
    full_copy: bool = Field(
        default=False,
        description="Write every part anew, also where an earlier backup holds the same rows.",
    )
    max_connections: int | None = Field(
        default=None,
        description="How many sessions it may have on the database at once, 2 or more; left out, "
        "as the system's YAML says.",
    )
    throttle: float | None = Field(
        default=None,
        description="How many MB of rows it may read a second, over all its readers; 0 is as fast "
        "as it goes; left out, as the system's YAML says.",
    )


class StoreChoice(Enum):
    """Which of a system's stores a job reads from."""

    first = "first"
    second = "second"


class BackupChoice(dg.Config):
    """A backup that a job reads."""

    backup: str = Field(
        default="latest",
        description="Id of the backup, or latest for the newest full one. A partition chosen in "
        "the launchpad goes first.",
    )
    store: StoreChoice = Field(
        default=StoreChoice.first,
        description="Where it is read from: first, or second for its copy in the second store. "
        "What the run leaves in a store goes to the same one.",
    )


class LinkConfig(BackupChoice):
    """Links to the objects of a backup."""

    tables: list[str] = Field(
        default=[],
        description="Only the rows of these tables, as schema.table (public without a schema); "
        "nothing named is the whole backup.",
    )
    expires: str = Field(
        default="1h",
        description="How long the links live: 30m, 1h, 2d; at most 7d. They are kept in the run, "
        "where everybody who sees it can use them until then.",
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class QueryConfig(BackupChoice):
    """SQL over backups."""

    sql: str = Field(
        description="One statement that returns rows, in DuckDB's SQL; tables are named as in the "
        "database. It is kept in the run: it is no place for secrets.",
    )
    as_of: str = Field(
        default="",
        description="Over many backups instead of one: all, or FROM..TO with dates or ids, such "
        "as 2026-01-01..2026-01-31. Tables then have the columns backup_id and backed_up_at.",
    )
    rows: int = Field(
        default=100, ge=1, le=1000, description="How many rows are shown at most, up to 1000."
    )


class RestoreIntoConfig(BackupChoice):
    """A restore of a whole backup into an empty database."""

    into_env: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the URL of an empty database; never the URL itself.",
    )
    masked: bool = Field(
        default=False,
        description="Mask values on their way, as the YAML's masking says; needs "
        "BACKUP_MASKING_KEY where the run executes.",
    )
    confirm: TypeCONFIRM = Field(description="Type CONFIRM: rows will be written to that database.")


class RestoreMode(Enum):
    """What becomes of rows that the backup does not have."""

    replace = "replace"
    upsert = "upsert"


class PlanConfig(BackupChoice):
    """What a restore would be about."""

    mode: RestoreMode = Field(
        default=RestoreMode.replace,
        description="replace: the selected tables become equal to the backup; upsert: rows of the "
        "backup are inserted or updated, rows created since stay.",
    )
    modules: list[str] = Field(
        default=[], description="Only the tables of these modules; nothing named is everything."
    )
    tables: list[str] = Field(
        default=[], description="Only these tables, as schema.table (public without a schema)."
    )
    key: str = Field(
        default="",
        description="Primary key of one record of the one table, its columns separated by commas; "
        "empty means whole tables.",
    )
    with_children: bool = Field(
        default=False, description="With the record, the rows that referenced it in the backup."
    )
    into_env: str = Field(
        default="",
        pattern=r"^([A-Z][A-Z0-9_]*)?$",
        description="Environment variable with the URL of another database that has the tables; "
        "empty means the system's own.",
    )


class LiveRestoreConfig(PlanConfig):
    """A restore of the differences into a database in use."""

    plan: str = Field(
        default="",
        description="Hash of a plan: the restore refuses when it would do anything else by now.",
    )
    skip_safety: bool = Field(
        default=False,
        description="Take no safety backup of what is about to change, so that the restore cannot "
        "be undone; needs a reason.",
    )
    reason: str = Field(default="", description="Why it is done; logged and kept with the run.")
    lock_seconds: float = Field(
        default=30.0, gt=0, description="How long to wait for the application's locks."
    )
    refresh_views: bool = Field(
        default=False,
        description="Refresh every materialized view as part of the restore: all or nothing.",
    )
    confirm: TypeCONFIRM = Field(
        description="Type CONFIRM: live rows will be changed. The undo job takes it back, unless "
        "skip_safety is true."
    )


class UndoConfig(dg.Config):
    """Taking the last restore back."""

    store: StoreChoice = Field(
        default=StoreChoice.first,
        description="Where the safety backup is: the store that the restore read from.",
    )

    reason: str = Field(default="", description="Why it is done; logged and kept with the run.")
    lock_seconds: float = Field(
        default=30.0, gt=0, description="How long to wait for the application's locks."
    )
    confirm: TypeCONFIRM = Field(
        description="Type CONFIRM: live rows will be changed back. Run again, it undoes the undo."
    )


class RequestConfig(dg.Config):
    """Which request of the application a run carries out."""

    request: str = Field(description="Id of the request: the name of its folder under requests/.")


class NamedBackup(dg.Config):
    """One backup that must be named: what a job does to it is not meant for just any."""

    backup: str = Field(
        default="",
        description="Id of the backup; leave it empty when you choose the backup as partition.",
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class DeleteConfig(NamedBackup):
    """Removing one backup for good."""

    confirm: TypeCONFIRM = Field(
        description="Type CONFIRM: the backup's objects will be removed, for good."
    )


class ReencryptConfig(NamedBackup):
    """Encrypting backups anew."""

    backup: str = Field(
        default="",
        description="Id of the backup, or all; leave it empty when you choose the backup as "
        "partition.",
    )
    confirm: TypeCONFIRM = Field(
        description="Type CONFIRM: each backup is removed once its copy for today's recipients "
        "is proved."
    )


class PruneConfig(dg.Config):
    """Removing what retention no longer keeps."""

    dry_run: bool = Field(
        default=False,
        description="Only show what would be kept and removed, with the reasons.",
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class ReconcileConfig(dg.Config):
    """Comparing store and catalog."""

    repair: bool = Field(
        default=False,
        description="Remove objects that belong to no backup, and make the catalog agree with the "
        "store; needs confirm.",
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )
    confirm: TypeCONFIRM | None = Field(
        default=None, description="For repair, type CONFIRM: objects will be removed."
    )


class AcknowledgeConfig(dg.Config):
    """Ending a freeze of pruning."""

    reason: str = Field(
        description="Why pruning may go on although a guard was red; kept with the audit trail.",
    )
    guards: list[str] = Field(
        default=[], description="Only these guards; nothing named is every one that freezes."
    )


class UploadConfig(dg.Config):
    """Putting the backup of an archive into the store."""

    file: str = Field(
        description="Path of the archive on the machine where the run executes, as `download` "
        "made it.",
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class RebuildConfig(dg.Config):
    """Bringing the catalog back."""

    store: StoreChoice = Field(
        default=StoreChoice.first,
        description="From where: first, or second for what copies there are in the second store.",
    )


class CopyConfig(dg.Config):
    """Copying backups to the second store."""

    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class CsvTables(dg.Config):
    """Which tables are written as CSV files, and where."""

    modules: list[str] = Field(default=[], description="All tables of these modules, by name.")
    tables: list[str] = Field(
        default=[],
        description="These tables too, as schema.table (public without a schema). At least one "
        "module or table must be named.",
    )
    to: str = Field(
        description="Folder on the machine where the run executes; made if it is missing. Files "
        "that exist are not replaced."
    )
    reason: str = Field(
        default="", description="Why, in your words; kept with the run and the audit trail."
    )


class CsvExportConfig(CsvTables):
    """Writing tables as CSV files."""

    backup: str = Field(
        default="",
        description="Id of a backup, or latest for the newest full one; empty means the live "
        "database as it is now.",
    )
    store: StoreChoice = Field(
        default=StoreChoice.first,
        description="Where the backup is read from: first, or second for its copy in the second "
        "store.",
    )
    zipped: bool = Field(default=False, description="Write one zip archive with all files in it.")
    bom: bool = Field(
        default=False,
        description="Begin every file with a byte order mark, by which Excel knows UTF-8.",
    )
    masked: bool = Field(
        default=False,
        description="Mask values as the YAML's masking says; needs BACKUP_MASKING_KEY where the "
        "run executes.",
    )


class CsvTemplateConfig(CsvTables):
    """Writing empty CSV files for an import."""

    xlsx: bool = Field(
        default=False, description="One workbook a module, with drop-downs, instead of CSV files."
    )
