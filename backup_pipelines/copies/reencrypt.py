"""Encrypting what is stored for today's recipients: a copy under a new id, then the old one goes.

Objects and manifests are written once, so nothing is changed in place. Whoever is killed on the way
leaves the old backup whole or the new one; the next run finishes it.
"""

import hashlib
from dataclasses import dataclass
from typing import TypeVar

from backup_pipelines import catalog, encryption, layout, verify
from backup_pipelines.backup_id import BackupId
from backup_pipelines.catalog import Listing
from backup_pipelines.copies import shared_parts
from backup_pipelines.errors import Damaged, Refused
from backup_pipelines.exporting import leftovers, reuse, sealing
from backup_pipelines.exporting.reuse import Earlier
from backup_pipelines.manifest import DdlSection, Manifest, Part, Table
from backup_pipelines.pace import Amount
from backup_pipelines.progress import Meter, Report
from backup_pipelines.recovery.documents import with_documents
from backup_pipelines.retention import locking, pins, removal
from backup_pipelines.storage import age
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.reading import read_again
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

ALL = "all"

_ADVICE = "verify its backup"

Stored = TypeVar("Stored", Part, DdlSection)


@dataclass(frozen=True)
class Reencrypted:
    """A backup that is there for today's recipients now."""

    old: str
    new: str
    kept: str = ""
    """Why the old one is still there, too."""
    named: int = 0
    """Objects of the old one that stay as they were, since other backups name them."""

    @property
    def in_words(self) -> str:
        """What became of both."""
        if self.kept:
            return f"copied as {self.new}; {self.old} is still there: {self.kept}"
        said = f"copied as {self.new}, and {self.old} removed"
        if self.named:
            said += (
                f", but {self.named} of its objects stay as they were for other backups: encrypt "
                "those anew, too"
            )
        return said


def due(store: Store, system: System, backup: str, *, operator: str, report: Report) -> list[str]:
    """Ids of what is to be encrypted anew, oldest first: `all`, or the one that is named.

    Removals that a kill has cut short are finished before. Raises NotFound, and Refused when
    today's identity could not open what would be made.
    """
    removal.resume(store, system.system, operator=operator, report=report, sealed=False)
    recipients = encryption.recipients_of(system)
    _refuse_unprovable(recipients)
    found = catalog.listing(store, system.system)
    if backup != ALL:
        entry = catalog.find(store, system.system, backup)
        # Named by the id of a copy: what is left to do is of its original.
        chosen = [_original(found, entry) or entry]
    else:
        chosen = [one for one in reversed(found.backups) if _is_fit(found, one)]
    # First what only has to go, so that its copy is not taken for another backup.
    unfinished = [one.id for one in chosen if _copy(found, one) is not None]
    rest = [one.id for one in chosen if not _is_for(one, recipients)]
    return [*unfinished, *(backup_id for backup_id in rest if backup_id not in unfinished)]


def reencrypt(
    store: Store, system: System, backup_id: str, *, operator: str, reason: str, report: Report
) -> Reencrypted:
    """Copy one backup for today's recipients, prove the copy, and remove the original.

    Raises Refused for one that cannot be opened here, or is on its way out; Damaged for one that
    is not whole. Neither touches the original. That the store keeps it is in the result.
    """
    found = catalog.listing(store, system.system)
    original = catalog.load(store, system.system, backup_id)
    if not _is_fit(found, original):
        raise Refused(f"{backup_id} is damaged or being removed, so it is not encrypted anew")
    copy = _copy(found, original)
    if copy is None:
        recipients = encryption.recipients_of(system)
        _refuse_unprovable(recipients)
        encryption.refuse_closed(original)
        before = shared_parts.find(found, original, lambda one: _is_for(one, recipients))
        copy = _copied(store, original, recipients, before, operator, report)
    # Of one that an earlier run has left, too.
    encryption.refuse_closed(copy)
    verify.check(store, copy, report=report, operator=operator)
    if original.id in found.states.pinned and copy.id not in found.states.pinned:
        pins.pin(store, system.system, copy.id, operator=operator, reason=f"as {original.id} was")
    kept, named = _remove(store, system, original, copy, operator, reason, report)
    return Reencrypted(original.id, copy.id, kept, named)


def _is_for(entry: Manifest, recipients: Recipients | None) -> bool:
    """Whether a backup is encrypted to exactly these, in whatever order."""
    there = set(entry.encryption.recipients) if entry.encryption else set[str]()
    return there == set(recipients.keys if recipients else ())


def _original(found: Listing, entry: Manifest) -> Manifest | None:
    return next((one for one in found.backups if one.id in entry.copy_of), None)


def _copy(found: Listing, entry: Manifest) -> Manifest | None:
    """A whole copy of this backup, which an earlier run has left beside it."""
    return next((one for one in found.good if entry.id in one.copy_of), None)


def _refuse_unprovable(recipients: Recipients | None) -> None:
    """Nothing is removed for a copy that nobody has opened."""
    if recipients is None or age.opens(recipients.key_check("check"), "check"):
        return
    raise Refused(
        f"no identity in {age.BACKUP_AGE_IDENTITY} is one of today's recipients, so that the "
        "copies could not be proved: add a new one to the file of the old ones"
    )


