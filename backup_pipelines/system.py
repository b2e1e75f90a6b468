"""One system as its `defs.yaml` describes it: the database, the modules, what is left out.

The Dagster component takes these same fields (components/postgres_backup.py), so the YAML, its
validation and the command line share one definition.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from backup_pipelines.layout import Format
from backup_pipelines.settings import (
    VARIABLE,
    ActivityLogSpec,
    DrillSpec,
    GuardsSpec,
    NotificationSpec,
    ReconcileSpec,
    RetentionSpec,
    ScheduleSpec,
    Section,
    Size,
    VerifySpec,
)
from backup_pipelines.settings_access import EVERYONE, Access, RolesFromSpec
from backup_pipelines.settings_masking import MaskingSpec
from backup_pipelines.settings_storage import EncryptionSpec, ObjectLockSpec, SecondStoreSpec
from backup_pipelines.source_load import check_connections

# Dagster's group names and partition set names allow no other characters.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

# What Dagster takes for the owner of an asset.
_OWNER = re.compile(r"team:\S.*|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")

# Module names with a meaning of their own in asset keys or in the catalog.
OTHER = "other"
_RESERVED_MODULES = {OTHER, "catalog"}


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: use lower-case letters, digits and _")
    return name


def _check_owner(owner: str) -> str:
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"{owner!r} is no owner: write an e-mail address, or team:NAME")
    return owner


Name = Annotated[str, AfterValidator(_check_name)]
Owner = Annotated[str, AfterValidator(_check_owner)]


class ModuleSpec(Section):
    """The tables of one module."""

    tables: list[str] = Field(
        min_length=1,
        description="Tables as schema.table (public when no schema is given); * and ? make a "
        "pattern. A table named outright belongs where it is named, whatever patterns say.",
    )
    description: str = Field(default="", description="What the module holds, shown in the UI.")
    schedule: ScheduleSpec | None = Field(
        default=None, description="When the module alone is backed up, beside the whole system."
    )


class ExcludedSpec(Section):
    """Tables whose rows are left out on purpose."""

    table: str = Field(description="Table or pattern, as in a module.")
    reason: str = Field(min_length=3, description="Why its rows are left out; kept in manifests.")


class RequestsSpec(Section):
    """What the application may ask for by requests in the store."""

    operations: list[Literal["backup", "restore"]] = Field(
        default_factory=list[Literal["backup", "restore"]],
        description="Operations that signed requests may ask for, backup and restore; empty "
        "means that no requests are taken.",
    )


class System(Section):
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
    owners: list[Owner] = Field(
        default_factory=list[Owner],
        description="Who looks after the backups, shown on the assets and jobs: e-mail addresses, "
        "or team:NAME.",
    )
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
    max_connections: Annotated[int, AfterValidator(check_connections)] | None = Field(
        default=None,
        description="How many sessions a backup may have on the database at once, 2 or more; empty "
        "means one and as many as readers says.",
    )
    throttle: float = Field(
        default=0,
        ge=0,
        description="How many MB of rows a backup may read a second, over all its readers; 0 is as "
        "fast as it goes. A safety backup is not held back.",
    )
    format: Format = Field(
        default="parquet",
        description="How rows are written: parquet, or jsonl for JSON Lines in zstd.",
    )
    full_copy_every: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Of so many backups in a row one writes every part anew; the others name the "
        "parts of earlier ones whose rows are still the same. 1 writes all each time.",
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
    object_lock: ObjectLockSpec | None = Field(
        default=None,
        description="How long nobody can remove or change the objects of a backup; needs a bucket "
        "with Object Lock.",
    )
    encryption: EncryptionSpec = Field(
        default_factory=EncryptionSpec, description="To whom backups are encrypted."
    )
    second_store: SecondStoreSpec | None = Field(
        default=None, description="A second store, to which every backup is copied."
    )
    masking: MaskingSpec | None = Field(
        default=None, description="What becomes of which column in a masked copy."
    )
    drill: DrillSpec = Field(
        default_factory=DrillSpec, description="Where drills restore to, and how often."
    )
    verify: VerifySpec = Field(
        default_factory=VerifySpec, description="How often every backup is read back."
    )
    reconcile: ReconcileSpec = Field(
        default_factory=ReconcileSpec, description="How often store and catalog are compared."
    )
    guards: GuardsSpec = Field(
        default_factory=GuardsSpec, description="From when on something is wrong."
    )
    notifications: list[NotificationSpec] = Field(
        default_factory=lambda: [NotificationSpec()], description="Who is told what."
    )
    heartbeat_url_env: str = Field(
        default="BACKUP_HEARTBEAT_URL",
        pattern=VARIABLE,
        description="Environment variable with a URL that is asked for when all is well, and with "
        "/fail behind it when not, so that an outside watchdog misses a dead daemon.",
    )
    activity_log: ActivityLogSpec | None = Field(
        default=None, description="The application's own log, which shall tell of operations too."
    )
    requests: RequestsSpec = Field(
        default_factory=RequestsSpec,
        description="What the application may ask for by requests in the store.",
    )
    access: Access = Field(
        default="open",
        description="enforced: only whoever has the role may do something; open: everybody who "
        "reaches the UI or the command line may.",
    )
    admins: list[str] = Field(
        default_factory=list,
        description="Who may restore, delete, prune, import and see rows: names as people sign in, "
        "os:NAME for a user of this machine's command line, app:NAME for signed requests.",
    )
    operators: list[str] = Field(
        default_factory=list,
        description="Who may back up, verify, drill, plan and pin; * is everybody signed in.",
    )
    viewers: list[str] = Field(
        default_factory=lambda: [EVERYONE],
        description="Who may look; * is everybody signed in.",
    )
    roles_from: RolesFromSpec | None = Field(
        default=None, description="A table of the application with the roles of its users."
    )

    @model_validator(mode="after")
    def _check_access(self) -> "System":
        if EVERYONE in self.admins:
            raise ValueError(f"admins: {EVERYONE} would be everybody; write names")
        if self.access == "enforced" and not self.admins:
            raise ValueError(
                "admins: name one at least, who gets in when no table of roles can be asked"
            )
        return self

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
