"""Tables of backups as SQL for DuckDB: a partitioned table with all its partitions, as one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.manifest import Column, Manifest, Table
from backup_pipelines.system import qualify
from backup_pipelines.timeline.forms import duck_type, literal, quoted, text_sql

Shape = Callable[[str, str, Column | None], str]
"""SQL of what is wanted, by a column's name, SQL of its stored value, and how it is stored.

That is None where a table lacks the column.
"""


@dataclass(frozen=True)
class Holding:
    """A table as people name it, and the tables that hold its rows: itself, or its partitions."""

    table: Table
    leaves: tuple[Table, ...]

    @property
    def rows(self) -> int:
        """Rows in all of it."""
        return sum(leaf.rows for leaf in self.leaves)


def holdings(tables: Iterable[Table]) -> dict[str, Holding]:
    """What of a backup can be looked into, by qualified name.

    A partition that is partitioned itself is left out: its rows are known under the whole table.
    """
    leaves: dict[str, list[Table]] = {}
    tables = list(tables)
    for table in tables:
        if table.kind == "table":
            leaves.setdefault(table.qualified, []).append(table)
            if table.partition_of is not None:
                leaves.setdefault(table.partition_of, []).append(table)
    return {
        table.qualified: Holding(table, tuple(leaves.get(table.qualified, ())))
        for table in tables
        if table.columns and (table.kind == "table" or table.partition_of is None)
    }


def roots(tables: Iterable[Table]) -> dict[str, Holding]:
    """The same without partitions, and with tables that have no columns."""
    tables = list(tables)
    found = {t.qualified: Holding(t, (t,)) for t in tables if t.partition_of is None}
    return found | {n: h for n, h in holdings(tables).items() if h.table.partition_of is None}


def named(entries: Sequence[Manifest], table: str) -> str:
    """The qualified name of a table that one of the backups holds at least; raises NotFound."""
    name = qualify(table)
    known = {t.qualified for entry in entries for t in entry.tables}
    if name not in known:
        shown = ", ".join(sorted(known)) or "none at all"
        raise NotFound(f"no backup holds a table {name} (the tables are {shown})")
    if not any(name in holdings(entry.tables) for entry in entries):
        raise Refused(
            f"{name} cannot be looked into by itself: name the table that it is a part of"
        )
    return name


@dataclass(frozen=True)
class Source:
    """Rows of one table in one backup."""

    table: Table
    paths: Sequence[Path]


def union_sql(
    sources: Sequence[Source],
    wanted: Sequence[tuple[Mapping[str, str], Shape]],
    constants: Mapping[str, str] | None = None,
) -> str:
    """A SELECT of the rows of all sources.

    `wanted` has the alias of each column by its name, and the shape in which it is wanted;
    `constants` SQL of values that all rows have in common, by their alias.
    """
    return " UNION ALL ".join(_select(source, wanted, constants or {}) for source in sources)


def as_text(name: str, value: str, column: Column | None) -> str:
    """The shape in which values are shown: PostgreSQL's text."""
    del name
    return "CAST(NULL AS VARCHAR)" if column is None else text_sql(value, duck_type(column))


def _select(
    source: Source,
    wanted: Sequence[tuple[Mapping[str, str], Shape]],
    constants: Mapping[str, str],
) -> str:
    places = {column.name: number for number, column in enumerate(source.table.columns)}
    made = [f"{value} AS {quoted(alias)}" for alias, value in constants.items()]
    for aliases, shape in wanted:
        for name, alias in aliases.items():
            number = places.get(name)
            column = None if number is None else source.table.columns[number]
            made.append(f"{shape(name, f'c{number}', column)} AS {quoted(alias)}")
    return f"SELECT {', '.join(made)} FROM {_rows(source)}"


def _rows(source: Source) -> str:
    """The stored rows with columns c0, c1, ...: names may differ by nothing but their case."""
    if not source.paths:
        empty = [
            f"CAST(NULL AS {duck_type(column)}) AS c{number}"
            for number, column in enumerate(source.table.columns)
        ]
        return f"(SELECT {', '.join(empty)} WHERE false)"
    aliases = ", ".join(f"c{number}" for number in range(len(source.table.columns)))
    listed = ", ".join(literal(str(path)) for path in source.paths)
    # A folder that is called a=b is none of a partition's.
    return f"read_parquet([{listed}], hive_partitioning = false) AS t({aliases})"
