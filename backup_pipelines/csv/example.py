"""One row for a table that would be accepted: made up, and tried on the server without writing.

Values of existing rows are taken for foreign keys, and, letters and digits changed, where a rule
asks for more than a type. Checks, unique indexes and foreign keys are evaluated by PostgreSQL in
the read-only transaction of the template.
"""

import itertools
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from backup_pipelines.csv.catalog import ColumnFacts, TableFacts
from backup_pipelines.csv.made_up import ANYTHING, MADE_UP, TEXTS, disguised, length_of
from backup_pipelines.postgres.connection import Connection

Row = Mapping[str, str | None]

# How many combinations of values are tried for one condition.
_TRIALS = 400
_DISGUISES = 6
# How many unused values a unique column is offered.
_FRESH = 3


@dataclass(frozen=True)
class Example:
    """A row, and why there is none where there is none."""

    values: Row
    problem: str = ""


@dataclass(frozen=True)
class _Condition:
    """Something that a row must fulfil, as SQL over `n`, and what to say where none does."""

    columns: tuple[str, ...]
    sql: sql.Composable
    said: str


def example_row(connection: Connection, facts: TableFacts) -> Example:
    """A row that the table accepts now, as far as catalog and rows tell; writes nothing."""
    maker = _Maker(connection, facts)
    choices = {one.name: maker.choices(one) for one in facts.columns}
    empty = [name for name, found in choices.items() if not found]
    if empty:
        return Example({}, maker.why_none(empty[0]))
    conditions = [one for one in _conditions(facts) if maker.is_understood(one, choices)]
    row: dict[str, str | None] = {name: found[0] for name, found in choices.items()}
    broken = maker.broken(row, conditions)
    while broken:
        mended = maker.mended(row, broken, conditions, choices)
        if mended is None:
            return Example({}, broken[0].said)
        row, broken = mended
    return Example(row)


class _Maker:
    """Values for one table, tried on its server."""

    def __init__(self, connection: Connection, facts: TableFacts) -> None:
        self._connection = connection
        self._facts = facts
        self._dice = random.Random(facts.table.qualified)

    def choices(self, one: ColumnFacts) -> list[str | None]:
        """The values of a column that its type accepts, the best first; NULL last."""
        fitting = (self._fitted(one, value) for value in dict.fromkeys(self._offered(one)))
        found = dict.fromkeys(value for value in fitting if value is not None)
        if not found and not one.nullable and (existing := self._existing(one)) is not None:
            found = {existing: None}
        return [*found, None] if one.nullable else [*found]

    def why_none(self, column: str) -> str:
        """Why a column has no value to offer."""
        for name, existing in self._facts.lookups_of(column):
            if not existing:
                return f"{column} needs a row of {name.rpartition('.')[0]}, which has none to read"
        return f"no value was found that {column} accepts"

    def is_understood(
        self, condition: _Condition, choices: Mapping[str, Sequence[str | None]]
    ) -> bool:
        """Whether a condition can be evaluated over the columns of a file."""
        row = {name: found[0] for name, found in choices.items()}
        return self._ask(row, [condition]) is not None

    def broken(self, row: Row, conditions: Sequence[_Condition]) -> list[_Condition]:
        """The conditions that a row does not fulfil."""
        answers = self._ask(row, conditions)
        if answers is None:
            return list(conditions)
        return [one for one, holds in zip(conditions, answers, strict=True) if not holds]

    def mended(
        self,
        row: dict[str, str | None],
        broken: Sequence[_Condition],
        conditions: Sequence[_Condition],
        choices: Mapping[str, Sequence[str | None]],
    ) -> tuple[dict[str, str | None], list[_Condition]] | None:
        """The row with other values, so that it breaks fewer conditions."""
        columns = [name for name in broken[0].columns if name in choices]
        combinations = itertools.product(*(choices[name] for name in columns))
        for values in itertools.islice(combinations, _TRIALS):
            trial = row | dict(zip(columns, values, strict=True))
            left = self.broken(trial, conditions)
            if len(left) < len(broken):
                return trial, left
        return None

    def _offered(self, one: ColumnFacts) -> Iterator[str]:
        is_text = _is_text(one)
        looked_up = self._facts.lookups_of(one.name)
        if looked_up:
            yield from looked_up[0][1]
            return
        is_key = any(one.name in unique.columns for unique in self._facts.uniques)
        if one.allowed:
            yield from one.allowed
        elif one.rules:
            existing = self._existing(one)
            if is_text and existing:
                yield from (disguised(existing, self._dice) for _ in range(_DISGUISES))
            yield from self._made_up(one, is_text, is_key)
            if existing:
                yield existing
        else:
            yield from self._made_up(one, is_text, is_key)

    def _made_up(self, one: ColumnFacts, is_text: bool, is_key: bool) -> Iterator[str]:
        base = _base(one)
        if base in ("int2", "int4", "int8", "oid") and is_key:
            yield from self._next_numbers(one)
        if base == "uuid":
            for _ in range(_FRESH):
                yield str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        elif is_text:
            yield from self._texts(one, is_key)
        elif base.endswith("[]"):
            yield "{}"
        elif base in ("bit", "varbit"):
            length = length_of(one.column.type)
            yield "0" * (length or 1)
        elif base.endswith("multirange"):
            yield "{}"
        elif base.endswith("range"):
            yield "empty"
        else:
            yield from MADE_UP.get(base, ANYTHING)

    def _texts(self, one: ColumnFacts, is_key: bool) -> Iterator[str]:
        length = length_of(one.column.type)
        for _ in range(_FRESH):
            tail = f"{self._dice.getrandbits(24):06x}"
            text = f"example-{tail}" if is_key else "example"
            # What is unique about it is at its end.
            yield text if length is None else (text[-length:] if is_key else text[:length])

    def _next_numbers(self, one: ColumnFacts) -> Iterator[str]:
        name = sql.Identifier(one.name)
        statement = sql.SQL("SELECT coalesce(max(t.{}), 0)::bigint AS n FROM {} AS t")
        found = self._connection.execute(
            statement.format(name, self._facts.table.identifier)
        ).fetchone()
        assert found is not None
        yield from (str(max(found["n"], 0) + step) for step in range(1, _FRESH + 1))

    def _existing(self, one: ColumnFacts) -> str | None:
        name = sql.Identifier(one.name)
        statement = sql.SQL(
            "SELECT pg_catalog.format('%s', t.{0}) AS v FROM {1} AS t WHERE t.{0} IS NOT NULL"
            " LIMIT 1"
        )
        found = self._connection.execute(
            statement.format(name, self._facts.table.identifier)
        ).fetchone()
        return None if found is None else found["v"]

    def _fitted(self, one: ColumnFacts, value: str) -> str | None:
        """The value, cut where its type is shorter; None where the type refuses it."""
        statement = sql.SQL("SELECT pg_catalog.format('%s', {}) AS v").format(_typed(one, value))
        try:
            with self._connection.transaction():
                found = self._connection.execute(statement).fetchone()
        except psycopg.Error:
            return None
        assert found is not None
        # A cast cuts, without a word, what COPY would refuse: a domain does not tell its length.
        is_cut = _is_text(one) and len(found["v"]) < len(value)
        return found["v"] if is_cut else value

    def _ask(self, row: Row, conditions: Sequence[_Condition]) -> list[bool] | None:
        """Whether each condition holds for a row; None when that cannot be evaluated."""
        if not conditions:
            return []
        values = [
            sql.SQL("{} AS {}").format(_typed(one, row[one.name]), sql.Identifier(one.name))
            for one in self._facts.columns
        ]
        statement = sql.SQL("SELECT ARRAY[{}]::bool[] AS held FROM (SELECT {}) AS n").format(
            sql.SQL(", ").join(one.sql for one in conditions), sql.SQL(", ").join(values)
        )
        try:
            with self._connection.transaction():
                found = self._connection.execute(statement).fetchone()
        except psycopg.Error:
            return None
        assert found is not None
        return list(found["held"])


