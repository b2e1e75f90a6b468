"""The write of a restore: what gets in its way lifted, the differences applied, all put back."""

from collections.abc import Mapping, Sequence

from backup_pipelines.errors import NotEqual
from backup_pipelines.manifest import Manifest
from backup_pipelines.pace import Amount
from backup_pipelines.postgres import sequences
from backup_pipelines.postgres.apply import apply
from backup_pipelines.postgres.comparison import Change, Mode, remaining
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.digest import as_encoded, live_digest
from backup_pipelines.postgres.guards import LiveForeignKey
from backup_pipelines.postgres.range_digests import digest_after_writing
from backup_pipelines.postgres.silence import Silence
from backup_pipelines.progress import Meter, Report
from backup_pipelines.restoring import creating
from backup_pipelines.restoring.comparing import Comparison
from backup_pipelines.restoring.scene import Digests
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store

# A key's rows are checked one by one below this share of the table, else all at once, which is
# several times faster for each.
_ROW_CHECKS_PER_ROW = 5


def write(
    connection: Connection,
    store: Store,
    entry: Manifest,
    selection: Selection,
    found: Comparison,
    report: Report,
) -> int:
    """Silence, write, put back, prove; returns how many tables were proved."""
    changes = [change for change in found.changes if not change.is_nothing]
    tables = {change.live.oid: change.live for change in changes}
    rewritten = _rewritten(found, changes)
    ordered, cyclic = parents_first(changes, found.scene.foreign_keys)
    lifted = [
        key
        for key in found.scene.foreign_keys
        if key.is_ours and _gets_in_the_way(key, changes, rewritten, cyclic)
    ]
    guards = [
        guard
        for guard in found.scene.guards
        if guard.kind in ("trigger", "rule")
        or (guard.kind == "identity" and _sets(changes, guard.table_oid, guard.name, rewritten))
    ]
    silence = Silence(connection, tables, guards, lifted)
    report(f"silencing {len(tables)} tables, lifting {len(lifted)} foreign keys")
    silence.begin()
    report(f"writing {found.plan.rows:,} rows of {len(changes)} tables")
    with Meter(f"{entry.system}: writing", report, Amount(found.plan.rows)) as meter:
        apply(connection, store, ordered, rewritten, meter)
    creation = found.scene.creation
    if creation is not None:
        report(f"making constraints and indexes of {len(creation.made)} created tables")
        creating.finish_tables(connection, creation)
    report("setting sequences")
    for position in to_set(connection, entry, selection, found.plan.mode, _names(found)):
        sequences.set_position(connection, position)
    report("putting foreign keys, triggers and rules back")
    silence.end()
    if creation is not None:
        report(f"adding {len(creation.keys)} foreign keys of and to created tables")
        creating.add_keys(connection, creation)
    report("proving the result")
    return _prove(connection, found)


def proved_digests(found: Comparison) -> Mapping[str, str]:
    """The digests of the tables that were proved by theirs, not row by row."""
    return {
        change.table.qualified: change.table.digest
        for change in found.changes
        if change.table.digest and not (change.staged and _is_by_rows(found, change))
    }


def to_set(
    connection: Connection,
    entry: Manifest,
    selection: Selection,
    mode: Mode,
    tables: frozenset[str],
    *,
    wherever: bool = False,
) -> list[sequences.Sequence]:
    """The sequences that a restore of these tables moves, or might move wherever they are."""
    return sequences.positions_to_set(
        connection,
        entry,
        tables,
        forward_only=mode != "replace" or selection.record is not None,
        everything=selection.is_everything,
        wherever=wherever,
    )


def parents_first(
    changes: Sequence[Change], foreign_keys: Sequence[LiveForeignKey]
) -> tuple[list[Change], frozenset[str]]:
    """The changes, referenced tables before those that reference them, and what is in a cycle."""
    waiting: dict[str, set[str]] = {change.live.root: set() for change in changes}
    root_of = {change.live.qualified: change.live.root for change in changes}
    for key in foreign_keys:
        child = root_of.get(key.table, key.table)
        parent = root_of.get(key.references, key.references)
        if child in waiting and parent in waiting and child != parent:
            waiting[child].add(parent)
    order: list[str] = []
    while ready := sorted(root for root, parents in waiting.items() if not parents):
        order += ready
        waiting = {
            root: parents - set(ready) for root, parents in waiting.items() if root not in ready
        }
    place = {root: number for number, root in enumerate([*order, *sorted(waiting)])}
    return sorted(changes, key=lambda c: place[c.live.root]), frozenset(waiting)


