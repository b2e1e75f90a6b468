"""The rows of one file inside PostgreSQL while they are validated, and what was found wrong.

All of it is temporary: the texts as the file has them, the same rows typed as the live table's,
the live rows that they match, and one row for each thing that is wrong. A refused value is NULL in
the typed rows, and no rule that would need it is asked: so a row is told all that is wrong with it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString, cast

import psycopg
from psycopg import sql

from backup_pipelines.csv.catalog import ColumnFacts
from backup_pipelines.csv.incoming import LINE, AskedImport, Incoming
from backup_pipelines.csv.problems import Kind
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.writer import copy_batches, stored_batches
from backup_pipelines.storage.store import Store

Texts = Sequence[str | None]

Explain = Callable[[Texts, Texts], tuple[Kind, str]]
"""Makes the kind and the reason of the values of a rule's columns, and of what its query said."""

Known = Literal["all", "matched", "none"]

NOTHING = sql.SQL("NULL::pg_catalog.text[]")
"""What a query says where the values alone tell it."""


QUOTE = '"'

# No table's name, which the rows around are called by.
_FOUND = sql.Identifier("what was found")


@dataclass(frozen=True)
class Rule:
    """Something that rows can break."""

    columns: tuple[int, ...]
    """The columns that it is about, by their places in the file."""
    explain: Explain
    voids: bool = False
    """Whether no other rule can be asked about a value that breaks it."""
    named: str = ""
    """What to call its column where the file does not have it."""


def printed(text: str) -> sql.SQL:
    """SQL that PostgreSQL has printed from its catalog; never given to `format` as a template."""
    return sql.SQL(cast(LiteralString, text))


def listed(items: Iterable[sql.Composable], by: LiteralString = ", ") -> sql.Composed:
    """The items, with something between them."""
    return sql.SQL(by).join(items)


