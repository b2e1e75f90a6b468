"""One table on two sides: by what SQL its rows are compared, and how many differ.

Rows are matched by primary key; where there is none, as a multiset of whole rows. Two values differ
when their PostgreSQL texts do, whichever way each is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backup_pipelines.manifest import Column, Table
from backup_pipelines.timeline.forms import (
    compared_sql,
    duck_type,
    is_by_value,
    key_sql,
    text_sql,
)
from backup_pipelines.timeline.local_parts import LocalParts
from backup_pipelines.timeline.sources import Holding, Source, as_text, union_sql

if TYPE_CHECKING:
    import duckdb


@dataclass
class TableDifference:
    """What became of one table between the first side and the second."""

    table: str
    module: str
    insert: int = 0
    update: int = 0
    delete: int = 0
    unchanged: int = 0
    changed_columns: dict[str, int] = field(default_factory=dict[str, int])
    by_digest: bool = False
    """Nothing of it was read: both sides have the same digest of the same columns."""
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether no row differs."""
        return not (self.insert or self.update or self.delete)


def place(number: int) -> str:
    """DuckDB's table with the rows of a pair that differ: op, times, keyN, oldN and newN."""
    return f"differences_{number}"


class Pair:
    """One table on both sides."""

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        number: int,
        name: str,
        old: Holding | None,
        new: Holding | None,
        *,
        comparable: bool,
    ) -> None:
        """`comparable`: both sides have digests of one version."""
        self._connection = connection
        self._place = place(number)
        self._old, self._new = self._unequal(old, new, comparable)
        newest = new or old
        assert newest is not None
        self._root = newest.table
        self.done = TableDifference(name, newest.table.module)
        self.done.unchanged = (old.rows if old else 0) - sum(t.rows for t in self._old)
        self.is_same = old is not None and new is not None and not (self._old or self._new)
        self.done.by_digest = self.is_same
        self._describe(old, new)

    @staticmethod
    def _unequal(
        old: Holding | None, new: Holding | None, comparable: bool
    ) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
        """The tables or partitions that are not the same by digest, and therefore read."""

        def content(table: Table) -> object:
            columns = tuple((c.name, c.type, c.encoding) for c in table.columns)
            return table.qualified, table.rows, table.digest, columns

        olds, news = old.leaves if old else (), new.leaves if new else ()
        same = {content(t) for t in olds} & {content(t) for t in news} if comparable else set()
        return (
            tuple(t for t in olds if content(t) not in same),
            tuple(t for t in news if content(t) not in same),
        )

    def _describe(self, old: Holding | None, new: Holding | None) -> None:
        olds = {c.name: c for c in old.table.columns} if old else {}
        news = {c.name: c for c in new.table.columns} if new else {}
        self.done.columns = tuple([*news, *(name for name in olds if name not in news)])
        if old is None or new is None:
            self.done.key = self._root.primary_key
            self.done.notes = ("the table was made",) if old is None else ("the table is gone",)
            return
        if old.table.primary_key == new.table.primary_key:
            self.done.key = new.table.primary_key
        else:
            self.done.notes += ("its primary key is another: compared by whole rows",)
        for name in self.done.columns:
            if name not in olds:
                self.done.notes += (f"column {name} was added: it counts as NULL before",)
            elif name not in news:
                self.done.notes += (f"column {name} is gone: it counts as NULL now",)
            elif olds[name].type != news[name].type:
                was, is_now = olds[name].type, news[name].type
                self.done.notes += (f"column {name} was {was} and is {is_now}",)

    def compare(self, parts: tuple[LocalParts, LocalParts]) -> None:
        """Fill in the counts, and make the table of the rows that differ."""
        done = self.done
        if not done.columns:
            self._count_rows_without_columns()
            return
        for side, tables in zip(parts, (self._old, self._new), strict=True):
            side.bring(tables)
        old = [Source(table, parts[0].paths(table)) for table in self._old]
        new = [Source(table, parts[1].paths(table)) for table in self._new]
        made = self._by_key(old, new) if done.key else self._by_row(old, new)
        self._connection.execute(f"CREATE TABLE {self._place} AS {made}")
        found = self._connection.execute(
            f"SELECT op, sum(times)::BIGINT FROM {self._place} GROUP BY op"
        ).fetchall()
        counts = dict(found)
        done.insert, done.update = counts.get("insert", 0), counts.get("update", 0)
        done.delete = counts.get("delete", 0)
        done.unchanged += sum(t.rows for t in self._old) - done.update - done.delete
        if done.update:
            self._count_changes()

    def _count_rows_without_columns(self) -> None:
        old, new = (sum(t.rows for t in tables) for tables in (self._old, self._new))
        self.done.insert, self.done.delete = max(0, new - old), max(0, old - new)
        self.done.unchanged += min(old, new)

    def _count_changes(self) -> None:
        counts = ", ".join(
            f"count(*) FILTER (WHERE old{n} IS DISTINCT FROM new{n})"
            for n in range(len(self.done.columns))
        )
        row = self._connection.execute(
            f"SELECT {counts} FROM {self._place} WHERE op = 'update'"
        ).fetchone()
        assert row is not None
        pairs = zip(self.done.columns, row, strict=True)
        self.done.changed_columns = {name: count for name, count in pairs if count}

    def _by_key(self, old: Sequence[Source], new: Sequence[Source]) -> str:
        """Rows of the same key side by side, where one is missing or they differ."""
        columns, kinds = self.done.columns, (self._kinds(old), self._kinds(new))
        left, right = (self._side(*side) for side in zip((old, new), kinds, strict=True))
        texts = [self._texts(alias, kind) for alias, kind in zip("lr", kinds, strict=True)]
        base = {column.name: column for column in self._root.columns}
        matched: list[str] = []
        order: list[str] = []
        for n, name in enumerate(columns):
            if name not in self.done.key:
                continue
            pair = [f"l.raw{n}", f"r.raw{n}"]
            if kinds[0][n] != kinds[1][n] or not is_by_value(base[name]):
                pair = [key_sql(text[n], base[name].base_type) for text in texts]
            matched.append(f"{pair[0]} = {pair[1]}")
            order.append(f"coalesce({pair[0]}, {pair[1]}) AS key{n}")
        shown = [f"{texts[0][n]} AS old{n}, {texts[1][n]} AS new{n}" for n in range(len(columns))]
        differ = [
            f"{compared_sql(f'l.raw{n}', a)} IS DISTINCT FROM {compared_sql(f'r.raw{n}', b)}"
            if a == b
            else f"{texts[0][n]} IS DISTINCT FROM {texts[1][n]}"
            for n, (a, b) in enumerate(zip(*kinds, strict=True))
        ]
        return (
            "SELECT CASE WHEN l.there IS NULL THEN 'insert' WHEN r.there IS NULL THEN 'delete'"
            f" ELSE 'update' END AS op, 1 AS times, {', '.join([*order, *shown])}"
            f" FROM ({left}) AS l FULL JOIN ({right}) AS r ON {' AND '.join(matched)}"
            f" WHERE l.there IS NULL OR r.there IS NULL OR {' OR '.join(differ)}"
        )

    def _by_row(self, old: Sequence[Source], new: Sequence[Source]) -> str:
        """Each whole row as often as one side has it more than the other."""
        wanted = [({name: f"value{n}" for n, name in enumerate(self.done.columns)}, as_text)]
        both = " UNION ALL ".join(
            union_sql(side or [self._nothing()], wanted, {"more": more})
            for side, more in ((old, "-1"), (new, "1"))
        )
        values = [f"value{n}" for n in range(len(self.done.columns))]
        shown = [
            f"CASE WHEN more < 0 THEN value{n} END AS old{n},"
            f" CASE WHEN more > 0 THEN value{n} END AS new{n}"
            for n in range(len(values))
        ]
        return (
            f"SELECT CASE WHEN more > 0 THEN 'insert' ELSE 'delete' END AS op,"
            f" abs(more)::BIGINT AS times, {', '.join(shown)}"
            f" FROM (SELECT {', '.join(values)}, sum(more) AS more"
            f" FROM ({both}) GROUP BY {', '.join(values)} HAVING sum(more) <> 0)"
        )

    def _kinds(self, sources: Sequence[Source]) -> list[str]:
        """DuckDB's type of each column on one side; of several, as partitions may have, VARCHAR."""
        found = [
            {duck_type(c) for source in sources for c in source.table.columns if c.name == name}
            for name in self.done.columns
        ]
        return [next(iter(kinds)) if len(kinds) == 1 else "VARCHAR" for kinds in found]

    def _side(self, sources: Sequence[Source], kinds: Sequence[str]) -> str:
        """The rows of one side in their stored form: raw0, raw1, ..."""
        kind_of = dict(zip(self.done.columns, kinds, strict=True))

        def raw(name: str, value: str, column: Column | None) -> str:
            if column is None:
                return f"CAST(NULL AS {kind_of[name]})"
            kind = duck_type(column)
            return value if kind == kind_of[name] else text_sql(value, kind)

        wanted = [({name: f"raw{n}" for n, name in enumerate(self.done.columns)}, raw)]
        return union_sql(sources or [self._nothing()], wanted, {"there": "true"})

    @staticmethod
    def _texts(alias: str, kinds: Sequence[str]) -> list[str]:
        return [text_sql(f"{alias}.raw{n}", kind) for n, kind in enumerate(kinds)]

    def _nothing(self) -> Source:
        return Source(self._root, ())
