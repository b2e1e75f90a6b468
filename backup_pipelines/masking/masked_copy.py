"""A whole backup into an empty database, its rows masked on their way: nothing else is written.

Tables without a mask are proved by their digests. Of the others no digest can be the backup's:
they are read back inside the transaction, and must be what was sent, row by row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
from psycopg import sql

from backup_pipelines import encryption
from backup_pipelines.csv.printed import parsed, printed
from backup_pipelines.errors import Failed, NotEqual
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.masking.batches import MaskedRows, RowSum
from backup_pipelines.masking.facts import facts_of_backup
from backup_pipelines.masking.keyed import key_of_environment
from backup_pipelines.masking.policy import Policy, make_policy, spec_of
from backup_pipelines.masking.values import Masker
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.writer import copy_batches, copy_table, insertable, stored_batches
from backup_pipelines.progress import Report, Step
from backup_pipelines.restore import RestoreResult, restore_into_empty
from backup_pipelines.restoring.load import prove
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System


@dataclass(frozen=True)
class MaskedColumn:
    """One masked column of a copy."""

    column: str
    """As schema.table.column."""
    how: str
    values: int
    """How many of its values were masked; the others are NULL."""


@dataclass(frozen=True)
class MaskedCopy:
    """A masked copy that was made and proved."""

    restored: RestoreResult
    columns: tuple[MaskedColumn, ...]
    undecided: int
    """How many columns were kept because nothing is said of them."""
    by_digest: Mapping[str, str]
    """The digests of the tables that are as in the backup."""

    @property
    def in_words(self) -> str:
        """What was masked, for the audit trail."""
        shown = ", ".join(f"{one.column} ({one.how})" for one in self.columns)
        return f"a masked copy: {shown}"

    def document(self) -> dict[str, object]:
        """What `restore --masked --json` has beside what a restore has."""
        return {
            "masked": [
                {"column": one.column, "how": one.how, "values": one.values} for one in self.columns
            ],
            "undecided": self.undecided,
        }


def copy_masked(
    system: System, store: Store, entry: Manifest, target_url: str, *, report: Report
) -> MaskedCopy:
    """Restore a backup into an empty database with the system's masks; the backup stays as it is.

    Raises Refused before a row is read, Damaged, Failed or NotEqual with nothing changed.
    """
    key = key_of_environment()
    spec = spec_of(system)
    encryption.refuse_closed(entry)
    copier = _Copier(make_policy(spec, facts_of_backup(store, entry)), Masker(key))
    restored = restore_into_empty(
        store, entry, target_url, report=report, copy=copier.copy, proof=copier.prove
    )
    return MaskedCopy(
        restored,
        copier.columns(),
        copier.policy.undecided,
        {t.qualified: t.digest for t in entry.tables if t.digest and not copier.masks(t)},
    )


@dataclass
class _Copier:
    """Loads the tables of a backup, and proves them."""

    policy: Policy
    masker: Masker
    _done: dict[str, MaskedRows] = field(default_factory=dict[str, MaskedRows])
    _sent: dict[str, RowSum] = field(default_factory=dict[str, RowSum])

    def masks(self, table: Table) -> bool:
        """Whether rows of the table are masked; a partitioned one has none of its own."""
        return table.kind == "table" and bool(self.policy.of(table.qualified))

    def copy(self, connection: Connection, store: Store, table: Table, step: Step) -> None:
        """Load a table, masked where it has masks; raises Failed with PostgreSQL's reason."""
        if not self.masks(table):
            copy_table(connection, store, table, step)
            return
        columns = insertable(table)
        target = sql.Identifier(table.schema_name, table.name)
        try:
            masked = self._masked(store, table, columns)
            copy_batches(connection, target, columns, masked, step)
        except psycopg.Error as error:
            raise Failed(
                f"{table.qualified} cannot be loaded with its masks: {str(error).strip()}"
            ) from error

    def prove(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Raise NotEqual unless every table is the backup's, or what was sent of it."""
        plain = [table for table in tables if not self.masks(table)]
        if plain:
            prove(connection, plain)
        connection.execute(query("settings"))
        wrong = [
            table.qualified
            for table in tables
            if self.masks(table) and _found(connection, table) != self._sent[table.qualified]
        ]
        if wrong:
            raise NotEqual(f"what was read back is not what was sent: {', '.join(wrong)}")

    def columns(self) -> tuple[MaskedColumn, ...]:
        """All masked columns with how many values of theirs were masked."""
        counted: dict[str, int] = {}
        for table, rows in self._done.items():
            root = self.policy.partitions.get(table, table)
            for column, values in rows.values.items():
                name = f"{root}.{column}"
                counted[name] = counted.get(name, 0) + values
        words = self.policy.in_words
        return tuple(MaskedColumn(name, how, counted.get(name, 0)) for name, how in words.items())

    def _masked(
        self, store: Store, table: Table, columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        name = table.qualified
        rows = self._done[name] = MaskedRows(name, self.masker, self.policy.of(name))
        sent = self._sent[name] = RowSum()
        for batch in stored_batches(store, table, columns):
            masked = rows.masked(batch)
            sent.add(masked)
            yield masked


def _found(connection: Connection, table: Table) -> RowSum:
    """The rows of a table as they are in the database now."""
    found = RowSum()
    columns = {c.name: c.base_type for c in table.columns if not c.generated}
    target = sql.Identifier(table.schema_name, table.name)
    for _, lines in printed(connection, target, columns):
        found.add(parsed(lines, list(columns)))
    return found
