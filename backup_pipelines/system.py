"""One system as its `defs.yaml` describes it: the database, the modules, what is left out.

The Dagster component takes these same fields (components/postgres_backup.py), so the YAML, its
validation and the command line share one definition.
"""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Dagster's group names and partition set names allow no other characters.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

# Module names with a meaning of their own in asset keys or in the catalog.
OTHER = "other"
_RESERVED_MODULES = {OTHER, "catalog"}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB)")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: use lower-case letters, digits and _")
    return name


def parse_size(text: str) -> int:
    """Bytes in a size such as `10 GB` (decimal units); raises ValueError otherwise."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a number and B, KB, MB, GB or TB")
    return int(float(match[1]) * _UNITS[match[2]])


def _check_size(text: str) -> str:
    parse_size(text)
    return text


Name = Annotated[str, AfterValidator(_check_name)]
Size = Annotated[str, AfterValidator(_check_size)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleSpec(_Section):
    """The tables of one module."""

    tables: list[str] = Field(
        min_length=1,
        description="Tables as schema.table (public when no schema is given); * and ? make a "
        "pattern. A table named outright belongs where it is named, whatever patterns say.",
    )
    description: str = Field(default="", description="What the module holds, shown in the UI.")


class ExcludedSpec(_Section):
    """Tables whose rows are left out on purpose."""

    table: str = Field(description="Table or pattern, as in a module.")
    reason: str = Field(min_length=3, description="Why its rows are left out; kept in manifests.")


class ScheduleSpec(_Section):
    """When the system backs itself up."""

    every: Literal["every_2_days", "daily", "weekly", "never"] = Field(
        default="every_2_days", description="The period between scheduled backups."
    )
    at: str = Field(
        default="02:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Local time of day at which a backup becomes due, HH:MM.",
    )
    timezone: str = Field(default="UTC", description="IANA time zone of `at`.")

    @model_validator(mode="after")
    def _check_zone(self) -> "ScheduleSpec":
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone: {self.timezone!r} is no IANA time zone; write one such as Europe/Paris"
            ) from error
        return self


class RetentionSpec(_Section):
    """Which backups are kept."""

    keep_last: int = Field(
        default=30, ge=1, description="How many of the newest completed backups are kept."
    )


class DrillSpec(_Section):
    """Where drills restore to."""

    server_url_env: str = Field(
        default="",
        description="Environment variable with the URL of a server whose role may create "
        "databases; empty means the embedded server.",
    )


class RequestsSpec(_Section):
    """What the application may ask for by requests in the store."""

    operations: list[Literal["backup", "restore"]] = Field(
        default_factory=list[Literal["backup", "restore"]],
        description="Operations that signed requests may ask for, backup and restore; empty "
        "means that no requests are taken.",
    )


class System(_Section):
    """One source database and its modules."""

    system: Name = Field(description="Short name of the system; prefix of its assets and objects.")
    database_url_env: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the database's URL; never the URL itself.",
    )
    restore_url_env: str = Field(
        default="",
        pattern=r"^([A-Z][A-Z0-9_]*)?$",
        description="Environment variable with the URL of the same database as the role that owns "
        "the tables, by which restores write; empty means the same as database_url_env.",
    )
    description: str = Field(default="", description="What the system is, shown in the UI.")
    modules: dict[Name, ModuleSpec] = Field(description="Module name to its tables.")
    excluded: list[ExcludedSpec] = Field(
        default_factory=list, description="Tables left out on purpose, each with a reason."
    )
    schemas: list[str] = Field(
        default_factory=list,
        description="Schemas that belong to the system; empty means all but PostgreSQL's own.",
    )
    readers: int = Field(
        default=2, ge=1, le=32, description="How many connections read tables at once."
    )
    schedule: ScheduleSpec = Field(
        default_factory=ScheduleSpec, description="When the system backs itself up."
    )
    retention: RetentionSpec = Field(
        default_factory=RetentionSpec, description="Which backups are kept."
    )
    storage_limit: Size = Field(
        default="10 GB", description="How much the system's backups may take in the store."
    )
    drill: DrillSpec = Field(default_factory=DrillSpec, description="Where drills restore to.")
    requests: RequestsSpec = Field(
        default_factory=RequestsSpec,
        description="What the application may ask for by requests in the store.",
    )

    @model_validator(mode="after")
    def _check_modules(self) -> "System":
        named: dict[str, str] = {}
        for module, spec in self.modules.items():
            if module in _RESERVED_MODULES:
                raise ValueError(f"modules.{module}: the name {module} is reserved")
            for table in spec.tables:
                name = qualify(table)
                if name in named:
                    raise ValueError(f"modules.{module}: {name} is already in module {named[name]}")
                named[name] = module
        for spec in self.excluded:
            if qualify(spec.table) in named:
                raise ValueError(
                    f"excluded: {spec.table} is also in module {named[qualify(spec.table)]}"
                )
        return self


def qualify(table: str) -> str:
    """`schema.table` for a table as people write it; without a schema it is in public."""
    return table if "." in table else f"public.{table}"


def is_pattern(table: str) -> bool:
    """Whether a table in the YAML is a pattern rather than a name."""
    return "*" in table or "?" in table
