"""What differs between two backups, or a backup and the live tables, row by row."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backup_pipelines.errors import NotFound
from backup_pipelines.progress import Report
from backup_pipelines.system import qualify
from backup_pipelines.timeline import engine
from backup_pipelines.timeline.local_parts import LocalParts
from backup_pipelines.timeline.pairs import Pair, TableDifference, place
from backup_pipelines.timeline.sides import Side
from backup_pipelines.timeline.sources import Holding, roots

if TYPE_CHECKING:
    import duckdb

Op = Literal["insert", "update", "delete"]

_FETCHED_ROWS = 2000


@dataclass(frozen=True)
class RowDifference:
    """One row that differs; a value is PostgreSQL's text, None is NULL."""

    table: str
    op: Op
    key: Mapping[str, str | None]
    changed: tuple[str, ...]
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None


@dataclass(frozen=True)
class Differences:
    """The tables with their counts; the rows can be read as often as wanted."""

    tables: tuple[TableDifference, ...]
    rows: Callable[[TableDifference, int | None], Iterator[RowDifference]]
    """The rows of one table in the order of its key, as many as wanted or all."""
    not_compared: tuple[str, ...]
    """Tables of which one side cannot tell, since it was never to hold them."""


@contextmanager
def differences(
    first: Side, second: Side, wanted: Sequence[str], folder: Path, report: Report
) -> Generator[Differences]:
    """What became of the tables of the first side, and of which rows, until the second.

    `wanted` are tables by name; none means all. What has to be fetched comes into `folder`. Raises
    NotFound for a table that neither side has, Damaged for a part that is not as it was written.
    """
    pairs, not_compared = _pairs(first, second, {qualify(table) for table in wanted})
    folders = folder / "first", folder / "second"
    for one in folders:
        one.mkdir()
    parts = LocalParts(first.store, folders[0]), LocalParts(second.store, folders[1])
    comparable = first.digest_version == second.digest_version
    with engine.connect(folder) as connection:
        found: dict[str, tuple[TableDifference, int]] = {}
        for number, (name, (old, new)) in enumerate(sorted(pairs.items())):
            work = Pair(connection, number, name, old, new, comparable=comparable)
            if not work.is_same:
                report(f"comparing {name}")
                work.compare(parts)
            found[name] = (work.done, number)

        def rows(table: TableDifference, limit: int | None) -> Iterator[RowDifference]:
            return _rows(connection, *found[table.table], limit)

        yield Differences(tuple(done for done, _ in found.values()), rows, not_compared)


def _pairs(
    first: Side, second: Side, wanted: set[str]
) -> tuple[dict[str, tuple[Holding | None, Holding | None]], tuple[str, ...]]:
    old, new = roots(first.tables), roots(second.tables)
    unknown = sorted(wanted - old.keys() - new.keys())
    if unknown:
        known = ", ".join(sorted(old.keys() | new.keys()))
        raise NotFound(
            f"neither {first.name} nor {second.name} has a table {', '.join(unknown)} (the tables "
            f"are {known})"
        )
    names = wanted or old.keys() | new.keys()
    silent = {
        name
        for name in names
        for mine, side in ((old, first), (new, second))
        if name not in mine and (not side.is_whole or name in side.left_out)
    }
    pairs = {name: (old.get(name), new.get(name)) for name in names - silent}
    return pairs, tuple(sorted(silent))


def _rows(
    connection: "duckdb.DuckDBPyConnection", table: TableDifference, number: int, limit: int | None
) -> Iterator[RowDifference]:
    if table.is_nothing or not table.columns:
        return
    count = len(table.columns)
    places = {name: place for place, name in enumerate(table.columns)}
    keys = [f"key{places[name]}" for name in table.key]
    values = [f"{side}{n}" for side in ("old", "new") for n in range(count)]
    order = keys or [*values, "op"]
    bound = "" if limit is None else f" LIMIT {limit}"
    # Another cursor, so that the rows of two tables can be read in turns.
    found = connection.cursor().execute(
        f"SELECT op, {', '.join(values)} FROM {place(number)}, range(times)"
        f" ORDER BY {', '.join(order)}{bound}"
    )
    while rows := found.fetchmany(_FETCHED_ROWS):
        for op, *texts in rows:
            yield _row(table, op, texts[:count], texts[count:])


def _row(
    table: TableDifference, op: Op, old: Sequence[str | None], new: Sequence[str | None]
) -> RowDifference:
    before = dict(zip(table.columns, old, strict=True)) if op != "insert" else None
    after = dict(zip(table.columns, new, strict=True)) if op != "delete" else None
    key = {name: (after or before or {})[name] for name in table.key}
    changed: tuple[str, ...] = ()
    if before is not None and after is not None:
        changed = tuple(name for name in table.columns if before[name] != after[name])
    return RowDifference(table.table, op, key, changed, before, after)
