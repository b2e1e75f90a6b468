"""What a system's YAML says about running by itself: schedules, retention, guards, messages."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_TIME_OF_DAY = r"^([01]\d|2[0-3]):[0-5]\d$"

# CronSim takes a sixth for seconds, which no schedule of Dagster has.
_CRON_FIELDS = 5
# Last days, weekdays nearest to a day and the like: CronSim knows them, Dagster refuses them.
_BEYOND_CRON = re.compile(r"#|(?<![A-Z])(\d*[LW]|LW)(?![A-Z])", re.IGNORECASE)

VARIABLE = r"^([A-Z][A-Z0-9_]*)?$"
"""The name of an environment variable, or nothing."""

Every = Literal["every_2_days", "daily", "weekly", "monthly", "cron", "never"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

Severity = Literal["info", "warning", "error"]
Topic = Literal[
    "backup", "restore", "undo", "prune", "delete", "drill", "verify", "copy", "reencrypt", "guard"
]


def parse_size(text: str) -> int:
    """Bytes in a size such as `10 GB` (decimal units); raises ValueError otherwise."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a number and B, KB, MB, GB or TB")
    return int(float(match[1]) * _UNITS[match[2]])


def _check_size(text: str) -> str:
    if not parse_size(text):
        raise ValueError(f"{text!r} leaves no room for any backup")
    return text


Size = Annotated[str, AfterValidator(_check_size)]


class Section(BaseModel):
    """A part of the YAML; unknown keys are refused."""

    # What stands in the wrong place may be a secret, and errors end in logs.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ScheduleSpec(Section):
    """When something is due."""

    every: Every = Field(
        default="every_2_days", description="The period; cron takes it from `cron`."
    )
    at: str = Field(
        default="02:00",
        pattern=_TIME_OF_DAY,
        description="Local time of day at which it becomes due, HH:MM.",
    )
    weekday: Weekday = Field(
        default="sunday", description="For weekly: the day on which it becomes due."
    )
    cron: str = Field(
        default="", description="For cron: five fields, as crontab has them; `at` is not used then."
    )
    timezone: str = Field(default="UTC", description="IANA time zone of `at` and `cron`.")
    retries: int = Field(
        default=3, ge=0, le=20, description="How often a failed one is tried again until next `at`."
    )
    retry_minutes: int = Field(
        default=15, ge=1, description="How many minutes to wait before each of these."
    )

    @model_validator(mode="after")
    def _check_zone(self) -> Self:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone: {self.timezone!r} is no IANA time zone; write one such as Europe/Paris"
            ) from error
        return self

    @model_validator(mode="after")
    def _check_cron(self) -> Self:
        if (self.every == "cron") != bool(self.cron):
            raise ValueError("cron: goes with every: cron, and with nothing else")
        if self.cron:
            try:
                if len(self.cron.split()) != _CRON_FIELDS or _BEYOND_CRON.search(self.cron):
                    raise CronSimError
                next(CronSim(self.cron, datetime.now(UTC)))
            except (CronSimError, StopIteration) as error:
                raise ValueError(
                    f"cron: {self.cron!r} is no cron expression of five fields with a next time"
                ) from error
        return self


class DrillScheduleSpec(ScheduleSpec):
    """When a drill of the newest full backup is due."""

    every: Every = Field(default="monthly", description="The period, as of the backups' schedule.")
    at: str = Field(
        default="04:00",
        pattern=_TIME_OF_DAY,
        description="Local time of day at which it becomes due, HH:MM.",
    )
    retries: int = Field(default=1, ge=0, le=20, description="How often a failed one is retried.")


class ReconcileScheduleSpec(DrillScheduleSpec):
    """When a comparison of store and catalog is due."""

    every: Every = Field(default="weekly", description="The period, as of the backups' schedule.")
    at: str = Field(
        default="05:00",
        pattern=_TIME_OF_DAY,
        description="Local time of day at which it becomes due, HH:MM.",
    )


class VerifyScheduleSpec(DrillScheduleSpec):
    """When the next backups of the rotation are due for verification."""

    every: Every = Field(default="daily", description="The period, as of the backups' schedule.")
    at: str = Field(
        default="06:00",
        pattern=_TIME_OF_DAY,
        description="Local time of day at which it becomes due, HH:MM.",
    )


class RetentionRule(Section):
    """How long backups are kept: what any one of these keeps, is kept."""

    keep_last: int = Field(default=0, ge=0, description="How many of the newest are kept.")
    keep_days: int = Field(default=0, ge=0, description="For how many days each is kept.")
    keep_daily: int = Field(default=0, ge=0, description="For how many days the last is kept.")
    keep_weekly: int = Field(default=0, ge=0, description="For how many weeks the last is kept.")
    keep_monthly: int = Field(default=0, ge=0, description="For how many months the last is kept.")

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not any(self.rules.values()):
            raise ValueError(
                "the policy keeps nothing: give keep_last, keep_days, keep_daily, keep_weekly or "
                "keep_monthly"
            )
        return self

    @property
    def rules(self) -> dict[str, int]:
        """The numbers by their names."""
        names = ("keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly")
        return {name: getattr(self, name) for name in names}