def _gets_in_the_way(
    key: LiveForeignKey, changes: Sequence[Change], rewritten: set[int], cyclic: frozenset[str]
) -> bool:
    """Whether the key would act on our writes, or refuse them in the order they come in."""
    parents = [c for c in changes if key.references in (c.live.root, c.live.qualified)]
    children = [c for c in changes if key.table in (c.live.root, c.live.qualified)]
    for parent in parents:
        changed_key = set(key.referenced_columns) & set(parent.changed_columns)
        if parent.delete or (parent.update and (parent.live.oid in rewritten or changed_key)):
            return True
    if not children:
        return False
    inserted = sum(c.insert for c in children)
    rows = inserted + sum(c.unchanged + c.update for c in children)
    if inserted * _ROW_CHECKS_PER_ROW > rows:
        return True
    if not any(parent.insert for parent in parents):
        return False
    moved = any(
        set(key.columns) & set(c.changed_columns) and c.live.oid not in rewritten for c in children
    )
    is_own = children[0].live.root == parents[0].live.root
    one_by_one = is_own and len({c.live.oid for c in (*children, *parents)}) > 1
    in_cycle = children[0].live.root in cyclic and parents[0].live.root in cyclic
    return moved or one_by_one or in_cycle


def _rewritten(found: Comparison, changes: Sequence[Change]) -> set[int]:
    """Tables whose updated rows are inserted anew: unique values may swap, identities change."""
    kept = {key.references for key in found.scene.foreign_keys if not key.is_ours}
    unique: dict[int, set[str]] = {}
    for guard in found.scene.guards:
        if guard.kind in ("unique", "identity"):
            unique.setdefault(guard.table_oid, set()).add(guard.name)
    result: set[int] = set()
    for change in changes:
        names = unique.get(change.live.oid, set())
        drift = found.scene.drifts[change.table.qualified]
        # A row that is inserted anew would lose what columns of today hold.
        keeps_columns = not any(d.verdict == "adapted" for d in drift.differences)
        if (
            change.update
            and ("" in names or names & set(change.changed_columns))
            and keeps_columns
            and not kept & {change.live.root, change.live.qualified}
        ):
            result.add(change.live.oid)
    return result


def _sets(changes: Sequence[Change], oid: int, column: str, rewritten: set[int]) -> bool:
    """Whether an UPDATE sets this column."""
    return any(
        c.live.oid == oid and oid not in rewritten and column in c.changed_columns for c in changes
    )


def _names(found: Comparison) -> frozenset[str]:
    return frozenset(table.table for table in found.plan.tables)


def _prove(connection: Connection, found: Comparison) -> int:
    """Raise NotEqual unless every table is now what the plan promised; returns their number."""
    if not found.changes:
        raise NotEqual("the selection holds no tables, so nothing can be proved")
    untouched = _untouched(connection, found)
    problems = [
        problem
        for change in found.changes
        if change.live.oid not in untouched and (problem := _problem(connection, found, change))
    ]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise NotEqual(f"the result is not the backup, everything was rolled back:\n{listed}")
    return len(found.changes)


def _is_by_rows(found: Comparison, change: Change) -> bool:
    """Whether the result need not, or cannot, have the backup's digest."""
    is_exact = found.scene.drifts[change.table.qualified].is_exact
    return (found.plan.mode != "replace" and not change.created) or not is_exact


def _problem(connection: Connection, found: Comparison, change: Change) -> str:
    table = change.table
    if change.staged and _is_by_rows(found, change):
        left = remaining(connection, change, found.plan.mode)
        if left:
            return f"{table.qualified}: {left:,} rows still differ"
        return _lost(connection, change) if found.plan.mode == "insert" else ""
    live = as_encoded(change.live, table)
    rows, digest = (
        live_digest(connection, live)
        if change.before is None
        else digest_after_writing(connection, live, change.before)
    )
    if (rows, digest) == (table.rows, table.digest):
        return ""
    return (
        f"{table.qualified}: {rows:,} rows with digest {digest}, the backup has "
        f"{table.rows:,} with {table.digest}"
    )


def _lost(connection: Connection, change: Change) -> str:
    """Rows added to equal ones are told from those by their number alone."""
    rows, wanted = Digests(connection).rows(change.live), change.unchanged + change.insert
    if rows == wanted:
        return ""
    return f"{change.table.qualified}: {rows:,} rows where {wanted:,} were to be"


def _untouched(connection: Connection, found: Comparison) -> set[int]:
    """Tables that were equal when they had been locked, and got no row from us since.

    They need no second reading: nobody else could write, and the server counts what we wrote.
    """
    unlocked = found.scene.unlocked
    equal: Mapping[int, Change] = {
        c.live.oid: c for c in found.changes if c.is_nothing and c.live.oid not in unlocked
    }
    rows = connection.execute(
        "SELECT relid::bigint AS oid FROM pg_catalog.pg_stat_xact_all_tables"
        " WHERE relid = ANY (%(oids)s) AND n_tup_ins + n_tup_upd + n_tup_del = 0"
        " AND pg_catalog.current_setting('track_counts')::boolean",
        {"oids": list(equal)},
    )
    return {row["oid"] for row in rows}
