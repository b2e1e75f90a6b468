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
