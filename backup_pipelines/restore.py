"""Restoring: differences into the live database, or everything into an empty one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import psycopg

from backup_pipelines import encryption
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.plan import plan_verified, verify_selected
from backup_pipelines.postgres.comparison import Mode
from backup_pipelines.postgres.connection import Connection, connected
from backup_pipelines.postgres.guards import (
    constraint_state,
    force_again,
    no_force,
    refuse_changed_state,
)
from backup_pipelines.postgres.introspect import list_materialized_views
from backup_pipelines.postgres.lock import take_lock
from backup_pipelines.postgres.locks import WaitingForUs, lock_tables
from backup_pipelines.postgres.sequences import locking
from backup_pipelines.progress import Report
from backup_pipelines.restoring.comparing import compare_all
from backup_pipelines.restoring.load import load, refresh, refuse_unless_empty
from backup_pipelines.restoring.planned import Plan, refuse_impossible
from backup_pipelines.restoring.scene import BACKUP_RULES, Digests, Rules, Scene, look
from backup_pipelines.restoring.selection import Selection, select
from backup_pipelines.restoring.writing import proved_digests, to_set, write
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify

# How often a safety backup is taken, as the application wrote between it and the locks.
_ATTEMPTS = 4


@dataclass(frozen=True)
class RestoreResult:
    """What was restored and proved equal."""

    backup_id: str
    tables: int
    rows: int
    seconds: float
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class LiveRestore:
    """A restore into the live database as somebody asked for it."""

    entry: Manifest
    selection: Selection = field(default_factory=Selection)
    mode: Mode = "replace"
    plan_hash: str = ""
    lock_seconds: float = 30.0
    refresh_views: bool = False
    rules: Rules = BACKUP_RULES


@dataclass(frozen=True)
class LiveRestored:
    """What a restore into the live database did; every table was proved before the commit."""

    plan: Plan
    safety: Manifest | None
    verified: int
    digests: Mapping[str, str]
    """Of the tables that were proved by theirs; the others were proved row by row."""


def restore_into_empty(
    store: Store, entry: Manifest, target_url: str, *, report: Report
) -> RestoreResult:
    """Restore a backup into an empty database; every object is verified before anything is created.

    Raises Refused when the database is not empty, Damaged, Failed or NotEqual with nothing changed.
    """
    encryption.refuse_closed(entry)
    with connected(target_url, what="the target database") as connection:
        refuse_unless_empty(connection)
        verify(store, entry, report=report)
        loaded = load(connection, store, entry, report)
    return RestoreResult(entry.id, loaded.tables, loaded.rows, loaded.seconds, loaded.skipped)


def restore(
    request: LiveRestore,
    target_url: str,
    store: Store,
    *,
    safety: Callable[[frozenset[str]], Manifest] | None,
    report: Report,
) -> LiveRestored:
    """Apply the differences between a backup and the live database, all of them or none.

    `safety` takes the safety backup of the given root tables; None skips it. Raises Refused
    before anything is touched, Failed or NotEqual with everything rolled back.
    """
    verify_selected(store, request.entry, request.selection, report)
    return restore_verified(request, target_url, store, safety=safety, report=report)


def restore_verified(
    request: LiveRestore,
    target_url: str,
    store: Store,
    *,
    safety: Callable[[frozenset[str]], Manifest] | None,
    report: Report,
) -> LiveRestored:
    """`restore` for objects that have just been verified."""
    entry = request.entry
    tables = select(entry, request.selection)
    take = None
    if safety is not None:
        # Without a safety backup the one comparison under locks refuses early enough.
        plan = plan_verified(
            store,
            entry,
            target_url,
            selection=request.selection,
            mode=request.mode,
            report=report,
            rules=request.rules,
        )
        refuse_impossible(plan, request.rules.what)
        _refuse_other_plan(request, plan)
        roots = frozenset(table.partition_of or table.qualified for table in tables)
        take = partial(safety, roots)
    for number in range(_ATTEMPTS):
        # At first writers need not wait while the safety backup is taken; if they wrote, they must.
        done = _attempt(request, target_url, store, take, report, hold_writers=number > 0)
        if done is not None:
            return done
        report("the application wrote after the safety backup: once more, holding its writes back")
    raise Failed(
        f"the application kept the tables busy through {_ATTEMPTS} safety backups, so none of "
        "them was current; nothing was changed: stop its writes and start again"
    )


def _refuse_other_plan(request: LiveRestore, plan: Plan) -> None:
    if request.plan_hash and request.plan_hash != plan.hash:
        raise Refused(
            f"the plan is {plan.hash} now, not {request.plan_hash}: the live data has changed "
            "since it was made; look at the new plan first"
        )


def _attempt(
    request: LiveRestore,
    target_url: str,
    store: Store,
    safety: Callable[[], Manifest] | None,
    report: Report,
    *,
    hold_writers: bool,
) -> LiveRestored | None:
    """One transaction; None when the safety backup is not what the locked tables hold."""
    entry, selection = request.entry, request.selection
    is_committing = False
    before = None if hold_writers else _take(safety, report)
    with connected(target_url, what=f"the database of {entry.system}") as connection:
        try:
            with connection.transaction():
                if hold_writers:
                    report("holding writers back")
                    _locked_scene(connection, request, against="writers")
                    before = _take(safety, report)
                take_lock(connection, entry.system)
                report("locking the tables")
                scene = _locked_scene(connection, request, against="everybody")
                state = constraint_state(connection)
                no_force(connection, scene.forced)
                digests = Digests(connection)
                if before is not None and not _is_current(digests, scene, before):
                    raise psycopg.Rollback
                found = compare_all(
                    connection, store, entry, selection, request.mode, scene, digests, report
                )
                refuse_impossible(found.plan, request.rules.what)
                _refuse_other_plan(request, found.plan)
                verified = write(connection, store, entry, selection, found, report)
                if request.refresh_views:
                    report("refreshing materialized views")
                    refresh(connection, list_materialized_views(connection))
                force_again(connection, scene.forced)
                refuse_changed_state(state, constraint_state(connection))
                report("committing")
                is_committing = True
            if not is_committing:
                return None
            return LiveRestored(found.plan, before, verified, proved_digests(found))
        except WaitingForUs:
            return None
        except psycopg.Error as error:
            raise _failed(request, error, is_committing=is_committing) from error


def _take(safety: Callable[[], Manifest] | None, report: Report) -> Manifest | None:
    if safety is None:
        report("no safety backup is taken, as was asked for")
        return None
    report("taking the safety backup")
    return safety()


def _failed(request: LiveRestore, error: psycopg.Error, *, is_committing: bool) -> Failed:
    reason = " ".join(str(error).split())
    if is_committing and isinstance(error, psycopg.OperationalError):
        return Failed(
            f"the connection to the database of {request.entry.system} was lost during the "
            f"commit, so the {request.rules.what} is either done or not begun: make a plan to see "
            f"which ({reason})"
        )
    return Failed(f"the {request.rules.what} failed and was rolled back: {reason}")


def _locked_scene(
    connection: Connection, request: LiveRestore, *, against: Literal["everybody", "writers"]
) -> Scene:
    """Lock the selected tables, and those whose foreign keys to them may have to be lifted."""
    scene = look(connection, request.entry, request.selection, request.rules)
    names = {table.oid: table.identifier for table in scene.live.values()}
    for guard in scene.guards:
        if guard.kind == "foreign owner":
            # It can only be as it should be already, which the proof at the end confirms.
            names.pop(guard.table_oid, None)
    outside: set[int] = set()
    for key in scene.foreign_keys:
        if key.references in scene.live and key.is_ours and key.table_oid not in names:
            names[key.table_oid] = key.table_identifier
            outside.add(key.table_oid)
    tables = frozenset(table.qualified for table in scene.tables)
    positions = to_set(
        connection, request.entry, request.selection, request.mode, tables, wherever=True
    )
    lock_tables(
        connection,
        list(names.values()),
        list(names),
        request.lock_seconds,
        against=against,
        whole=outside,
        then=locking(connection, positions),
    )
    # What was found before the locks may have changed until then.
    return look(connection, request.entry, request.selection, request.rules)


def _is_current(digests: Digests, scene: Scene, safety: Manifest) -> bool:
    """Whether the locked tables hold exactly what the safety backup has."""
    saved = {table.qualified: table for table in safety.tables}
    unsaved = sorted(set(scene.live) - set(saved))
    if unsaved:
        raise Refused(
            f"the safety backup would not hold {', '.join(unsaved)}: give it a module again, or "
            "leave it out of the restore"
        )
    if set(saved) - set(scene.live):
        return False
    return all(
        digests.of(live, saved[name]) == (saved[name].rows, saved[name].digest)
        for name, live in scene.live.items()
    )
