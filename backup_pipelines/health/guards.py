"""Every guard of a system by its name; each looks at the evidence only.

A guard that cannot tell says `unknown`, with why, and never `ok`.
"""

from collections.abc import Callable

from backup_pipelines.health import guards_backups, guards_second, guards_tables, guards_upkeep
from backup_pipelines.health.evidence import Evidence
from backup_pipelines.health.finding import READABLE, Finding, applies

FREEZING = frozenset({"shrink", "intact", "restorable"})
"""Guards whose red says that newer backups may be worse than the older ones that they replace.

Good history is not pruned then until somebody has looked, even if the guard turns green by itself.
The others do not freeze. Some say nothing against the backups (coverage, growth, types, window,
recovery_time, identity, object_lock, second_store, notify, audit), pruning helps others (storage,
prune), and where no backups come (freshness, readable, success) retention makes none of them older:
it counts from the newest one.
"""

GUARDS: dict[str, Callable[[Evidence], Finding]] = {
    "freshness": guards_backups.freshness,
    "success": guards_backups.success,
    "intact": guards_backups.intact,
    "restorable": guards_backups.restorable,
    "recovery_time": guards_backups.recovery_time,
    "identity": guards_upkeep.identity,
    READABLE: guards_upkeep.readable,
    "coverage": guards_tables.coverage,
    "shrink": guards_tables.shrink,
    "growth": guards_tables.growth,
    "types": guards_tables.types,
    "window": guards_backups.window,
    "storage": guards_upkeep.storage,
    "prune": guards_upkeep.prune,
    "object_lock": guards_upkeep.object_lock,
    "notify": guards_upkeep.notify,
    "audit": guards_upkeep.audit,
    guards_second.SECOND_STORE: guards_second.second_store,
}
"""In the order in which people should read them."""


def look(evidence: Evidence) -> list[Finding]:
    """What every guard finds that the system has, in the order in which people should read it."""
    system = evidence.system
    return [guard(evidence) for name, guard in GUARDS.items() if applies(name, system)]