class Stage:
    """One file's rows in the caller's transaction."""

    def __init__(
        self, connection: Connection, number: int, incoming: Incoming, asked: AskedImport
    ) -> None:
        """Nothing is staged yet."""
        self.connection = connection
        self.number = number
        self.incoming = incoming
        self.asked = asked
        self.facts = incoming.facts
        self.live = incoming.facts.table
        by_name = {one.name: one for one in self.facts.columns}
        self.columns: tuple[ColumnFacts, ...] = tuple(by_name[name] for name in incoming.columns)
        self.place = {name: place for place, name in enumerate(incoming.columns)}
        self.by_name = by_name
        self.is_upsert = asked.mode == "upsert"
        self._computed_from = {
            column.name: sorted(self.mentioned(column.default))
            for column in self.live.columns
            if column.generated and column.default
        }
        self.key: tuple[str, ...] = ()
        """What rows are matched by; nothing where none are."""
        self.rules: list[Rule] = []
        self.broken: list[int] = []
        """How often each rule is broken."""
        self.warnings: list[str] = []
        taken = {column.name for column in self.live.columns}
        name = "line"
        while name in taken:
            name += "_"
        self.line = sql.Identifier(self.live.name, name)
        self._line = sql.Identifier(name)

    def name(self, what: str) -> sql.Identifier:
        """One of the temporary tables: texts, rows, match, found."""
        return sql.Identifier("pg_temp", f"csv_{what}_{self.number}")

    @property
    def alias(self) -> sql.Identifier:
        """What rows as they would become, and live ones, are called: a CHECK may say its table."""
        return sql.Identifier(self.live.name)

    def load(self, store: Store) -> None:
        """Make the tables, and copy the file's texts into theirs."""
        texts = ["line", *(f"c{place}" for place in range(len(self.columns)))]
        typed = [
            sql.SQL("t.{} AS {}").format(sql.Identifier(one.name), sql.Identifier(f"v{place}"))
            for place, one in enumerate(self.columns)
        ]
        self._create("texts", listed(self._text_columns(texts[1:])))
        self._create("match", sql.SQL("line bigint, live pg_catalog.tid"))
        self._create("found", sql.SQL("line bigint, rule int, said pg_catalog.text[]"))
        self.connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT 0::bigint AS line, {}"
                " FROM ONLY {} AS t WITH NO DATA"
            ).format(sql.Identifier(f"csv_rows_{self.number}"), listed(typed), self.live.identifier)
        )
        batches = stored_batches(store, self.incoming.table, [LINE, *self.incoming.columns])
        copy_batches(self.connection, self.name("texts"), texts, batches)
        self.analyze("texts")

    def _text_columns(self, names: Iterable[str]) -> list[sql.Composable]:
        text = sql.SQL('{} pg_catalog.text COLLATE pg_catalog."C"')
        return [sql.SQL("line bigint"), *(text.format(sql.Identifier(name)) for name in names)]

    def _create(self, what: str, columns: sql.Composable) -> None:
        self.connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(
                sql.Identifier(f"csv_{what}_{self.number}"), columns
            )
        )

    def analyze(self, what: str) -> None:
        """Let the planner know how many rows a temporary table has."""
        self.connection.execute(sql.SQL("ANALYZE {}").format(self.name(what)))

    def note(self, rule: Rule, rows: sql.Composable) -> int:
        """Note the lines of a query (line, said) as breaking a rule; gives how many."""
        return self.note_many([rule], rows, sql.Literal(len(self.rules)))

    def note_many(self, rules: Sequence[Rule], rows: sql.Composable, rule: sql.Composable) -> int:
        """Note the lines of a query as breaking rules; `rule` says which, counted from `first`."""
        first = len(self.rules)
        self.rules += rules
        self.broken += [0] * len(rules)
        counted = self.connection.execute(
            sql.SQL(
                "WITH noted AS (INSERT INTO {} SELECT x.line, {}, x.said"
                " FROM ({}) AS x (line, said) RETURNING rule)"
                " SELECT rule, count(*) AS lines FROM noted GROUP BY rule"
            ).format(self.name("found"), rule, rows)
        ).fetchall()
        for row in counted:
            self.broken[row["rule"]] = row["lines"]
        return sum(self.broken[first:])

    def attempt(self, rule: Rule, rows: sql.Composable, what: str) -> bool:
        """`note` for a query that the database may refuse: it warns then, and says False."""
        why = self.refusal(rule, rows)
        if why:
            self.warn_unchecked(what, why)
        return not why

    def refusal(self, rule: Rule, rows: sql.Composable) -> str:
        """`note`, and why the database refused the query; empty where it did not."""
        before = len(self.rules)
        try:
            with self.connection.transaction():
                self.note(rule, rows)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            # What the query had noted is gone with it.
            del self.rules[before:], self.broken[before:]
            return " ".join(str(error).split())
        return ""

    def warn_unchecked(self, what: str, why: str) -> None:
        """Warn of a rule that only the write itself will enforce."""
        self.warnings.append(f"{what} was not checked before the write, which enforces it: {why}")

    def header(self, column: str) -> str:
        """What the file calls a column."""
        return self.incoming.headers.get(column, column)

    def places(self, columns: Iterable[str]) -> tuple[int, ...]:
        """The places of those of the columns that the file has, or that they are computed from."""
        return tuple(self.place[name] for name in self._behind(columns) if name in self.place)

    def is_sound(self, line: sql.Composable, columns: Iterable[str]) -> sql.Composed:
        """The condition that no value of the columns was refused in a line."""
        about = set(self.places(columns))
        ids = [
            number
            for number, rule in enumerate(self.rules)
            if rule.voids and self.broken[number] and about & set(rule.columns)
        ]
        if not ids:
            return sql.SQL("{}").format(sql.SQL("true"))
        return sql.SQL(
            "NOT EXISTS (SELECT FROM {0} AS {1} WHERE {1}.line = {2} AND {1}.rule IN ({3}))"
        ).format(self.name("found"), _FOUND, line, listed(map(sql.Literal, ids)))

    def refused(self, columns: Iterable[str]) -> int:
        """How many values of the columns no other rule is asked about."""
        about = set(self.places(columns))
        pairs = zip(self.rules, self.broken, strict=True)
        return sum(lines for rule, lines in pairs if rule.voids and about & set(rule.columns))

    def is_askable(self, line: sql.Composable, columns: Iterable[str]) -> sql.Composed:
        """`is_sound`, and that it is known whose row it is where the file lacks a column."""
        wanted = set(columns)
        if wanted <= set(self.place) or not self.is_upsert:
            return self.is_sound(line, wanted)
        return self.is_meant(line, wanted)

    def is_meant(self, line: sql.Composable, columns: Iterable[str]) -> sql.Composed:
        """`is_sound`, and that the key tells which live row is meant, or that there is none."""
        if not set(self.key) <= set(self.place):
            return sql.SQL("{}").format(sql.SQL("false"))
        return self.is_sound(line, {*columns, *self.key})

    def accepts(self, column: str) -> bool:
        """Whether somebody said that a column's values are meant as they are."""
        names = {f"{self.live.qualified}.{column}"}
        if self.live.schema == "public":
            names.add(f"{self.live.name}.{column}")
        return bool(names & self.asked.accepted)

    def accept_hint(self, column: str) -> str:
        """How to say so."""
        shown = self.live.name if self.live.schema == "public" else self.live.qualified
        return f"if it is meant, say --accept {shown}.{column}"

    def mentioned(self, expression: str) -> set[str]:
        """The columns that an expression of the catalog may be about."""
        return {
            column.name
            for column in self.live.columns
            if re.search(
                rf"(?<!\w){re.escape(column.name.replace(QUOTE, QUOTE * 2))}(?!\w)", expression
            )
        }

    def known(self, columns: Iterable[str]) -> Known:
        """For which rows the values of columns are known: those of a sequence are not."""
        unknown = [
            name
            for name in self._behind(columns)
            if name not in self.place and self.by_name[name].default_sql is None
        ]
        if not unknown:
            return "all"
        return "matched" if self.is_upsert else "none"

    def _behind(self, columns: Iterable[str]) -> list[str]:
        """The columns, in place of generated ones those that they are computed from."""
        found: dict[str, None] = {}
        for name in columns:
            found |= dict.fromkeys(self._computed_from.get(name, (name,)))
        return list(found)

    def merged(self, columns: Iterable[str], known: Known = "all") -> sql.Composed:
        """The rows as they would become, to select from: what the file lacks is the live row's or
        the default. Their line is `self.line`."""
        wanted = set(columns)
        computed = [c for c in self.live.columns if c.generated and c.name in wanted]
        base = [one for one in self.facts.columns if computed or one.name in wanted]
        is_joined = known == "matched" or (
            self.is_upsert and any(one.name not in self.place for one in base)
        )
        rows = sql.SQL("(SELECT {} FROM {} AS s{}) AS {}").format(
            listed(
                [
                    sql.SQL("s.line AS {}").format(self._line),
                    *(
                        sql.SQL("{} AS {}").format(
                            self._value(one, is_joined), sql.Identifier(one.name)
                        )
                        for one in base
                    ),
                ]
            ),
            self.name("rows"),
            self._joined(known) if is_joined else sql.SQL(""),
            self.alias,
        )
        if not computed:
            return rows
        more = [
            sql.SQL("({}) AS {}").format(printed(c.default or "NULL"), sql.Identifier(c.name))
            for c in computed
        ]
        return sql.SQL("(SELECT {}.*, {} FROM {}) AS {}").format(
            self.alias, listed(more), rows, self.alias
        )

    def _joined(self, known: Known) -> sql.Composed:
        return sql.SQL(
            " {0} JOIN {1} AS m ON m.line = s.line {0} JOIN ONLY {2} AS l ON l.ctid = m.live"
        ).format(
            sql.SQL("INNER" if known == "matched" else "LEFT"),
            self.name("match"),
            self.live.identifier,
        )

    def _value(self, one: ColumnFacts, is_joined: bool) -> sql.Composed:
        if one.name in self.place:
            return sql.SQL("s.{}").format(sql.Identifier(f"v{self.place[one.name]}"))
        column = sql.Identifier(one.name)
        # A NULL of a domain that takes none can only be had as the value of a missing row.
        live = (
            sql.SQL("l.{}").format(column)
            if is_joined
            else sql.SQL("(SELECT e.{} FROM ONLY {} AS e WHERE false)").format(
                column, self.live.identifier
            )
        )
        if not one.default_sql:
            return sql.SQL("{}").format(live)
        default = sql.SQL("({})").format(printed(one.default_sql))
        if not is_joined:
            return default
        return sql.SQL("CASE WHEN m.live IS NULL THEN {} ELSE {} END").format(default, live)
