"""Backup and live database compared table by table, inside the caller's transaction."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.pace import Amount
from backup_pipelines.postgres.by_keys import compare_by_keys
from backup_pipelines.postgres.comparison import (
    Change,
    Mode,
    compare,
    nulls_in_place_of_values,
)
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.consequences import consequences
from backup_pipelines.postgres.guards import no_force
from backup_pipelines.postgres.locks import lock_tables
from backup_pipelines.postgres.records import keep_record
from backup_pipelines.postgres.shortcuts import can_copy_directly, narrowed
from backup_pipelines.postgres.staging import stage
from backup_pipelines.progress import Meter, Report, Step
from backup_pipelines.restoring.load import steps
from backup_pipelines.restoring.pending_keys import needs_rows, pending_consequences
from backup_pipelines.restoring.planned import Plan, TablePlan
from backup_pipelines.restoring.scene import Digests, Scene
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store

# How long a plan waits for a table that it must lock because row-level security is forced on it.
_PLAN_LOCK_SECONDS = 10.0


@dataclass
class Comparison:
    """The plan, and the staged rows and differences that a restore applies."""

    plan: Plan
    changes: Sequence[Change]
    scene: Scene


def show_forced(connection: Connection, scene: Scene) -> None:
    """Let the owner read tables whose row-level security is forced, until the rollback."""
    forced = scene.forced
    if forced:
        lock_tables(
            connection, [t.identifier for t in forced], [t.oid for t in forced], _PLAN_LOCK_SECONDS
        )
        no_force(connection, forced)


def compare_all(
    connection: Connection,
    store: Store,
    entry: Manifest,
    selection: Selection,
    mode: Mode,
    scene: Scene,
    digests: Digests,
    report: Report,
) -> Comparison:
    """Stage what differs and compare it; what stands against the restore is in the plan."""
    # A record is brought back; rows that were made since stay, whatever they hang on.
    mode = "upsert" if selection.record else mode
    work = _Work(connection, store, selection, mode, scene, digests, report)
    total = Amount(
        sum(table.rows for table in scene.tables), sum(table.size_bytes for table in scene.tables)
    )
    with Meter(f"{entry.system}: comparing", report, total) as meter:
        changes = work.compare(meter)
    changed: dict[str, list[Change]] = {}
    for change in changes:
        if not change.is_nothing:
            changed.setdefault(change.live.root, []).append(change)
    found = [
        *consequences(
            connection,
            changed,
            [t.qualified for t in scene.tables],
            [*scene.foreign_keys, *scene.pending],
        )
    ]
    if scene.creation is not None:
        found += pending_consequences(
            connection, scene.pending, scene.creation, changes, work.inside, mode, entry
        )
    plan = Plan(
        backup_id=entry.id,
        mode=mode,
        selection=str(selection),
        tables=tuple(_table_plan(t, work, scene, mode) for t in scene.tables),
        consequences=tuple(found),
        hash=_hash(entry, selection, mode, changes, scene),
        objects=scene.creation.objects if scene.creation is not None else (),
    )
    return Comparison(plan, changes, scene)


class _Work:
    """One comparison of all selected tables."""

    def __init__(
        self,
        connection: Connection,
        store: Store,
        selection: Selection,
        mode: Mode,
        scene: Scene,
        digests: Digests,
        report: Report,
    ) -> None:
        self._connection = connection
        self._store = store
        self._selection = selection
        self._mode: Mode = mode
        self._scene = scene
        self._digests = digests
        self._report = report
        self.changes: dict[str, Change] = {}
        self.refused: dict[str, list[str]] = {}

    def compare(self, meter: Meter) -> Sequence[Change]:
        """All changes, of tables that can be restored at all."""
        for number, table in enumerate(self._scene.tables):
            drift = self._scene.drifts[table.qualified]
            live = self._scene.live.get(table.qualified)
            if live is None or drift.refused or table.kind != "table":
                continue
            self._report(f"comparing {table.qualified}")
            key = self._scene.keys.get(live.oid)
            if key is not None and not set(key.columns) <= set(drift.columns):
                key = None
            change = Change(table, live, number, drift.columns, key)
            change.created = table.qualified in self._scene.created
            try:
                with steps(meter, table) as step:
                    self._prepare(change, step)
            except Refused as error:
                self.refused[table.qualified] = [str(error)]
            self.changes[table.qualified] = change
        # What the record of a table that is gone would be is nothing to look for.
        if self._selection.record and not self.is_refused_record:
            self._keep_record()
        for change in self.changes.values():
            if change.staged:
                self._report(f"looking for what differs in {change.table.qualified}")
                self._compare_rows(change)
        return list(self.changes.values())

    def _prepare(self, change: Change, step: Step) -> None:
        """Find out by digest that nothing is to be done, or stage the backup's rows."""
        table, live = change.table, change.live
        if self._is_exact(table):
            digests = self._digests.of(live, table)
            found = digests.whole
            change.before = None if live.oid in self._scene.unlocked else digests
            if found == (table.rows, table.digest) and not self._selection.record:
                change.unchanged, change.fingerprint = found
                return
            if found[0] == 0 and not self._selection.record:
                keys = [*self._scene.foreign_keys, *self._scene.pending]
                if self._may_copy(change) and can_copy_directly(change, keys, self.inside):
                    change.direct, change.insert = True, table.rows
                    change.fingerprint = table.digest
                    return
            if not self._selection.record and not change.created:
                table = narrowed(change, self._digests.of(live, table, by_parts=True))
                if compare_by_keys(self._connection, self._store, change, table, found):
                    change.staged = True
                    return
        stage(self._connection, self._store, table, live, change.columns, change.number, step)
        change.staged = True

    @property
    def is_refused_record(self) -> bool:
        """Whether a record is wanted where a table of it does not exist any more."""
        return self._selection.record is not None and self._scene.creation is not None

    @property
    def inside(self) -> frozenset[str]:
        """The names of all selected tables."""
        return frozenset(table.qualified for table in self._scene.tables)

    def _may_copy(self, change: Change) -> bool:
        """Whether no row elsewhere has to be held against the rows of a created table."""
        creation, table = self._scene.creation, change.table
        name = table.partition_of or table.qualified
        return not needs_rows(self._scene.pending, creation, name, self.inside, self._mode)

    def _is_exact(self, table: Table) -> bool:
        """Whether the rows to write are a whole table that a digest can be compared with."""
        return bool(table.digest) and self._scene.drifts[table.qualified].is_exact

    def _keep_record(self) -> None:
        record, key = self._selection.record, self._selection.key
        assert record is not None and key is not None
        self._report(f"looking for {key} in {record}")
        keep_record(
            self._connection,
            list(self.changes.values()),
            self._scene.foreign_keys,
            record,
            key,
            with_children=self._selection.with_children,
        )

    def _compare_rows(self, change: Change) -> None:
        table = change.table
        exact = self._is_exact(table)
        digests = self._digests
        rows = digests.of(change.live, table).whole[0] if exact else digests.rows(change.live)
        compare(self._connection, change, self._mode, rows)
        for column in nulls_in_place_of_values(self._connection, change):
            self.refused.setdefault(table.qualified, []).append(
                f"{table.qualified}.{column} is NOT NULL now and rows of the backup have NULL there"
            )


