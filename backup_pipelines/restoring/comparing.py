"""Backup and live database compared table by table, inside the caller's transaction."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest, Table
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
from backup_pipelines.progress import Report
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
    changes = work.compare()
    changed: dict[str, list[Change]] = {}
    for change in changes:
        if not change.is_nothing:
            changed.setdefault(change.live.root, []).append(change)
    plan = Plan(
        backup_id=entry.id,
        mode=mode,
        selection=str(selection),
        tables=tuple(_table_plan(t, work, scene, mode) for t in scene.tables),
        consequences=tuple(
            consequences(
                connection, changed, [t.qualified for t in scene.tables], scene.foreign_keys
            )
        ),
        hash=_hash(entry, selection, mode, changes),
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

    def compare(self) -> Sequence[Change]:
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
            try:
                self._prepare(change)
            except Refused as error:
                self.refused[table.qualified] = [str(error)]
            self.changes[table.qualified] = change
        if self._selection.record:
            self._keep_record()
        for change in self.changes.values():
            if change.staged:
                self._compare_rows(change)
        return list(self.changes.values())

    def _prepare(self, change: Change) -> None:
        """Find out by digest that nothing is to be done, or stage the backup's rows."""
        table, live = change.table, change.live
        if self._is_exact(table):
            found = self._digests.of(live, table)
            if found == (table.rows, table.digest) and not self._selection.record:
                change.unchanged, change.fingerprint = found
                return
            if found[0] == 0 and not self._selection.record:
                inside = {t.qualified for t in self._scene.tables}
                if can_copy_directly(change, self._scene.foreign_keys, inside):
                    change.direct, change.insert = True, table.rows
                    change.fingerprint = table.digest
                    return
            if not self._selection.record:
                table = narrowed(self._connection, change)
                if compare_by_keys(self._connection, self._store, change, table, found):
                    change.staged = True
                    return
        stage(self._connection, self._store, table, live, change.columns, change.number)
        change.staged = True

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
        rows = self._digests.of(change.live, table)[0] if exact else self._digests.rows(change.live)
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
    if change and is_changed and mode == "upsert" and change.key is None:
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
    )


def _hash(entry: Manifest, selection: Selection, mode: Mode, changes: Sequence[Change]) -> str:
    """The identity of a plan: the backup, the request, and every row that would change."""
    rows: Mapping[str, Any] = {
        c.table.qualified: [c.insert, c.update, c.delete, c.unchanged, c.fingerprint]
        for c in changes
    }
    content = {"backup": entry.id, "mode": mode, "selection": str(selection), "tables": rows}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