def _is_fit(found: Listing, entry: Manifest) -> bool:
    """Whether it is whole, and stays; one that has a copy may be half removed."""
    if _copy(found, entry) is not None:
        return True
    return entry.id not in found.states.damaged and entry.id not in found.states.removing


def _copied(
    store: Store,
    entry: Manifest,
    recipients: Recipients | None,
    before: Earlier | None,
    operator: str,
    report: Report,
) -> Manifest:
    """The sealed copy; an error before its sealing leaves nothing behind."""
    started = BackupId.parse(entry.id)
    new_id = str(BackupId.new(started.type, started.started_at))
    try:
        leftovers.mark_started(
            store, entry.system, new_id, operator, builds_on=before.id if before else ""
        )
        if before and not reuse.is_staying(store, before):
            before = None
        work = _Work(store, entry, new_id, recipients, _named_before(store, before, report))
        ddl = tuple(work.section(section) for section in entry.ddl)
        tables: list[Table] = []
        total = Amount(entry.records_count, sum(table.size_bytes for table in entry.tables))
        with Meter(f"{entry.system}: encrypting anew", report, total) as meter:
            for table in entry.tables:
                tables.append(work.table(table))
                meter.add(table.rows, table.size_bytes, what=table.qualified)
        copy = entry.model_copy(
            update={
                "id": new_id,
                "copy_of": (*entry.copy_of, entry.id),
                "tables": tuple(tables),
                "ddl": ddl,
                "encryption": encryption.described(recipients, new_id),
                "reuse": None,
            }
        )
        copy = with_documents(store, reuse.named_in(copy, before))
    except BaseException:
        leftovers.abandon(store, entry.system, new_id)
        raise
    # Not taken back when it fails: a manifest that still arrives would need the objects.
    try:
        sealing.seal(store, copy, copy.to_json())
    except sealing.Gone:
        leftovers.abandon(store, entry.system, new_id)
        raise
    return copy


def _named_before(
    store: Store, before: Earlier | None, report: Report
) -> shared_parts.Before | None:
    if before is None:
        return None
    return shared_parts.Before(
        before, report, lambda part: read_again(lambda: _plain_sha256(store, part))
    )


@dataclass(frozen=True)
class _Work:
    store: Store
    entry: Manifest
    new_id: str
    recipients: Recipients | None
    before: shared_parts.Before | None

    def section(self, section: DdlSection) -> DdlSection:
        """A section of the DDL, copied."""
        key = layout.schema_key(
            self.entry.system, self.new_id, section.section, encrypted=self._encrypted
        )
        return self._object(section, key)

    def table(self, table: Table) -> Table:
        """A table with all its parts copied, unless an earlier copy has them already."""
        parts = tuple(
            self._part(table, part, number)
            # Their own numbers may be those of several backups.
            for number, part in enumerate(table.parts)
        )
        size = sum(part.size_bytes for part in parts)
        return table.model_copy(update={"parts": parts, "size_bytes": size})

    def _part(self, table: Table, part: Part, number: int) -> Part:
        system = self.entry.system
        is_own = layout.backup_id_of(system, part.key) == self.entry.id
        if self.before and not is_own:
            there = self.before.equal(table, part)
            if there:
                return there
        key = layout.part_key(
            system,
            self.new_id,
            table.schema_name,
            table.name,
            number,
            format=layout.format_of(part.key),
            encrypted=self._encrypted,
        )
        return self._object(part, key)

    @property
    def _encrypted(self) -> bool:
        return self.recipients is not None

    def _object(self, one: Stored, key: str) -> Stored:
        # Bytes that were hurt on their way publish nothing, and get a second chance.
        made, sha256 = read_again(lambda: self._written(one, key))

        def look() -> None:
            if _plain_sha256(self.store, made) != sha256:
                raise Damaged(f"{self.store.uri(key)} reads back different from what was written")

        read_again(look)
        return made

    def _written(self, one: Stored, key: str) -> tuple[Stored, str]:
        digest = hashlib.sha256()
        with self.store.writer(key, self.recipients) as out:
            for piece in encryption.plain_pieces(self.store, one, _ADVICE):
                digest.update(piece)
                out.write(piece)
        stored = {"key": key, "size_bytes": out.size_bytes, "sha256": out.sha256}
        return one.model_copy(update=stored), digest.hexdigest()


def _plain_sha256(store: Store, one: Part | DdlSection) -> str:
    digest = hashlib.sha256()
    for piece in encryption.plain_pieces(store, one, _ADVICE):
        digest.update(piece)
    return digest.hexdigest()


def _remove(
    store: Store,
    system: System,
    original: Manifest,
    copy: Manifest,
    operator: str,
    reason: str,
    report: Report,
) -> tuple[str, int]:
    """Remove the original; why it is still there, if it is, and how many objects others name."""
    now = catalog.listing(store, system.system)
    until = locking.locked_until(store, system, now, original.id)
    if until is not None:
        return f"it is locked until {locking.in_words(until)}", 0
    removed = removal.remove(
        store,
        system.system,
        original.id,
        operator=operator,
        reason=reason,
        why=f"encrypted anew as {copy.id}",
        report=report,
    )
    return removed.problem, removed.kept
