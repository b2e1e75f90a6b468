"""The two sides of a comparison: what a backup holds, or the live tables as they are now."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from backup_pipelines import modules
from backup_pipelines.exporting.export import Destination, expected, export_tables
from backup_pipelines.exporting.preflight import refuse_unreadable
from backup_pipelines.manifest import DIGEST_VERSION, Manifest, Table
from backup_pipelines.postgres.connection import as_failed, connected
from backup_pipelines.postgres.digest import as_encoded, live_digest
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.reader import Readers
from backup_pipelines.postgres.snapshot import Snapshot, snapshot
from backup_pipelines.progress import Meter, Report
from backup_pipelines.source_load import Allowance, Throttle
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

LIVE = "live"


@dataclass(frozen=True)
class Side:
    """Tables at one moment, and the store with their parts."""

    name: str
    """The backup's id, or `live`."""
    at: datetime
    tables: tuple[Table, ...]
    store: Store
    is_whole: bool
    """Whether a table that is not here did not exist."""
    left_out: frozenset[str] = frozenset()
    digest_version: int = DIGEST_VERSION


def of_backup(store: Store, entry: Manifest) -> Side:
    """What a backup holds."""
    left_out = frozenset(one.name for one in entry.excluded)
    whole = entry.scope == "full"
    return Side(
        entry.id, entry.snapshot_at, entry.tables, store, whole, left_out, entry.digest_version
    )


@contextmanager
def of_live(
    system: System,
    url: str,
    before: Side,
    wanted: frozenset[str],
    folder: Path,
    report: Report,
) -> Generator[Side]:
    """The live tables in one snapshot; those that differ from `before` are read into `folder`.

    `wanted` are root tables; none means all that `before` could hold. Nothing is written to the
    database, and no lock is held that keeps the application waiting. Raises Refused when a table
    cannot be read whole.
    """
    with ExitStack() as stack:
        stack.enter_context(as_failed(f"the database of {system.system} cannot be read"))
        doing = f"diff {system.system}"
        allowance = Allowance.of(system.max_connections, system.throttle)
        leader = stack.enter_context(
            connected(url, what=f"the database of {system.system}", doing=doing)
        )
        names: dict[str, str] = {}
        left_out: set[str] = set()

        def choose(found: Sequence[LiveTable]) -> Sequence[LiveTable]:
            names.clear()
            assigned = modules.assign(system, [t.qualified for t in found if not t.partition_of])
            left_out.update(one.name for one in assigned.excluded)
            names.update(_modules(assigned, before, wanted))
            chosen = [table for table in found if table.root in names]
            role = leader.info.user
            refuse_unreadable(leader, system, role, chosen, chosen, [])
            return chosen

        moment = stack.enter_context(snapshot(leader, system.schemas, choose))
        comparable = before.digest_version == DIGEST_VERSION
        known = {table.qualified: table for table in before.tables if comparable}
        same, other = _compared(moment, known, report)
        readers = Readers(url, moment.name, doing, Throttle(allowance.bytes_per_second))
        stack.callback(readers.close)
        at_once = allowance.readers(system.readers)
        workers = stack.enter_context(ThreadPoolExecutor(at_once))
        store = Store(folder.as_uri())
        destination = Destination(store, system.system, LIVE)
        read = replace(moment, tables=tuple(other))
        tables: list[Table] = []
        with Meter(f"{system.system}: reading", report, expected(other), exact=False) as meter:
            tables += export_tables(read, names, readers, destination, workers, meter)
        moment.assert_held()
        everything = (*same, *tables)
        yield Side(LIVE, moment.server.now, everything, store, True, frozenset(left_out))


def _modules(
    assigned: modules.Assignment, before: Side, wanted: frozenset[str]
) -> Mapping[str, str]:
    """The module of each root table that is compared."""
    module_of = {name: entry.module for name, entry in assigned.entry_of().items()}
    if wanted:
        return {name: module_of.get(name, "") for name in wanted}
    held = {table.partition_of or table.qualified for table in before.tables}
    return {name: m for name, m in module_of.items() if before.is_whole or name in held}


def _compared(
    moment: Snapshot, known: Mapping[str, Table], report: Report
) -> tuple[list[Table], list[LiveTable]]:
    """The tables that are as they were, by digest, and those that have to be read."""
    same: list[Table] = []
    other: list[LiveTable] = []
    for live in moment.tables:
        table = known.get(live.qualified)
        if table is None or live.kind == "p" or not _has_columns_of(live, table):
            other.append(live)
            continue
        report(f"comparing {live.qualified}")
        rows, digest = live_digest(moment.connection, as_encoded(live, table))
        if (rows, digest) == (table.rows, table.digest):
            same.append(table)
        else:
            other.append(live)
    return same, other


def _has_columns_of(live: LiveTable, table: Table) -> bool:
    ours = [(column.name, column.type) for column in live.columns]
    return ours == [(column.name, column.type) for column in table.columns]
