"""Which backups the second store lacks: a function of what both stores have, nothing else."""

from dataclasses import replace
from datetime import datetime

from backup_pipelines.catalog import Listing
from backup_pipelines.manifest import Manifest
from backup_pipelines.retention.policy import Held, decide
from backup_pipelines.retention.prune import held
from backup_pipelines.settings import RetentionSpec


def lacking(first: Listing, second: Listing, rule: RetentionSpec, now: datetime) -> list[Manifest]:
    """The good backups of the first store that the second should have and lacks, newest first.

    A copy that was found damaged is one that it lacks.
    """
    there = {one.manifest.id for one in second.entries if one.status == "completed"}
    both = {one.id: one for one in held(first, {})}
    for one in held(second, {}):
        both[one.id] = _joined(both.get(one.id, one), one)
    kept = {verdict.id for verdict in decide(rule, list(both.values()), now) if verdict.keep}
    return [entry for entry in first.good if entry.id in kept - there]


def _joined(one: Held, other: Held) -> Held:
    return replace(one, good=one.good or other.good, pinned=one.pinned or other.pinned)
