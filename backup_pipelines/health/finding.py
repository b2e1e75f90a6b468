"""What a guard found."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from backup_pipelines.system import System

READABLE = "readable"
"""The guard that needs the live database."""

OPTIONAL = frozenset({"object_lock", "second_store"})
"""Guards of what not every system has, each with the name of the YAML's key that asks for it."""

Status = Literal["ok", "warning", "error", "unknown"]

_UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


class Finding(BaseModel):
    """What one guard found: how it is, in which numbers, and what to do."""

    model_config = ConfigDict(frozen=True)

    guard: str
    status: Status = Field(description="unknown when it could not be looked at, which is not ok.")
    message: str
    advice: str = Field(default="", description="What to do, with the command to run.")
    numbers: Mapping[str, float] = Field(default_factory=dict[str, float])
    cause: str = Field(
        default="",
        description="What it is about; the same status for another cause is another alarm. Of "
        "guards that freeze, causes sort by time.",
    )
    about: tuple[str, ...] = Field(default=(), description="The backups or tables that it names.")
    at: datetime | None = Field(
        default=None, description="When it was looked at, where that was earlier."
    )


def applies(guard: str, system: System) -> bool:
    """Whether a system has what a guard looks at."""
    return guard not in OPTIONAL or getattr(system, guard) is not None


def span(seconds: float) -> str:
    """A duration for people: `12.3 s`, `26.5 h`."""
    for length, unit in _UNITS:
        # From two of a unit on, as ages are shown.
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def unknown(guard: str, message: str, advice: str = "") -> Finding:
    """What a guard says that cannot tell."""
    return Finding(guard=guard, status="unknown", message=message, advice=advice)
