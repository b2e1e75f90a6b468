"""What people fill in when they launch a run; every field explains itself in the launchpad.

Run config is stored in clear text: databases are named by environment variables, never by URL.
"""

from enum import Enum

import dagster as dg
from pydantic import Field


class TypeCONFIRM(Enum):
    """The typed confirmation; its name is the hint that the launchpad shows when it is missing."""

    CONFIRM = "CONFIRM"


class BackupConfig(dg.Config):
    """A backup of whatever assets are selected."""

    label: str = Field(default="", description="A name for people, shown in the catalog.")
    reason: str = Field(default="", description="Why it is taken; kept in the manifest.")


class BackupChoice(dg.Config):
    """A backup that a job reads."""

    backup: str = Field(
        default="latest",
        description="Id of the backup, or latest for the newest full one. A partition chosen in "
        "the launchpad goes first.",
    )


class RestoreIntoConfig(BackupChoice):
    """A restore of a whole backup into an empty database."""

    into_env: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the URL of an empty database; never the URL itself.",
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
    confirm: TypeCONFIRM = Field(description="Type CONFIRM: live rows will be changed.")


class UndoConfig(dg.Config):
    """Taking the last restore back."""

    reason: str = Field(default="", description="Why it is done; logged and kept with the run.")
    lock_seconds: float = Field(
        default=30.0, gt=0, description="How long to wait for the application's locks."
    )
    confirm: TypeCONFIRM = Field(description="Type CONFIRM: live rows will be changed.")


class RequestConfig(dg.Config):
    """Which request of the application a run carries out."""

    request: str = Field(description="Id of the request: the name of its folder under requests/.")


class NamedBackup(dg.Config):
    """One backup that must be named: what a job does to it is not meant for just any."""

    backup: str = Field(
        default="",
        description="Id of the backup; leave it empty when you choose the backup as partition.",
    )
    reason: str = Field(default="", description="Why; kept with the run and the audit trail.")


class DeleteConfig(NamedBackup):
    """Removing one backup for good."""

    confirm: TypeCONFIRM = Field(description="Type CONFIRM: the backup's objects will be removed.")


class PruneConfig(dg.Config):
    """Removing what retention no longer keeps."""

    dry_run: bool = Field(
        default=False,
        description="Only show what would be kept and removed, with the reasons.",
    )
    reason: str = Field(default="", description="Why; kept with the run and the audit trail.")


class ReconcileConfig(dg.Config):
    """Comparing store and catalog."""

    repair: bool = Field(
        default=False,
        description="Remove objects that belong to no backup, and make the catalog agree with the "
        "store; needs confirm.",
    )
    reason: str = Field(default="", description="Why; kept with the run and the audit trail.")
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
    reason: str = Field(default="", description="Why; kept with the run and the audit trail.")