_SAFETY_KEPT = 10


class RetentionSpec(RetentionRule):
    """Which backups are kept; a type without a rule of its own shares this one."""

    keep_last: int = Field(
        default=30, ge=0, description="How many of the newest completed backups are kept."
    )
    floor: int = Field(
        default=2, ge=1, description="How many of the newest good full backups are never pruned."
    )
    max_size: Size | None = Field(
        default=None,
        description="How much all of them may take; the oldest go first, down to the floor.",
    )
    types: dict[Literal["manual", "scheduled", "module", "safety"], RetentionRule] = Field(
        default_factory=lambda: {"safety": RetentionRule(keep_last=_SAFETY_KEPT)},
        description="Rules of their own for types of backups: manual, scheduled, module, safety.",
    )


class DrillSpec(Section):
    """Where drills restore to, and how often they run by themselves."""

    server_url_env: str = Field(
        default="",
        pattern=VARIABLE,
        description="Environment variable with the URL of a server whose role may create "
        "databases; empty means the embedded server.",
    )
    schedule: DrillScheduleSpec = Field(
        default_factory=DrillScheduleSpec,
        description="When a drill of the newest full backup is due.",
    )


class VerifySpec(Section):
    """How often every backup is read back."""

    days: int = Field(
        default=30, ge=1, description="Within how many days each backup is verified once more."
    )
    schedule: VerifyScheduleSpec = Field(
        default_factory=VerifyScheduleSpec,
        description="When the backups that were verified longest ago are due.",
    )


class ReconcileSpec(Section):
    """How often the store and the catalog are compared."""

    schedule: ReconcileScheduleSpec = Field(
        default_factory=ReconcileScheduleSpec,
        description="When a comparison is due; it only reports.",
    )


class GuardsSpec(Section):
    """From when on something is wrong."""

    shrink_percent: float = Field(
        default=50, gt=0, le=100, description="A table lost this share of its rows or bytes."
    )
    growth_percent: float = Field(default=300, gt=0, description="A table has grown by this share.")
    min_rows: int = Field(
        default=100,
        ge=0,
        description="Tables that had fewer rows may shrink and grow freely.",
    )
    storage_warn_percent: float = Field(
        default=80, gt=0, description="Share of storage_limit that warns."
    )
    storage_error_percent: float = Field(
        default=95, gt=0, description="Share of storage_limit that is an error."
    )
    window_minutes: float = Field(
        default=60, gt=0, description="A backup that takes longer is too slow for its window."
    )
    recovery_point_hours: float | None = Field(
        default=None,
        gt=0,
        description="How old the newest good full backup may get; empty means the schedule's "
        "period and two hours.",
    )
    recovery_time_minutes: float = Field(
        default=240, gt=0, description="How long the restore of a drill may take."
    )
    drill_days: float = Field(
        default=35, gt=0, description="How old the last drill that passed may get."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.storage_warn_percent > self.storage_error_percent:
            raise ValueError(
                "storage_warn_percent: is above storage_error_percent, so it would never warn"
            )
        return self


class NotificationSpec(Section):
    """Who is told what."""

    urls_env: str = Field(
        default="BACKUP_NOTIFY_URLS",
        pattern=VARIABLE,
        description="Environment variable with Apprise URLs, separated by spaces.",
    )
    events: list[Topic] = Field(
        default_factory=list[Topic], description="Only these operations; nothing named is all."
    )
    severity: Severity = Field(
        default="info", description="Only what is at least this severe: info, warning or error."
    )


ACTIVITY_FIELDS = (
    "operation",
    "action",
    "outcome",
    "severity",
    "operator",
    "backup",
    "reason",
    "message",
    "at",
    "details",
)
"""What a column of the application's log can be filled with, in braces."""

_IN_BRACES = re.compile(r"\{(\w+)\}")


def _check_template(text: str) -> str:
    unknown = sorted(set(_IN_BRACES.findall(text)) - set(ACTIVITY_FIELDS))
    if unknown:
        raise ValueError(
            f"there is no {{{unknown[0]}}}; there are "
            + ", ".join(f"{{{name}}}" for name in ACTIVITY_FIELDS)
        )
    return text


class ActivityLogSpec(Section):
    """The application's own log, which shall tell of operations too."""

    database_url_env: str = Field(
        pattern=VARIABLE,
        description="Environment variable with the URL of a role that may insert into the table; "
        "while it is not set, nothing is written.",
    )
    table: str = Field(pattern=r"^[^.]+\.[^.]+$", description="The table, as schema.table.")
    columns: dict[str, Annotated[str, AfterValidator(_check_template)]] = Field(
        min_length=1,
        description="Column to what is written there: text with {operation}, {action}, {outcome}, "
        "{severity}, {operator}, {backup}, {reason}, {message}, {at} or {details} (JSON).",
    )


PERIODS: dict[Every, timedelta] = {
    "every_2_days": timedelta(days=2),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
}
"""The longest time between two slots; a cron expression has its own."""
