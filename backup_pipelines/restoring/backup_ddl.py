"""The DDL of a backup as a restore of dropped tables needs it: read once, and each object's names.

It is read when it is first asked for: before the locks, and not at all where no table is missing.
"""

from dataclasses import dataclass
from functools import cached_property

from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import ddl_subjects
from backup_pipelines.postgres.ddl import Entry
from backup_pipelines.postgres.ddl_subjects import Name
from backup_pipelines.restoring.ddl_restore import read_section
from backup_pipelines.storage.store import Store


@dataclass(frozen=True)
class Described:
    """One object of the backup's DDL, what it is about, and whatever it names."""

    entry: Entry
    name: Name | None
    reads: frozenset[Name]
    is_after_rows: bool


class BackupDdl:
    """The objects of one backup's DDL."""

    def __init__(self, store: Store, entry: Manifest) -> None:
        """Nothing is read yet."""
        self._store = store
        self._entry = entry

    @cached_property
    def objects(self) -> tuple[Described, ...]:
        """All of them, in order; raises what `read_section` raises."""
        return tuple(
            Described(
                one,
                ddl_subjects.about(one),
                ddl_subjects.named_in(one),
                section.section == "post-data",
            )
            for section in self._entry.ddl
            for one in read_section(self._store, section)
        )
