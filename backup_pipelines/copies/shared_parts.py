"""Parts that several backups name are encrypted anew once, and then named by each of the copies.

Each copy would else hold all parts of its own, and the store would grow to many times its size.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from backup_pipelines import layout, state_log
from backup_pipelines.catalog import Listing
from backup_pipelines.errors import Damaged
from backup_pipelines.exporting.reuse import Earlier
from backup_pipelines.manifest import Manifest, Part, Table
from backup_pipelines.progress import Report
from backup_pipelines.storage.reading import read_all
from backup_pipelines.storage.store import Store

# Copies are made oldest first, so that the one before is among the newest.
_LOOKED_AT = 20

_Content = tuple[str, int, str]
"""The table's name, the rows and their digest: two parts alike in these may be equal."""


@dataclass
class Before:
    """A copy that is there already, and those of its parts that the new one has not named yet."""

    earlier: Earlier
    report: Report
    plain_sha256: Callable[[Part], str]
    parts: dict[_Content, list[Part]] = field(init=False)

    def __post_init__(self) -> None:
        self.parts = {}
        for table in self.earlier.manifest.tables:
            for part in table.parts:
                self.parts.setdefault(_content(table, part), []).append(part)

    def equal(self, table: Table, part: Part) -> Part | None:
        """The part as the new copy names it; None if nothing there holds the same bytes.

        Both are read and decrypted. Raises Damaged when the one to be copied is.
        """
        there = self.parts.get(_content(table, part))
        if not there:
            return None
        wanted = self.plain_sha256(part)
        for one in there:
            try:
                if self.plain_sha256(one) != wanted:
                    continue
            except Damaged as error:
                self.report(f"{error}: it is written anew for the next copy")
                continue
            # A manifest names no object twice.
            there.remove(one)
            stored = {"key": one.key, "size_bytes": one.size_bytes, "sha256": one.sha256}
            return part.model_copy(update=stored)
        return None


def find(found: Listing, entry: Manifest, fits: Callable[[Manifest], bool]) -> Earlier | None:
    """The copy for the same recipients that has most of what the backup names of others.

    None for a backup whose parts are all its own: one that was full stays full.
    """
    named = {
        _content(table, part): part.size_bytes
        for table in entry.tables
        for part in table.parts
        if layout.backup_id_of(entry.system, part.key) != entry.id
    }
    if entry.reuse is None or not named:
        return None
    copies = [one for one in found.good if one.copy_of and fits(one)][:_LOOKED_AT]
    best: Manifest | None = None
    most = 0
    for copy in copies:
        there = {_content(table, part) for table in copy.tables for part in table.parts}
        covered = sum(size for content, size in named.items() if content in there)
        if covered > most:
            best, most = copy, covered
    return Earlier(best, {}) if best else None


def still_named(store: Store, system: str, backup_ids: Iterable[str]) -> dict[str, int]:
    """Backups that were removed, and how many objects of each are there yet for other backups."""
    removals = state_log.latest(store, system, "removals")
    found: dict[str, int] = {}
    for backup_id in backup_ids:
        kept = state_log.content(store, removals[backup_id]).get("kept", ())
        found[backup_id] = sum(read_all(store.exists, kept))
    return {backup_id: there for backup_id, there in found.items() if there}


def _content(table: Table, part: Part) -> _Content:
    return table.qualified, part.rows, part.digest
