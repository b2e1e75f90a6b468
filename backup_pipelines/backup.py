"""Taking a backup: one snapshot, every selected table, the DDL, and at last the manifest."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from backup_pipelines import encryption, layout
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.errors import BackupError, Failed
from backup_pipelines.exporting import leftovers
from backup_pipelines.exporting.ddl_backup import back_up_ddl, owners_in
from backup_pipelines.exporting.export import Destination, export_tables
from backup_pipelines.exporting.preflight import refuse_unreadable
from backup_pipelines.layout import Format
from backup_pipelines.manifest import DdlSection, Manifest, Table, format_version_of
from backup_pipelines.modules import Assignment, Entry, assign, scope_of
from backup_pipelines.postgres import introspect
from backup_pipelines.postgres.connection import (
    Connection,
    as_failed,
    connected,
    describe,
    refuse_unsuitable,
)
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.lock import take_lock
from backup_pipelines.postgres.pg_dump import find_pg_dump, with_conforming_strings
from backup_pipelines.postgres.reader import Readers
from backup_pipelines.postgres.snapshot import Snapshot, snapshot
from backup_pipelines.progress import Report, silent
from backup_pipelines.recovery.documents import with_documents
from backup_pipelines.storage.store import Store
from backup_pipelines.system import OTHER, System


@dataclass(frozen=True)
class BackupRequest:
    """What to back up, and what the manifest says of who asked for it and why."""

    system: System
    id: BackupId
    type: BackupType
    created_by: str
    selection: frozenset[Entry]
    label: str = ""
    reason: str = ""
    run_id: str = ""
    only: frozenset[str] = frozenset()
    """Root tables to which the selection is narrowed; none means all that are selected."""
    format: Format | None = None
    """How rows are written; None means as the system says."""


@dataclass(frozen=True)
class EntryDone:
    """All tables of one entry are in the store and were read back."""

    entry: Entry
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class SchemaDone:
    """The DDL is in the store and was read back."""

    sections: tuple[DdlSection, ...]


def take_backup(
    request: BackupRequest,
    source_url: str,
    store: Store,
    *,
    executor: Executor | None = None,
    report: Report = silent,
) -> Generator[EntryDone | SchemaDone | Manifest]:
    """Take a backup while the result is iterated; the last item is the sealed Manifest.

    Raises Refused before anything is written when a table cannot be read whole; any error, and
    an iterator that is closed early, leave no object behind.
    """
    started_at = datetime.now(UTC)
    system, backup_id = request.system.system, str(request.id)
    with ExitStack() as stack:
        stack.enter_context(as_failed(f"the backup of {system} broke off"))
        leader = stack.enter_context(connected(source_url, what=f"the database of {system}"))
        server = describe(leader)
        refuse_unsuitable(server, source_url, leader)
        pg_dump = find_pg_dump(server.major)
        take_lock(leader, system)
        leftovers.remove(store, system, report)
        choice = _Choice(request, server.role, leader)
        moment = stack.enter_context(snapshot(leader, request.system.schemas, choice))
        surroundings = _surroundings(moment, request.system.schemas, choice.assignment)
        roles = introspect.list_roles(moment.connection)
        stack.push(_abandon_on_error(store, system, backup_id, report))
        leftovers.mark_started(store, system, backup_id, request.created_by)
        report(f"one snapshot holds {len(moment.tables)} tables of {system}")
        readers = Readers(source_url, moment.name)
        stack.callback(readers.close)
        workers = executor or stack.enter_context(ThreadPoolExecutor(request.system.readers))
        schemas = request.system.schemas
        ddl_url = source_url if server.strings_conform else with_conforming_strings(source_url)
        recipients = encryption.recipients_of(request.system)
        ddl = workers.submit(
            back_up_ddl,
            store,
            system,
            backup_id,
            ddl_url,
            moment.name,
            schemas,
            pg_dump,
            recipients,
        )
        stack.callback(_settle, ddl)
        form = request.format or request.system.format
        destination = Destination(store, system, backup_id, recipients, form)
        tables: list[Table] = []
        for done in _entries(moment, choice, readers, destination, workers, report):
            tables += done.tables
            yield done
            if ddl.done():
                ddl.result()
        sections = ddl.result()
        yield SchemaDone(sections)
        moment.assert_held()
        described = _manifest(request, moment, surroundings, roles, tables, sections, started_at)
        sealed = with_documents(store, described)
        _seal(store, layout.manifest_key(system, backup_id), sealed.to_json())
        yield sealed


class _NotSealed(Failed):
    """The manifest was sent, and nobody knows whether it arrives."""


def _seal(store: Store, key: str, document: bytes) -> None:
    try:
        store.put_new(key, document)
    except BackupError as error:
        with suppress(BackupError):
            if store.get(key) == document:
                return
        raise _NotSealed(
            f"the backup could not be sealed: {error}; its objects are left, for a manifest that "
            "still arrives would need them: else the next backup removes them"
        ) from error


class _Choice:
    """Picks the selected tables of those that the database has; refuses what cannot be read."""

    def __init__(self, request: BackupRequest, role: str, connection: Connection) -> None:
        self.selection = request.selection
        self._only = request.only
        self._system = request.system
        self._role = role
        self._connection = connection
        self.assignment = Assignment({}, (), ())

    def __call__(self, tables: Sequence[LiveTable]) -> Sequence[LiveTable]:
        roots = [table.qualified for table in tables if table.partition_of is None]
        self.assignment = assign(self._system, roots)
        wanted = {
            name
            for entry, names in self.assignment.tables.items()
            if entry in self.selection
            for name in names
            if not self._only or name in self._only
        }
        chosen = [table for table in tables if table.root in wanted]
        missing = [
            entry
            for entry in self.assignment.missing
            if entry in self.selection and (not self._only or entry.name in self._only)
        ]
        refuse_unreadable(self._connection, self._system, self._role, tables, chosen, missing)
        return chosen


def _entries(
    moment: Snapshot,
    choice: _Choice,
    readers: Readers,
    destination: Destination,
    workers: Executor,
    report: Report,
) -> Iterator[EntryDone]:
    """Each selected entry as its last table is done; at once where it has no tables today."""
    entry_of = choice.assignment.entry_of()
    done: dict[Entry, list[Table]] = {
        entry: [] for entry in choice.assignment.tables if entry in choice.selection
    }
    waiting = dict.fromkeys(done, 0)
    for live in moment.tables:
        waiting[entry_of[live.root]] += 1
    yield from (EntryDone(entry, ()) for entry, count in waiting.items() if not count)
    modules = {table: entry.module for table, entry in entry_of.items()}
    for table in export_tables(moment, modules, readers, destination, workers):
        report(f"{table.qualified}: {table.rows:,} rows in {table.seconds:.2f} s")
        entry = entry_of[table.partition_of or table.qualified]
        done[entry].append(table)
        waiting[entry] -= 1
        if not waiting[entry]:
            yield EntryDone(entry, tuple(sorted(done[entry], key=lambda t: t.qualified)))


def _surroundings(
    moment: Snapshot, schemas: Sequence[str], assignment: Assignment
) -> dict[str, Any]:
    """The manifest's fields about the database around the tables.

    Read right after the snapshot: sequences are not part of it, and only one that is read later
    than the rows is certain to be past them.
    """
    live = moment.connection
    return {
        "sequences": tuple(introspect.list_sequences(live, schemas)),
        "foreign_keys": tuple(introspect.list_foreign_keys(live)),
        "materialized_views": tuple(introspect.list_materialized_views(live, schemas)),
        "extensions": introspect.list_extensions(live),
        "excluded": (*assignment.excluded, *introspect.list_left_out(live, schemas)),
    }


def _manifest(
    request: BackupRequest,
    moment: Snapshot,
    surroundings: Mapping[str, Any],
    roles: set[str],
    tables: Sequence[Table],
    sections: tuple[DdlSection, ...],
    started_at: datetime,
) -> Manifest:
    scope, modules = scope_of(request.system, request.selection)
    if request.only:
        scope, modules = "tables", tuple(dict.fromkeys(table.module for table in tables))
    unclaimed = [t.qualified for t in tables if t.module == OTHER and t.partition_of is None]
    return Manifest(
        **surroundings,
        format_version=format_version_of(tables),
        tool_version=version("backup_pipelines"),
        id=str(request.id),
        system=request.system.system,
        type=request.type,
        scope=scope,
        modules=modules,
        label=request.label,
        reason=request.reason,
        created_by=request.created_by,
        run_id=request.run_id,
        started_at=started_at,
        snapshot_at=moment.server.now,
        created_at=datetime.now(UTC),
        server_version=moment.server.version,
        database=moment.server.database,
        tables=tuple(sorted(tables, key=lambda table: table.qualified)),
        ddl=sections,
        roles=tuple(sorted(roles | owners_in(sections))),
        warnings=tuple(f"{name} is in no module: name it in one" for name in sorted(unclaimed)),
        encryption=encryption.described(encryption.recipients_of(request.system), str(request.id)),
    )


def _settle(future: Future[Any]) -> None:
    """Nothing may be written any more when a failed backup's objects are removed."""
    future.cancel()
    wait([future])


def _abandon_on_error(
    store: Store, system: str, backup_id: str, report: Report
) -> Callable[..., bool]:
    def abandon(kind: Any, error: Any, trace: Any) -> bool:
        if kind is not None and not isinstance(error, _NotSealed):
            try:
                leftovers.abandon(store, system, backup_id)
            except BackupError as failure:
                # Not raised: it would hide what went wrong first.
                report(f"left for the next backup to remove: {failure}")
        return False

    return abandon
