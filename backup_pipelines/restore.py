"""Restoring: differences into the live database, or everything into an empty one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import psycopg

from backup_pipelines import encryption
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.plan import plan_verified, verify_selected
from backup_pipelines.postgres.connection import Connection, connected
from backup_pipelines.postgres.guards import (
    constraint_state,
    force_again,
    no_force,
    refuse_changed_state,
)
from backup_pipelines.postgres.introspect import LiveTable, list_materialized_views
from backup_pipelines.postgres.lock import take_lock
from backup_pipelines.postgres.locks import WaitingForUs
from backup_pipelines.postgres.standby import refuse_standby
from backup_pipelines.postgres.writer import copy_table
from backup_pipelines.progress import Report, Step
from backup_pipelines.restoring import creating, taking_back
from backup_pipelines.restoring.backup_ddl import BackupDdl
from backup_pipelines.restoring.comparing import compare_all
from backup_pipelines.restoring.load import load, refresh, refuse_unless_empty
from backup_pipelines.restoring.planned import Plan, refuse_impossible, with_warnings
from backup_pipelines.restoring.scene import Digests, Scene
from backup_pipelines.restoring.selection import select
from backup_pipelines.restoring.taking_back import Made
from backup_pipelines.restoring.under_locks import LiveRestore, is_current, locked_scene
from backup_pipelines.restoring.writing import proved_digests, write
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
class LiveRestored:
    """What a restore into the live database did; every table was proved before the commit."""

    plan: Plan
    safety: Manifest | None
    verified: int
    digests: Mapping[str, str]
    """Of the tables that were proved by theirs; the others were proved row by row."""
    made: tuple[Made, ...] = ()
    """What was created, for an undo."""
    dropped: tuple[str, ...] = ()
    """What an undo dropped."""


def restore_into_empty(
    store: Store,
    entry: Manifest,
    target_url: str,
    *,
    report: Report,
    copy: Callable[[Connection, Store, Table, Step], None] = copy_table,
    proof: Callable[[Connection, Sequence[Table]], None] | None = None,
) -> RestoreResult:
    """Restore a backup into an empty database; every object is verified before anything is created.

    `copy` and `proof` are those of `load`.
    Raises Refused when the database is not empty, Damaged, Failed or NotEqual with nothing changed.
    """
    encryption.refuse_closed(entry)
    doing = f"restore {entry.system}"
    with connected(target_url, what="the target database", doing=doing) as connection:
        refuse_standby(connection, entry.system)
        refuse_unless_empty(connection)
        verify(store, entry, report=report)
        loaded = load(connection, store, entry, report, copy=copy, proof=proof)
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
    ddl = BackupDdl(store, entry)
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
            takes_back=request.takes_back,
            ddl=ddl,
        )
        refuse_impossible(plan, request.rules.what)
        _refuse_other_plan(request, plan)
        roots = frozenset(table.partition_of or table.qualified for table in tables)
        # What an undo drops is in its own safety backup, so that it can be undone.
        roots |= {one.qualified for one in request.takes_back if one.kind == "table"}
        take = partial(safety, roots)
    for number in range(_ATTEMPTS):
        # At first writers need not wait while the safety backup is taken; if they wrote, they must.
        done = _attempt(request, target_url, store, ddl, take, report, hold_writers=number > 0)
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
    ddl: BackupDdl,
    safety: Callable[[], Manifest] | None,
    report: Report,
    *,
    hold_writers: bool,
) -> LiveRestored | None:
    """One transaction; None when the safety backup is not what the locked tables hold."""
    entry, selection, is_committing = request.entry, request.selection, False
    what = f"the database of {entry.system}"
    before = None if hold_writers else _take(safety, report)
    with connected(
        target_url, what=what, doing=f"{request.rules.what} {entry.system}"
    ) as connection:
        try:
            with connection.transaction():
                if hold_writers:
                    report("holding writers back")
                    locked_scene(connection, ddl, request, against="writers")
                    before = _take(safety, report)
                take_lock(connection, entry.system)
                report("locking the tables")
                scene = locked_scene(connection, ddl, request, against="everybody")
                digests = Digests(connection)
                goes = taking_back.live_tables(connection, request.takes_back)
                taking_back.refuse_grown(connection, goes)
                forced = [table for table in scene.forced if table.qualified not in goes]
                no_force(connection, [*forced, *goes.values()])
                if before is not None and not is_current(digests, scene, before, request, goes):
                    raise psycopg.Rollback
                dropped = taking_back.take_back(connection, request.takes_back)
                scene = taking_back.without(scene, request.takes_back)
                state = _state(connection, forced)
                scene = creating.with_missing(
                    connection, ddl, entry, selection, request.rules, scene, rehearsing=False
                )
                found = compare_all(
                    connection, store, entry, selection, request.mode, scene, digests, report
                )
                refuse_impossible(found.plan, request.rules.what)
                _refuse_other_plan(request, found.plan)
                verified = len(dropped)
                if found.changes or not dropped:
                    verified += write(connection, store, entry, selection, found, report)
                made = _finished(connection, request, scene, forced, state, report)
                report("committing")
                is_committing = True
            if not is_committing:
                return None
            plan = with_warnings(found.plan, scene.creation)
            return LiveRestored(plan, before, verified, proved_digests(found), made, dropped)
        except WaitingForUs:
            return None
        except psycopg.Error as error:
            raise _failed(request, error, is_committing=is_committing) from error


def _state(connection: Connection, forced: Sequence[LiveTable]) -> tuple[str, ...]:
    """What the restore must leave as it is, row-level security forced as it was found."""
    force_again(connection, forced)
    state = constraint_state(connection)
    no_force(connection, forced)
    return state


def _finished(
    connection: Connection,
    request: LiveRestore,
    scene: Scene,
    forced: Sequence[LiveTable],
    state: Sequence[str],
    report: Report,
) -> tuple[Made, ...]:
    """What follows the proof; returns what was created, as an undo has to know it.

    Raises Failed when anything else of the database is not as `state` has it.
    """
    if request.refresh_views:
        report("refreshing materialized views")
        refresh(connection, list_materialized_views(connection))
    force_again(connection, forced)
    made: tuple[Made, ...] = ()
    if scene.creation is not None:
        report("making triggers, policies, views and grants of created tables")
        creating.complete(connection, scene.creation, request.entry)
        made = taking_back.made_by(connection, scene.creation)
    back = [one.oid for one in made if one.kind in ("rule", "foreign key")]
    created = [one.oid for one in made if one.kind in ("table", "view", "materialized view")]
    refuse_changed_state(state, constraint_state(connection, made=created, back=back))
    return made


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
