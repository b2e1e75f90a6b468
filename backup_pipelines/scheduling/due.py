"""When things were last done, as the store knows it: what schedules decide by."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from backup_pipelines import catalog, layout, state_log
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import Damaged, NewerFormat, NoStore, NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store

# Clocks of several machines differ a little.
_AHEAD = timedelta(minutes=5)


def last_backup(
    store: Store, system: str, module: str | None = None, *, until: datetime | None = None
) -> datetime | None:
    """The start of the newest completed scheduled backup that holds the system, or one module.

    What is dated after `until` (now and five minutes) is not looked at.
    """

    def holds(entry: Manifest) -> bool:
        return entry.scope == "full" or (entry.scope == "modules" and module in entry.modules)

    scheduled = _newest_first(store, system, until, lambda name: "-scheduled-" in name)
    return next((BackupId(entry.id).started_at for entry in scheduled if holds(entry)), None)


def has_full_backup(store: Store, system: str) -> bool:
    """Whether there is anything to drill."""
    # Of these types every backup is one of modules or of tables.
    found = _newest_first(
        store, system, None, lambda name: "-module-" not in name and "-safety-" not in name
    )
    return any(entry.scope == "full" for entry in found)


def last_drill(store: Store, system: str, *, until: datetime | None = None) -> datetime | None:
    """The time of the newest drill that passed; what is after `until` is not looked at."""
    limit = until or datetime.now(UTC) + _AHEAD
    try:
        keys = [found.key for found in store.objects(layout.drills_prefix(system))]
    except NoStore:
        return None
    times = (state_log.moment(key.rsplit("/", 1)[-1].removesuffix(".json")) for key in keys)
    return max((at for at in times if at <= limit), default=None)


def _newest_first(
    store: Store, system: str, until: datetime | None, wanted: Callable[[str], bool]
) -> Iterator[Manifest]:
    """Whole backups, newest first, whose id is wanted; each manifest is read when asked for."""
    limit = until or datetime.now(UTC) + _AHEAD
    try:
        ids = catalog.ids(store, system)
    except NoStore:
        # The first backup makes the bucket.
        return
    for backup_id in reversed(ids):
        if not wanted(backup_id) or BackupId(backup_id).started_at > limit:
            continue
        try:
            yield catalog.load(store, system, backup_id)
        except (NotFound, Damaged, NewerFormat):
            # Unfinished, or of no use to anybody who would restore it here.
            continue
