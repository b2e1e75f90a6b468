"""Parts of an earlier backup that still are what the database holds: named again, not made again.

A range of heap pages is asked for its digest first. Where that is the earlier backup's, and its
parts read back as they were written, the new manifest names them by their whole keys; removals
keep what any manifest names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from backup_pipelines import catalog, drill_record, layout, shared_damage
from backup_pipelines.errors import BackupError, Damaged
from backup_pipelines.layout import Format
from backup_pipelines.manifest import DIGEST_VERSION, Manifest, Part, Reuse, Table
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.projection import Pages, digest_query, rows_and_digest, to_digest
from backup_pipelines.postgres.reader import Lender, Piece, lock_now
from backup_pipelines.progress import Report
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.reading import read_back
from backup_pipelines.storage.store import Store

WORTH_BYTES = 1024 * 1024
"""Smaller tables are written anew: that takes no longer than asking."""

# Of a system whose modules are backed up each for itself, the newest backup may hold little.
_LOOKED_AT = 20


@dataclass(frozen=True)
class Earlier:
    """A backup whose parts may be named again."""

    manifest: Manifest
    tables: Mapping[str, Table]
    """Those whose parts the new backup could have written as they are, by qualified name."""
    problems: dict[str, tuple[Part, ...]] = field(default_factory=dict[str, tuple[Part, ...]])
    """What was found wrong while the new backup was taken, and among which of its parts."""

    @property
    def id(self) -> str:
        """The backup's id, which the new one's marker names, so that nobody removes it."""
        return self.manifest.id

    @property
    def generation(self) -> int:
        """How many backups in a row, the new one included, name parts of others."""
        return (self.manifest.reuse.generation if self.manifest.reuse else 0) + 1

    def as_before(self, live: LiveTable) -> LiveTable:
        """The table with those columns as text that had to be text then."""
        table = self.tables.get(live.qualified)
        return live if table is None else _with_texts_of(live, table)

    def ranges(self, live: LiveTable) -> dict[Pages | None, tuple[Part, ...]]:
        """The earlier parts of a table by their pages, None for all in one go.

        Empty where none can be named.
        """
        table = self.tables.get(live.qualified)
        found: dict[Pages | None, tuple[Part, ...]] = {}
        for part in table.parts if table else ():
            pages = None if part.first_page is None else (part.first_page, part.end_page)
            found[pages] = (*found.get(pages, ()), part)
        return found


def find(
    store: Store,
    system: str,
    tables: Sequence[LiveTable],
    *,
    format: Format,
    recipients: Recipients | None,
    every: int,
) -> Earlier | None:
    """The backup that has most of these tables as the new one would write them, the newest first.

    Damaged backups and those that are being removed are none, nor are those that a drill found
    unequal: what such a one names is not named again. With `every` backups of which one must be
    full of its own, the one whose turn it is finds nothing.
    """
    wanted = {table.qualified: table for table in tables if table.table_bytes >= WORTH_BYTES}
    if not wanted or every == 1:
        return None
    best: Earlier | None = None
    most = 0
    found = catalog.listing(store, system)
    unequal = drill_record.unequal(store, system)
    # Their objects read back as written: what was written is wrong, and may be so in any of them.
    doubted = {p.key for entry in found.backups if entry.id in unequal for p in entry.parts}
    for entry in found.good[:_LOOKED_AT]:
        if entry.id in unequal or not _is_comparable(entry, recipients):
            continue
        fitting = {
            table.qualified: table
            for table in entry.tables
            if table.qualified in wanted
            and _fits(table, wanted[table.qualified], format)
            and doubted.isdisjoint(part.key for part in table.parts)
        }
        covered = sum(wanted[name].table_bytes for name in fitting)
        if covered > most:
            best, most = Earlier(entry, fitting), covered
        if len(fitting) == len(wanted):
            break
    return best if best is None or best.generation < every else None


def is_staying(store: Store, earlier: Earlier) -> bool:
    """Whether nobody has begun to remove the backup; asked once its id is in the new one's marker.

    A removal writes its note and then looks for markers: of the two at least one sees the other.
    """
    system = earlier.manifest.system
    removing = catalog.states(store, system).removing
    return earlier.id not in removing and store.exists(layout.manifest_key(system, earlier.id))


def unchanged(readers: Lender, store: Store, piece: Piece) -> list[Part]:
    """The earlier parts of a piece as the new backup names them; none if its rows are others.

    Raises Damaged when they are the rows, but the parts read back different.
    """
    with readers.lent() as connection:
        lock_now(connection, piece.table)
        rows, total = connection.row(digest_query(piece.table, piece.pages).as_string())
    found = (int(rows), to_digest(int(total)))
    parts = piece.earlier
    if found != rows_and_digest(parts):
        return []
    for part in parts:
        read_back(store, part.key, part.size_bytes, part.sha256)
    first, end = piece.pages or (None, None)
    # The table's last range has no end, now or then.
    return [part.model_copy(update={"first_page": first, "end_page": end}) for part in parts]


def damaged(system: str, piece: Piece, error: Damaged) -> str:
    """What people are told when parts are written anew because the earlier ones are damaged."""
    holders = (layout.backup_id_of(system, part.key) for part in piece.earlier)
    names = ", ".join(dict.fromkeys(holders))
    return (
        f"{error}: the rows of {piece.table.qualified} were written anew; verify the backups that "
        f"name this object, {names} first"
    )


def mark_damaged(store: Store, sealed: Manifest, earlier: Earlier | None, report: Report) -> None:
    """Remember as damaged the backups that name what was found damaged, if it still is.

    Called when the new backup is sealed, which is whole whatever comes of this.
    """
    wrong: list[tuple[Part, str]] = []
    for part in chain.from_iterable(earlier.problems.values() if earlier else ()):
        try:
            read_back(store, part.key, part.size_bytes, part.sha256)
        except Damaged as error:
            wrong.append((part, str(error)))
        except BackupError as error:
            report(f"whether {store.uri(part.key)} is damaged could not be found out: {error}")
    shared_damage.remember_in_others(
        store,
        sealed.system,
        wrong,
        read_for=sealed.id,
        operator=sealed.created_by,
        report=report,
    )


def named_in(described: Manifest, earlier: Earlier | None) -> Manifest:
    """A manifest with what it names of earlier backups, and what was found wrong with them."""
    if earlier is None:
        return described
    sizes = [part.size_bytes for part in described.inherited]
    named = Reuse(
        backup=earlier.id, generation=earlier.generation, parts=len(sizes), size_bytes=sum(sizes)
    )
    return described.model_copy(
        update={
            "reuse": named if sizes else None,
            "warnings": (*described.warnings, *earlier.problems),
        }
    )


def _is_comparable(entry: Manifest, recipients: Recipients | None) -> bool:
    written_for = frozenset(entry.encryption.recipients) if entry.encryption else None
    wanted = frozenset(recipients.keys) if recipients else None
    return entry.digest_version == DIGEST_VERSION and written_for == wanted


def _fits(table: Table, live: LiveTable, format: Format) -> bool:
    columns = tuple(column.described() for column in _with_texts_of(live, table).columns)
    return (
        table.kind == "table"
        and live.kind != "p"
        and bool(table.parts)
        and columns == table.columns
        and all(layout.format_of(part.key) == format for part in table.parts)
    )


def _with_texts_of(live: LiveTable, table: Table) -> LiveTable:
    return live.with_text_columns(c.name for c in table.columns if c.encoding == "text")
