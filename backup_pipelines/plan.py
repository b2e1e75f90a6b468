"""Planning a restore: what it would do, row by row, without doing it."""

import time
from collections.abc import Sequence
from dataclasses import replace

import psycopg

from backup_pipelines import encryption
from backup_pipelines.errors import Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.comparison import Mode
from backup_pipelines.postgres.connection import connected, roll_back
from backup_pipelines.postgres.standby import refuse_standby
from backup_pipelines.progress import Report
from backup_pipelines.restoring import creating, taking_back
from backup_pipelines.restoring.backup_ddl import BackupDdl
from backup_pipelines.restoring.comparing import compare_all, show_forced
from backup_pipelines.restoring.planned import Plan, TablePlan, refuse_impossible
from backup_pipelines.restoring.scene import BACKUP_RULES, Digests, Rules, look
from backup_pipelines.restoring.selection import Selection, select
from backup_pipelines.restoring.taking_back import Made
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify

__all__ = ["Plan", "TablePlan", "plan_restore", "refuse_impossible"]

# A restore compares once more and takes a safety backup, which reads the tables as well.
_COMPARISONS_PER_RESTORE = 3
_ROWS_WRITTEN_PER_SECOND = 50_000


def plan_restore(
    store: Store,
    entry: Manifest,
    target_url: str,
    *,
    selection: Selection,
    mode: Mode,
    report: Report,
) -> Plan:
    """The plan of a restore; everything it stages is rolled back.

    What stands against the restore is in the plan. Raises NotFound or Refused for a selection that
    the backup does not hold, Damaged before anything is staged, Failed when the database cannot be
    read.
    """
    started = time.monotonic()
    verify_selected(store, entry, selection, report)
    verified = time.monotonic() - started
    plan = plan_verified(store, entry, target_url, selection=selection, mode=mode, report=report)
    return replace(plan, estimated_seconds=round(plan.estimated_seconds + verified, 1))


def verify_selected(store: Store, entry: Manifest, selection: Selection, report: Report) -> None:
    """Read back what a plan or a restore of the selection reads; raises what `verify` raises."""
    tables = select(entry, selection)
    encryption.refuse_closed(entry)
    verify(store, entry.model_copy(update={"tables": tables}), report=report)


def plan_verified(
    store: Store,
    entry: Manifest,
    target_url: str,
    *,
    selection: Selection,
    mode: Mode,
    report: Report,
    rules: Rules = BACKUP_RULES,
    takes_back: Sequence[Made] = (),
    ddl: BackupDdl | None = None,
) -> Plan:
    """`plan_restore` for objects that have just been verified, after `takes_back` was dropped.

    `ddl` is the backup's, where a restore reads it too.
    """
    started = time.monotonic()
    what, doing = f"the database of {entry.system}", f"plan {entry.system}"
    with connected(target_url, what=what, doing=doing) as connection:
        refuse_standby(connection, entry.system)
        try:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            scene = look(connection, entry, selection, rules)
            show_forced(connection, scene)
            scene = taking_back.without(scene, takes_back)
            scene = creating.with_missing(
                connection,
                ddl or BackupDdl(store, entry),
                entry,
                selection,
                rules,
                scene,
                rehearsing=True,
            )
            digests = Digests(connection)
            found = compare_all(connection, store, entry, selection, mode, scene, digests, report)
        except psycopg.Error as error:
            raise Failed(f"the plan broke off: {' '.join(str(error).split())}") from error
        finally:
            roll_back(connection)
    return with_estimate(found.plan, time.monotonic() - started)


def with_estimate(plan: Plan, seconds: float) -> Plan:
    """The plan with the seconds that its restore may take, by those the comparison took."""
    written = plan.rows / _ROWS_WRITTEN_PER_SECOND
    estimate = round(seconds * _COMPARISONS_PER_RESTORE + written, 1)
    return replace(plan, estimated_seconds=estimate)