def _table_plan(table: Table, work: _Work, scene: Scene, mode: Mode) -> TablePlan:
    drift, live = scene.drifts[table.qualified], scene.live.get(table.qualified)
    change = work.changes.get(table.qualified)
    refused = [*drift.refused, *work.refused.get(table.qualified, ())]
    warnings = list(drift.adapted)
    acting = [g for g in scene.guards if live is not None and g.table_oid == live.oid]
    is_changed = bool(change and not change.is_nothing)
    for guard in acting:
        if guard.kind == "foreign owner" and is_changed:
            refused.append(
                f"{table.qualified} belongs to {guard.name}: restore as that role or a member of it"
            )
        elif guard.kind in ("trigger", "rule") and guard.state != "D":
            warnings.append(f"{guard.kind} {guard.name} does not act during the {scene.what}")
    is_created = table.qualified in scene.created
    if scene.creation is not None:
        warnings += scene.creation.warnings.get(table.qualified, ())
    if change and is_changed and mode == "upsert" and change.key is None and not is_created:
        refused.append(
            f"{table.qualified} has no primary key, so its rows cannot be matched: use mode replace"
        )
    return TablePlan(
        table=table.qualified,
        module=table.module,
        insert=change.insert if change else 0,
        update=change.update if change else 0,
        delete=change.delete if change else 0,
        unchanged=change.unchanged if change else 0,
        changed_columns=change.changed_columns if change else {},
        warnings=tuple(warnings),
        refused=tuple(refused),
        creates=is_created,
    )


def _hash(
    entry: Manifest,
    selection: Selection,
    mode: Mode,
    changes: Sequence[Change],
    scene: Scene,
) -> str:
    """The identity of a plan: the backup, the request, and every row that would change."""
    rows: Mapping[str, Any] = {
        c.table.qualified: [c.insert, c.update, c.delete, c.unchanged, c.fingerprint]
        for c in changes
    }
    content: dict[str, Any] = {
        "backup": entry.id,
        "mode": mode,
        "selection": str(selection),
        "tables": rows,
    }
    if scene.creation is not None:
        content["creates"] = scene.creation.identity
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
