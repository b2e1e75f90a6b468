"""What people want to know of each module: its tables, its live records, and its last backup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backup_pipelines import catalog, modules
from backup_pipelines.backup_id import BackupId
from backup_pipelines.errors import Damaged, NewerFormat, NotFound
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.row_counts import RowCount, total
from backup_pipelines.storage.reading import READS_AT_ONCE, read_all
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System, qualify

COUNTED, ESTIMATED = "counted", "estimated"


@dataclass(frozen=True)
class LastBackup:
    """The newest good backup of a whole module, and what it holds of that module."""

    id: str
    type: str
    created_at: datetime
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Card:
    """One module now."""

    module: str
    tables: tuple[str, ...]
    live: Mapping[str, RowCount] | None
    """The rows of each table; None where the live database could not be looked at."""
    backup: LastBackup | None

    @property
    def live_rows(self) -> RowCount | None:
        """The rows of all tables."""
        return None if self.live is None else total(self.live.values())

    @property
    def status(self) -> str:
        """Whether there is something to restore the module from."""
        return "backed up" if self.backup is not None else "no backup yet"


def cards(
    system: System,
    backups: Mapping[str, LastBackup],
    live: Mapping[str, RowCount] | None,
) -> list[Card]:
    """The card of each module, in the order of the YAML, `other` last.

    `live` has the rows of each table that belongs to a backup. Without it the tables are those
    that the YAML names.
    """
    names = dict.fromkeys(entry.module for entry in modules.entries(system))
    assigned = {} if live is None else modules.assign(system, live).tables
    found: list[Card] = []
    for module in names:
        tables = [t for entry, some in assigned.items() if entry.module == module for t in some]
        counts = None if live is None else {table: live[table] for table in tables}
        shown = tables if live is not None else _of_yaml(system, module)
        found.append(Card(module, tuple(shown), counts, backups.get(module)))
    return found


def last_backups(store: Store, system: System) -> Mapping[str, LastBackup]:
    """The newest good backup of each module; reads few more manifests than it takes to know.

    Raises Failed when the store cannot be read.
    """
    name, wanted = system.system, {entry.module for entry in modules.entries(system)}
    states = catalog.states(store, name)
    bad = states.damaged.keys() | states.removing
    # A safety backup is of tables, never of a module.
    left = [
        backup_id
        for backup_id in sorted(catalog.ids(store, name), reverse=True)
        if backup_id not in bad and BackupId.parse(backup_id).type != "safety"
    ]

    def read(backup_id: str) -> Manifest | None:
        try:
            return catalog.load(store, name, backup_id)
        except (NotFound, Damaged, NewerFormat):
            # Not sealed, or nothing to restore from here.
            return None

    found: dict[str, LastBackup] = {}
    # The newest is mostly a full one, and says all.
    at_once = 1
    while left and not wanted <= found.keys():
        for entry in read_all(read, left[:at_once]):
            found = {**(of_backup(entry) if entry is not None else {}), **found}
        left, at_once = left[at_once:], READS_AT_ONCE
    return {module: backup for module, backup in found.items() if module in wanted}


def of_backup(entry: Manifest) -> Mapping[str, LastBackup]:
    """What a backup holds of each module that it holds whole."""
    if entry.scope == "tables":
        return {}
    found: dict[str, LastBackup] = {}
    for module in entry.modules:
        tables = [table for table in entry.tables if table.module == module]
        found[module] = LastBackup(
            id=entry.id,
            type=entry.type,
            created_at=entry.created_at,
            rows=sum(table.rows for table in tables),
            size_bytes=sum(table.size_bytes for table in tables),
        )
    return found


def live_rows_of(entry: Manifest) -> Mapping[str, RowCount]:
    """The rows that each table had when the backup was taken, as `cards` takes them."""
    rows: dict[str, int] = {}
    for table in entry.tables:
        root = table.partition_of or table.qualified
        rows[root] = rows.get(root, 0) + table.rows
    return {name: RowCount(count, is_exact=True) for name, count in rows.items()}


def document(card: Card) -> Mapping[str, Any]:
    """What `modules --json` prints of one."""
    count, backup = card.live_rows, card.backup
    return {
        "module": card.module,
        "status": card.status,
        "tables": list(card.tables),
        "live_rows": None if count is None else count.rows,
        "live_rows_are": certainty(count),
        "live": {name: one.rows for name, one in (card.live or {}).items()},
        "backup": None
        if backup is None
        else {**vars(backup), "created_at": backup.created_at.isoformat()},
    }


def certainty(count: RowCount | None) -> str | None:
    """How the rows are known; None where they are not."""
    if count is None or count.rows is None:
        return None
    return COUNTED if count.is_exact else ESTIMATED


def _of_yaml(system: System, module: str) -> Sequence[str]:
    spec = system.modules.get(module)
    return [] if spec is None else list(map(qualify, spec.tables))
