"""Guards over what tables hold: in a module, fallen, risen, with columns of a type not seen before.

Each compares manifests, so that the store alone is enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from backup_pipelines.health.evidence import Evidence
from backup_pipelines.health.finding import Finding
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Column, Manifest, Table
from backup_pipelines.system import OTHER

# A message is read on a phone; the numbers and the backup have the rest.
_NAMED = 10

_ALL_TABLES = "all tables together"


@dataclass(frozen=True)
class _Measure:
    """How much is in a table, its partitions included."""

    rows: int
    bytes: int
    formats: frozenset[Format] = frozenset()
    """How they are written: bytes of one format say nothing of those of another."""


def coverage(evidence: Evidence) -> Finding:
    """Whether every table is in a module; what is left out on purpose is named too."""
    newest = evidence.newest_full
    if newest is None:
        return _nothing_to_look_at("coverage", evidence)
    others = sorted(
        table.qualified
        for table in newest.tables
        if table.module == OTHER and table.partition_of is None
    )
    numbers = {"tables_in_no_module": len(others), "excluded": len(newest.excluded)}
    left_out = ""
    if newest.excluded:
        names = [f"{left.name} ({left.reason})" for left in newest.excluded]
        left_out = f" Left out on purpose: {_names(names)}."
    if not others:
        said = f"All {newest.tables_count} tables are in a module.{left_out}"
        return Finding(guard="coverage", status="ok", message=said, numbers=numbers)
    return Finding(
        guard="coverage",
        status="warning",
        message=f"{len(others)} tables are in no module, and backed up all the same: "
        f"{_names(others)}.{left_out}",
        advice=f"Name them in a module of defs/{evidence.name}/defs.yaml, or exclude them with a "
        "reason.",
        numbers=numbers,
        cause=", ".join(others),
        about=tuple(others),
    )


def shrink(evidence: Evidence) -> Finding:
    """Whether a table lost more than the set share of its rows or bytes since the backup before."""
    pair = evidence.newest_pair
    if pair is None:
        return _nothing_to_compare("shrink", evidence)
    newest, before = pair
    spec, excluded = evidence.system.guards, {left.name for left in newest.excluded}
    now, then = _measures(newest), _measures(before)
    fallen: list[str] = []
    worst = 0.0
    for name, had in then.items():
        # The sum tells of many small tables only; else the tables tell more.
        if had.rows < spec.min_rows or not had.rows or (name == _ALL_TABLES and fallen):
            continue
        has = now.get(name)
        lost = 100.0 if has is None else _lost(had, has)
        worst = max(worst, lost)
        if has is None:
            gone = "is excluded now" if name in excluded else "is gone"
            fallen.append(f"{name} {gone} (it had {had.rows:,} rows)")
        # A fall to nothing is more than any share.
        elif lost > spec.shrink_percent or lost >= 100:
            fallen.append(f"{name} {_change(had, has)}")
    numbers = {"tables_fallen": len(fallen), "worst_percent": round(worst, 1)}
    limit = f"{spec.shrink_percent:g} %"
    if not fallen:
        return Finding(
            guard="shrink",
            status="ok",
            message=f"No table lost more than {limit} of its rows or bytes from {before.id} to "
            f"{newest.id}; the worst lost {worst:.1f} %.",
            numbers=numbers,
        )
    return Finding(
        guard="shrink",
        status="error",
        message=f"{len(fallen)} tables lost more than {limit} of their rows or bytes from "
        f"{before.id} to {newest.id}: {_names(fallen, '; ')}.",
        advice=f"Look whether this was meant: `backup-pipelines plan {evidence.name} {before.id}` "
        "shows the rows that have gone. Nothing good is pruned until you have run "
        f"`backup-pipelines acknowledge {evidence.name} --reason TEXT`.",
        numbers=numbers,
        cause=newest.id,
    )


def growth(evidence: Evidence) -> Finding:
    """Whether a table has grown by more than the set share since the backup before."""
    pair = evidence.newest_pair
    if pair is None:
        return _nothing_to_compare("growth", evidence)
    newest, before = pair
    spec = evidence.system.guards
    now, then = _measures(newest), _measures(before)
    grown: list[str] = []
    worst = 0.0
    for name, has in now.items():
        had = then.get(name)
        if name == _ALL_TABLES or had is None or had.rows < spec.min_rows or not had.rows:
            continue
        risen = _risen(had, has)
        worst = max(worst, risen)
        if risen > spec.growth_percent:
            grown.append(f"{name} {_change(had, has)}")
    numbers = {"tables_grown": len(grown), "worst_percent": round(worst, 1)}
    limit = f"{spec.growth_percent:g} %"
    if not grown:
        return Finding(
            guard="growth",
            status="ok",
            message=f"No table grew by more than {limit} from {before.id} to {newest.id}; the most "
            f"was {worst:.1f} %.",
            numbers=numbers,
        )
    return Finding(
        guard="growth",
        status="warning",
        message=f"{len(grown)} tables grew by more than {limit} from {before.id} to {newest.id}: "
        f"{_names(grown, '; ')}.",
        advice="Look in the application for what writes so much; "
        f"`backup-pipelines show {evidence.name} {newest.id}` has rows and sizes.",
        numbers=numbers,
        cause=newest.id,
    )


def types(evidence: Evidence) -> Finding:
    """Whether columns have types that their table did not have in the backup before."""
    pair = evidence.newest_pair
    if pair is None:
        return _nothing_to_compare("types", evidence)
    newest, before = pair
    changed = [*_new_types(newest, before), *_new_texts(newest, before)]
    numbers = {"columns_changed": len(changed)}
    if not changed:
        return Finding(
            guard="types",
            status="ok",
            message=f"No column has a type that its table did not have in {before.id}.",
            numbers=numbers,
        )
    return Finding(
        guard="types",
        status="warning",
        message=f"New since {before.id}: {_names(changed, '; ')}.",
        advice="They are backed up exactly. A restore of an older backup into the changed tables "
        f"may be refused: `backup-pipelines plan {evidence.name} {before.id}` tells. Prove the new "
        f"types with `backup-pipelines drill {evidence.name}`.",
        numbers=numbers,
        cause=newest.id,
    )


def _measures(entry: Manifest) -> dict[str, _Measure]:
    """What each table that people mean holds, and all of them together."""
    found: dict[str, _Measure] = {}
    for table in entry.tables:
        name = table.partition_of or table.qualified
        found[name] = _added(found.get(name, _Measure(0, 0)), table)
    found[_ALL_TABLES] = reduce(_added, entry.tables, _Measure(0, 0))
    return found


def _added(to: _Measure, table: Table) -> _Measure:
    size = to.bytes + table.size_bytes
    return _Measure(to.rows + table.rows, size, to.formats | table.formats)


def _lost(had: _Measure, has: _Measure) -> float:
    """The larger share in percent that is gone, of rows or of bytes."""
    return 100 * max(1 - min(_ratios(had, has)), 0.0)


def _risen(had: _Measure, has: _Measure) -> float:
    """The larger growth in percent, of rows or of bytes."""
    return 100 * max(max(_ratios(had, has)) - 1, 0.0)


def _ratios(had: _Measure, has: _Measure) -> list[float]:
    """How much there is of what was: of rows, and of bytes where they can be compared."""
    found = [has.rows / had.rows]
    if had.bytes and had.formats == has.formats:
        found.append(has.bytes / had.bytes)
    return found


def _change(had: _Measure, has: _Measure) -> str:
    return f"went from {had.rows:,} to {has.rows:,} rows and {had.bytes:,} to {has.bytes:,} bytes"


def _new_types(newest: Manifest, before: Manifest) -> Iterable[str]:
    """Columns whose type their table did not have."""
    then = {table.qualified: table for table in before.tables}
    for table in newest.tables:
        known = then.get(table.qualified)
        if known is None or table.partition_of is not None:
            continue
        had = _by_name(known)
        types_then = {column.type for column in known.columns}
        for column in table.columns:
            old = had.get(column.name)
            if old is not None and old.type != column.type:
                yield f"{table.qualified}.{column.name} is {column.type}, was {old.type}"
            elif old is None and column.type not in types_then:
                yield f"{table.qualified}.{column.name} is {column.type}"


def _new_texts(newest: Manifest, before: Manifest) -> Iterable[str]:
    """Types that nothing had before and that only their exact text holds."""
    known = {column.base_type for table in before.tables for column in table.columns}
    found: Mapping[str, str] = {
        column.base_type: f"{table.qualified}.{column.name}"
        for table in reversed(newest.tables)
        for column in table.columns
        if column.encoding == "text" and column.base_type not in known
    }
    for base_type, where in sorted(found.items()):
        yield f"the type {base_type}, kept as text ({where})"


def _by_name(table: Table) -> Mapping[str, Column]:
    return {column.name: column for column in table.columns}


def _names(names: Sequence[str], separator: str = ", ") -> str:
    shown = separator.join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _nothing_to_look_at(guard: str, evidence: Evidence) -> Finding:
    return Finding(
        guard=guard,
        status="unknown",
        message="There is no good full backup to look at.",
        advice=f"Take one: `backup-pipelines backup {evidence.name}`.",
    )


def _nothing_to_compare(guard: str, evidence: Evidence) -> Finding:
    count = len(evidence.full)
    return Finding(
        guard=guard,
        status="unknown",
        message=f"It compares the two newest good full backups, and there "
        f"{'is one' if count else 'is none'}.",
        advice=f"Take one more: `backup-pipelines backup {evidence.name}`.",
    )
