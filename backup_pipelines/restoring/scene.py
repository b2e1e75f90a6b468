"""What a plan or a restore finds in the live database before it compares any row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.digest import as_encoded
from backup_pipelines.postgres.guards import (
    Guard,
    LiveForeignKey,
    list_guards,
    list_live_foreign_keys,
)
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.postgres.projection import to_digest
from backup_pipelines.postgres.range_digests import RangeDigests, range_digests
from backup_pipelines.postgres.row_keys import RowKey, list_row_keys
from backup_pipelines.postgres.shortcuts import cuts
from backup_pipelines.restoring.creation import Creation
from backup_pipelines.restoring.drift import TableDrift, drift_of
from backup_pipelines.restoring.selection import Selection, select


@dataclass(frozen=True)
class Rules:
    """What the rows to write may ask for beyond those of a backup, which is the usual case."""

    what: str = "restore"
    """What the work is called where it is refused or fails."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """By qualified table: unique columns that rows are matched by, not by the primary key."""
    drift: Callable[[Table, LiveTable | None], TableDrift] = drift_of
    creates: bool = False
    """Whether tables that do not exist any more are created; only a backup knows how."""


BACKUP_RULES = Rules(creates=True)


@dataclass(frozen=True)
class Scene:
    """The selected tables as the backup and the database describe them, and what surrounds them."""

    tables: tuple[Table, ...]
    live: Mapping[str, LiveTable]
    drifts: Mapping[str, TableDrift]
    guards: Sequence[Guard]
    foreign_keys: Sequence[LiveForeignKey]
    keys: Mapping[int, RowKey]
    what: str = BACKUP_RULES.what
    creation: Creation | None = None
    """What was made, or is to be made, for tables that did not exist any more."""
    pending: Sequence[LiveForeignKey] = ()
    """The foreign keys that are put back with those tables, as if they were there already."""

    @property
    def created(self) -> frozenset[str]:
        """The tables that did not exist before, as far as they could be created."""
        if self.creation is None:
            return frozenset()
        return frozenset(set(self.creation.made) - set(self.creation.problems))

    @property
    def unlocked(self) -> frozenset[int]:
        """The tables of other owners, to which somebody may write at any time, by their oid."""
        return frozenset(g.table_oid for g in self.guards if g.kind == "foreign owner")

    @property
    def forced(self) -> list[LiveTable]:
        """The tables whose row-level security would hide rows even from their owner."""
        oids = {guard.table_oid for guard in self.guards if guard.kind == "force"}
        return [table for table in self.live.values() if table.oid in oids]


def look(
    connection: Connection, entry: Manifest, selection: Selection, rules: Rules = BACKUP_RULES
) -> Scene:
    """Everything about the selected tables but their rows.

    A partition that was added since the backup belongs to its table: there the backup has no rows.
    """
    tables = select(entry, selection)
    live = _live_tables(connection, tables)
    known = {table.qualified for table in tables}
    roots = {table.qualified: table for table in tables if table.kind == "partitioned"}
    added = [
        _without_rows(found, roots[found.root]) for name, found in live.items() if name not in known
    ]
    everything = (*tables, *added)
    return Scene(
        tables=everything,
        live=live,
        drifts={t.qualified: rules.drift(t, live.get(t.qualified)) for t in everything},
        guards=list_guards(connection, live.values()),
        foreign_keys=list_live_foreign_keys(connection),
        keys=list_row_keys(connection, live.values(), rules.keys),
        what=rules.what,
    )


class Digests:
    """Rows and digests of locked tables, each computed once if it can be."""

    def __init__(self, connection: Connection) -> None:
        """Nothing is computed yet."""
        self._connection = connection
        self._known: dict[tuple[int, frozenset[str]], RangeDigests] = {}

    def of(self, live: LiveTable, table: Table, *, by_parts: bool = False) -> RangeDigests:
        """Those by the recipe of the backup's table, cut where its parts begin if `by_parts`."""
        # Columns may be text in one backup, by their values, and native in another.
        key = live.oid, frozenset(c.name for c in table.columns if c.encoding == "text")
        known, at = self._known.get(key), cuts(table)
        if known is None or (by_parts and not known.is_cut_at(at)):
            known = range_digests(self._connection, as_encoded(live, table), at)
            self._known[key] = known
        return known

    def rows(self, live: LiveTable) -> int:
        """How many rows there are, where no digest applies."""
        row = self._connection.execute(
            sql.SQL("SELECT count(*) AS rows FROM ONLY {}").format(live.identifier)
        ).fetchone()
        assert row is not None
        return int(row["rows"])


def _live_tables(connection: Connection, tables: Sequence[Table]) -> dict[str, LiveTable]:
    """The live tables of these names and all partitions of those, with columns."""
    wanted = {table.qualified for table in tables}
    roots = {table.qualified for table in tables if table.kind == "partitioned"}
    found = [
        table
        for table in list_tables(connection)
        if table.qualified in wanted or table.partition_of in roots
    ]
    return {table.qualified: table for table in with_columns(connection, found)}


def _without_rows(live: LiveTable, root: Table) -> Table:
    return Table(
        schema=live.schema,
        name=live.name,
        module=root.module,
        kind="partitioned" if live.kind == "p" else "table",
        partition_of=live.partition_of,
        columns=tuple(column.described() for column in live.columns),
        primary_key=live.primary_key,
        rows=0,
        digest=to_digest(0),
        size_bytes=0,
        source_bytes=0,
        seconds=0.0,
    )