def _is_text(one: ColumnFacts) -> bool:
    return _base(one) in TEXTS


def _base(one: ColumnFacts) -> str:
    # An extension's types are in whatever schema it was put into.
    return one.column.base_type.rpartition(".")[2]


def _typed(one: ColumnFacts, value: str | None) -> sql.Composed:
    """A value as its type; the type's name is PostgreSQL's own, quoted where it must be."""
    return sql.SQL("{}::{}").format(sql.Literal(value), _as_sql(one.column.type))


def _conditions(facts: TableFacts) -> Iterator[_Condition]:
    for check in facts.checks:
        test = _as_sql(check.expression)
        yield _Condition(
            check.columns,
            sql.SQL("coalesce(({})::bool, true)").format(test),
            f"no values were found for {check.definition}",
        )
    for unique in facts.uniques:
        same = sql.SQL(" AND ").join(_same("e", name, name) for name in unique.columns)
        here = _as_sql(unique.predicate or "true")
        yield _Condition(
            unique.columns,
            sql.SQL(
                "(({0}) IS NOT TRUE OR NOT EXISTS (SELECT FROM {1} AS e WHERE ({0}) AND {2}))"
            ).format(here, facts.table.identifier, same),
            f"every value that was found for {', '.join(unique.columns)} is taken, and must not be "
            "there twice",
        )
    for lookup in facts.lookups:
        # Without rows to look at, there is nothing to compare with.
        if lookup.existing:
            pairs = list(zip(lookup.referenced_columns, lookup.columns, strict=True))
            schema, _, name = lookup.references.partition(".")
            yield _Condition(
                lookup.columns,
                sql.SQL("({0} OR EXISTS (SELECT FROM {1} AS p WHERE {2}))").format(
                    sql.SQL(" OR ").join(
                        sql.SQL("n.{} IS NULL").format(sql.Identifier(ours)) for _, ours in pairs
                    ),
                    sql.Identifier(schema, name),
                    sql.SQL(" AND ").join(_same("p", theirs, ours) for theirs, ours in pairs),
                ),
                f"no value was found for {', '.join(lookup.columns)} in {lookup.references}",
            )


def _same(alias: str, theirs: str, ours: str) -> sql.Composed:
    return sql.SQL("{} = n.{}").format(sql.Identifier(alias, theirs), sql.Identifier(ours))


def _as_sql(text: str) -> sql.Composable:
    """An expression that PostgreSQL has printed from its catalog."""
    return sql.SQL("{}").format(_Verbatim(text))


class _Verbatim(sql.Composable):
    """SQL that the server wrote itself."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def as_bytes(self, context: object = None) -> bytes:
        """The text as it is."""
        return self._text.encode()
