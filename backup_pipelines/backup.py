"""Taking a backup: one snapshot, every selected table, the DDL, and at last the manifest."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from backup_pipelines import encryption
from backup_pipelines.backup_id import BackupId, BackupType
from backup_pipelines.cluster import Cluster
from backup_pipelines.errors import BackupError
from backup_pipelines.exporting import attempts, leftovers, reuse, sealing
from backup_pipelines.exporting.ddl_backup import back_up_ddl, owners_in
from backup_pipelines.exporting.export import Destination, expected, export_tables
from backup_pipelines.exporting.preflight import refuse_unreadable
from backup_pipelines.exporting.reuse import Earlier
from backup_pipelines.exporting.staff import Staff, hired
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
from backup_pipelines.postgres.snapshot import Snapshot, snapshot
from backup_pipelines.postgres.standby import conflicts_explained
from backup_pipelines.progress import Meter, Report, silent
from backup_pipelines.recovery.documents import with_documents
from backup_pipelines.source_load import Allowance
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
    full_copy: bool = False
    """Whether every part is written anew, whatever earlier backups hold."""
    max_connections: int | None = None
    """How many sessions it may have on the source at once; None means as the system says."""
    throttle: float | None = None
    """How many MB a second it may read; None means as the system says."""

    @property
    def allowance(self) -> Allowance:
        """What it may take of the source; raises Refused for what makes no sense."""
        most = self.system.max_connections if self.max_connections is None else self.max_connections
        throttle = self.throttle
        if throttle is None:
            # Somebody waits for what comes after a safety backup, the application perhaps.
            throttle = 0 if self.type == "safety" else self.system.throttle
        return Allowance.of(most, throttle)


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
    allowance, doing, schemas = request.allowance, f"backup {system}", request.system.schemas
    with ExitStack() as stack:
        stack.enter_context(as_failed(f"the backup of {system} broke off"))
        leader = stack.enter_context(
            connected(source_url, what=f"the database of {system}", doing=doing)
        )
        server = describe(leader)
        stack.enter_context(conflicts_explained(server))
        refuse_unsuitable(server, source_url, leader)
        pg_dump = find_pg_dump(server.major)
        take_lock(leader, system)
        leftovers.remove(store, system, report)
        choice = _Choice(request, server.role, leader)
        moment = stack.enter_context(snapshot(leader, schemas, choice))
        surroundings = _surroundings(moment, schemas, choice.assignment)
        roles = introspect.list_roles(moment.connection)
        stack.push(_abandon_on_error(store, system, backup_id, report))
        destination, earlier = _begin(request, store, moment.tables, executor)
        report(f"one snapshot holds {len(moment.tables)} tables of {system}")
        staff = stack.enter_context(
            hired(request.system, source_url, moment.name, destination, executor, report, allowance)
        )
        ddl_url = source_url if server.strings_conform else with_conforming_strings(source_url)
        ddl = staff.beside.submit(
            back_up_ddl,
            store,
            system,
            backup_id,
            ddl_url,
            moment.name,
            schemas,
            pg_dump,
            destination.recipients,
            doing,
        )
        stack.callback(_settle, ddl)
        tables: list[Table] = []
        for done in _entries(moment, choice, staff, destination, report, earlier):
            tables += done.tables
            yield done
            if ddl.done():
                ddl.result()
        sections = moment.result(ddl)
        yield SchemaDone(sections)
        moment.assert_held()
        described = _manifest(request, moment, surroundings, roles, tables, sections, started_at)
        described = reuse.named_in(described, earlier)
        sealed = with_documents(store, described)
        with attempts.swept(store, sealed, report, on_cluster=destination.on_cluster):
            sealing.seal(store, sealed, sealed.to_json())
        reuse.mark_damaged(store, sealed, earlier, report)
        yield sealed


def _begin(
    request: BackupRequest,
    store: Store,
    tables: Sequence[LiveTable],
    executor: Executor | None,
) -> tuple[Destination, Earlier | None]:
    """Write the marker: where parts go, and the earlier backup whose parts may be named."""
    system, backup_id = request.system.system, str(request.id)
    recipients = encryption.recipients_of(request.system)
    form = request.format or request.system.format
    every = 1 if request.full_copy else request.system.full_copy_every
    earlier = reuse.find(store, system, tables, format=form, recipients=recipients, every=every)
    builds_on = earlier.id if earlier else ""
    leftovers.mark_started(store, system, backup_id, request.created_by, builds_on)
    if earlier and not reuse.is_staying(store, earlier):
        earlier = None
    on_cluster = isinstance(executor, Cluster)
    return Destination(store, system, backup_id, recipients, form, on_cluster), earlier


class _Choice:
    """Picks the selected tables of those that the database has; refuses what cannot be read."""

    def __init__(self, request: BackupRequest, role: str, connection: Connection) -> None:
        self.selection = request.selection
        self._only = request.only
        self._is_safety = request.type == "safety"
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
            # What a restore is about to create cannot be in the safety backup before it.
            if not self._is_safety
        ]
        refuse_unreadable(self._connection, self._system, self._role, tables, chosen, missing)
        return chosen


def _entries(
    moment: Snapshot,
    choice: _Choice,
    staff: Staff,
    destination: Destination,
    report: Report,
    earlier: Earlier | None,
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
    title, total = f"{destination.system}: backing up", expected(moment.tables)
    with Meter(title, report, total, exact=False) as meter:
        for table in export_tables(
            moment, modules, staff.readers, destination, staff.workers, meter, earlier
        ):
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
    warnings = [f"{name} is in no module: name it in one" for name in sorted(unclaimed)]
    if moment.behind is not None:
        warnings.append(moment.behind.in_words(moment.server.role))
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
        warnings=tuple(warnings),
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
        if kind is not None and not isinstance(error, sealing.NotSealed):
            try:
                leftovers.abandon(store, system, backup_id)
            except BackupError as failure:
                # Not raised: it would hide what went wrong first.
                report(f"left for the next backup to remove: {failure}")
        return False

    return abandon
