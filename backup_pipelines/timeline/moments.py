"""Which backups a look back is about: one, all, or those of a stretch of time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from backup_pipelines import catalog
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.progress import Report, silent
from backup_pipelines.storage.store import Store

ALL = "all"
_TO = ".."
_DATE_LENGTH = len("2026-01-31")


def names_many(backup: str) -> bool:
    """Whether it is `all` or FROM..TO rather than one backup."""
    return backup == ALL or _TO in backup


def completed(store: Store, system: str, report: Report = silent) -> list[Manifest]:
    """Every backup that is not known to be damaged or on its way out, oldest first.

    What that leaves out although it is there is told to `report`.
    """
    found = catalog.listing(store, system)
    for problem in found.unreadable:
        report(f"not looked into: {problem}")
    for entry in found.entries:
        if entry.status == "damaged":
            report(f"not looked into: backup {entry.manifest.id} was found damaged")
    return list(reversed(found.good))


def chosen(store: Store, system: str, span: str, report: Report = silent) -> list[Manifest]:
    """The completed backups of `all` or FROM..TO, oldest first.

    FROM and TO are dates, times or ids of backups, and belong to the stretch; either may be left
    out. Raises Refused for a malformed one, NotFound when there is no backup in it.
    """
    entries = completed(store, system, report)
    if span != ALL:
        first, _, last = span.partition(_TO)
        since, until = _moment(entries, first, end=False), _moment(entries, last, end=True)
        entries = [
            entry
            for entry in entries
            if (since is None or entry.snapshot_at >= since)
            and (until is None or entry.snapshot_at <= until)
        ]
    if not entries:
        raise NotFound(f"{system} has no completed backup in {span}")
    return entries


def _moment(entries: Sequence[Manifest], text: str, *, end: bool) -> datetime | None:
    text = text.strip()
    if not text:
        return None
    if BackupId.is_valid(text):
        found = [entry.snapshot_at for entry in entries if entry.id == text]
        if not found:
            raise NotFound(f"there is no completed backup {text}")
        return found[0]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(
            f"{text} is neither a date such as 2026-01-31, nor a time such as 2026-01-31T14:00, "
            "nor the id of a backup"
        ) from error
    if end and len(text) == _DATE_LENGTH:
        moment += timedelta(days=1) - timedelta.resolution
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
