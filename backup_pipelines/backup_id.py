"""Names of backups: sortable by time, safe as object keys, partition keys and file names."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

from backup_pipelines.errors import Refused

BackupType = Literal["manual", "scheduled", "module", "safety"]

# Dagster does not validate partition keys; these characters are safe in its URLs, in object keys
# and in file names on every system.
_PATTERN = re.compile(r"^([0-9]{8}T[0-9]{6}Z)-(manual|scheduled|module|safety)-([0-9a-f]{6})$")
_TIME = "%Y%m%dT%H%M%SZ"

# Of the six hex digits two tell when within the second, so that backups of one second sort by
# their start: a system's lock keeps them further apart than that. The rest is chance.
_TICKS, _SECOND = 256, 1_000_000


@dataclass(frozen=True, order=True)
class BackupId:
    """An id such as `20260115T020000Z-scheduled-9f3c1a`: UTC second, type, six hex digits."""

    text: str

    @classmethod
    def new(cls, backup_type: BackupType, at: datetime) -> "BackupId":
        """A fresh id for a backup of `backup_type` that starts `at` (an aware time)."""
        tick = at.microsecond * _TICKS // _SECOND
        suffix = f"{tick:02x}{secrets.token_hex(2)}"
        return cls(f"{at.astimezone(UTC).strftime(_TIME)}-{backup_type}-{suffix}")

    @classmethod
    def parse(cls, text: str) -> "BackupId":
        """The id in `text`; raises Refused when it is none."""
        if not cls.is_valid(text):
            raise Refused(
                f"{text!r} is not a backup id; it looks like 20260115T020000Z-manual-9f3c1a, "
                "or say latest"
            )
        return cls(text)

    @classmethod
    def is_valid(cls, text: str) -> bool:
        """Whether `text` is a backup id."""
        if not _PATTERN.fullmatch(text):
            return False
        try:
            datetime.strptime(text.split("-")[0], _TIME)
        except ValueError:
            return False
        return True

    @property
    def type(self) -> BackupType:
        """The type in the id."""
        return cast(BackupType, self.text.split("-")[1])

    @property
    def started_at(self) -> datetime:
        """The UTC second in which the backup started."""
        return datetime.strptime(self.text.split("-")[0], _TIME).replace(tzinfo=UTC)

    def __str__(self) -> str:
        return self.text
