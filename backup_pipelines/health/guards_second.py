"""The stores of a system side by side, and the guard over the second one."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from backup_pipelines.health.evidence import Evidence
from backup_pipelines.health.finding import Finding, span, unknown
from backup_pipelines.health.guards_backups import recovery_point_target
from backup_pipelines.messages.scrub import scrub
from backup_pipelines.wording import age, count

SECOND_STORE = "second_store"

_NAMED = 5


class Destination(BaseModel):
    """One store of a system."""

    model_config = ConfigDict(frozen=True)

    name: Literal["first", "second"]
    url: str = Field(description="Without secrets; empty where the variable is not set.")
    problem: str = Field(default="", description="Why nothing else is known of it.")
    backups: int = 0
    newest: str = Field(default="", description="The newest good backup.")
    newest_at: datetime | None = None
    bytes: int = 0
    damaged: int = 0
    lacking: int = Field(default=0, description="How many backups it should have and lacks.")
    lacking_since: datetime | None = None


def destinations(evidence: Evidence) -> list[Destination]:
    """The first store, and the second where one was looked at."""
    bad = evidence.damaged.keys() | evidence.removing
    newest = next((entry for entry in evidence.backups if entry.id not in bad), None)
    first = Destination(
        name="first",
        url=scrub(evidence.store_url),
        backups=len(evidence.backups),
        bytes=evidence.storage_bytes,
        damaged=len(evidence.damaged) + len(evidence.unreadable),
        newest=newest.id if newest else "",
        newest_at=newest.snapshot_at if newest else None,
    )
    second = evidence.second
    if second is None:
        return [first]
    good = (one.manifest for one in second.listing.entries if one.status == "completed")
    copied = next(good, None)
    return [
        first,
        Destination(
            name="second",
            url=scrub(second.url),
            problem=second.problem,
            backups=len(second.listing.backups),
            bytes=second.bytes,
            damaged=len(_damaged(evidence)),
            lacking=len(evidence.lacking),
            lacking_since=_lacking_since(evidence),
            newest=copied.id if copied else "",
            newest_at=copied.snapshot_at if copied else None,
        ),
    ]


def second_store(evidence: Evidence) -> Finding:
    """Whether the second store can be reached, is whole, and has what it should have."""
    second, name = evidence.second, evidence.name
    if second is None:
        return unknown(SECOND_STORE, "The second store was not looked at.")
    if second.problem:
        said = "cannot be looked at" if second.url else "is missing, so nothing is copied"
        return _warning(
            f"The second store {said}: {second.problem}",
            "Put right what it says. Backups go on meanwhile, and are copied afterwards.",
            cause="unreachable" if second.url else "unset",
        )
    numbers = {
        "backups": len(second.listing.backups),
        "bytes": second.bytes,
        "lacking": len(evidence.lacking),
    }
    damaged = _damaged(evidence)
    if damaged:
        return _warning(
            f"Copies in the second store are damaged: {', '.join(damaged[:_NAMED])}.",
            f"Those that are whole in the first store are copied again: `backup-pipelines copy "
            f"{name}`.",
            cause=" ".join(damaged),
            numbers=numbers,
        )
    since, target = _lacking_since(evidence), recovery_point_target(evidence)
    if since is not None and evidence.now - since > target:
        return _warning(
            f"The second store lacks {count(len(evidence.lacking), 'backup')} for "
            f"{span((evidence.now - since).total_seconds())}; the target is "
            f"{span(target.total_seconds())}.",
            f"See why the last copy failed: `backup-pipelines audit {name} --operation copy`; then "
            f"`backup-pipelines copy {name}`.",
            cause="lag",
            numbers=numbers,
        )
    said = f"The second store has {count(numbers['backups'], 'backup')}"
    if since is not None:
        said += f" and lacks {len(evidence.lacking)} since {age(since, evidence.now)}"
    return Finding(guard=SECOND_STORE, status="ok", message=f"{said}.", numbers=numbers)


def _warning(
    message: str, advice: str, *, cause: str, numbers: dict[str, int] | None = None
) -> Finding:
    return Finding(
        guard=SECOND_STORE,
        status="warning",
        message=message,
        advice=advice,
        numbers=numbers or {},
        cause=cause,
    )


def _damaged(evidence: Evidence) -> list[str]:
    if evidence.second is None:
        return []
    listing = evidence.second.listing
    known = {one.manifest.id for one in listing.entries if one.status == "damaged"}
    return sorted(known | listing.problems.keys(), reverse=True)


def _lacking_since(evidence: Evidence) -> datetime | None:
    return min((entry.created_at for entry in evidence.lacking), default=None)
