"""Verifying in rotation: which backups are read back now, so that each is once in so many days."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from backup_pipelines.catalog import CatalogEntry
from backup_pipelines.scheduling import schedule
from backup_pipelines.settings import PERIODS, ScheduleSpec

_DAILY = PERIODS["daily"]


def due_for_verification(
    entries: Iterable[CatalogEntry], days: int, now: datetime, period: timedelta = _DAILY
) -> list[str]:
    """Ids of the backups to verify in this run, the one verified longest ago first.

    With a run in every `period`, each backup is verified within `days` of its last verification or
    its sealing, and the work is spread evenly. Damaged ones are known, and are left out.
    """
    whole = sorted(
        (entry.verified_at, entry.manifest.id)
        for entry in entries
        if entry.status == "completed" and entry.verified_at is not None
    )
    count = math.ceil(len(whole) * period / timedelta(days=days))
    for number, (verified_at, _) in enumerate(whole, 1):
        # Of the runs until then one is held back, in case it comes late or not at all.
        runs = max(1, (verified_at + timedelta(days=days) - now) // period)
        count = max(count, math.ceil(number / runs))
    return [backup_id for _, backup_id in whole[:count]]


def period_of(spec: ScheduleSpec, now: datetime) -> timedelta:
    """How long it may take from one run to the next; people without a schedule come daily."""
    if spec.every == "never":
        return _DAILY
    return schedule.period(spec, now)
