"""Values of a file as the types of their columns, by PostgreSQL's own input functions.

A value becomes the one field of a composite type and is read back: so the column's input function
gets it, with the column's type modifier and its domains, in a query and exactly as in COPY. A cast
would cut a text to its length and ask cast functions, of which some types have their own.

All columns are read in one query. Where that fails, column by column, and the values of those that
fail one by one in a function that catches what each raises. PostgreSQL 16 can say quickly which
values those are, but not of every type: some raise all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from backup_pipelines.csv.catalog import ColumnFacts
from backup_pipelines.csv.check_forms import forms_of, is_without_zone
from backup_pipelines.csv.check_reasons import refused, required
from backup_pipelines.csv.check_stage import Rule, Stage, listed, printed
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.wording import count

# The first server that can say whether a value is one of a type.
_SOFT_ERRORS = 160_000

# Any text is a value of these, and stored as it is.
_AS_THEY_ARE = ("text", "character varying")


class Readers:
    """The composite types by which values are read, one for each type of a column."""

    def __init__(self, connection: Connection) -> None:
        """None is made yet."""
        self._connection = connection
        self._made: dict[str, sql.Identifier] = {}

    def read(self, one: ColumnFacts, text: sql.Composable) -> sql.Composed:
        """The expression of a text as a column's type; NULL stays NULL."""
        if one.column.type in _AS_THEY_ARE:
            return sql.SQL("{}").format(text)
        return sql.SQL("({}::{}).v").format(_row(text), self.type_of(one))

    def is_taken(self, one: ColumnFacts, text: sql.Composable) -> sql.Composed:
        """The condition that a text is one of a column's type, on PostgreSQL 16 and newer."""
        name = self.type_of(one).as_string(self._connection)
        return sql.SQL("pg_catalog.pg_input_is_valid({}, {})").format(_row(text), name)

    def type_of(self, one: ColumnFacts) -> sql.Identifier:
        """The composite type of a column's type."""
        type_ = one.column.type
        if type_ not in self._made:
            name = sql.Identifier("pg_temp", f"csv_value_{len(self._made)}")
            self._connection.execute(
                sql.SQL("CREATE TYPE {} AS (v {})").format(name, printed(type_))
            )
            self._made[type_] = name
        return self._made[type_]


def _row(text: sql.Composable) -> sql.Composed:
    """The text of a row of one field."""
    for char, doubled in (("\\", "\\\\"), ('"', '""')):
        text = sql.SQL("pg_catalog.replace({}, {}, {})").format(
            text, sql.Literal(char), sql.Literal(doubled)
        )
    return sql.SQL("""(('("' || {}) || '")')""").format(text)


def read_values(stage: Stage, readers: Readers) -> None:
    """Fill the typed rows, and note every value that its column does not take."""
    texts = [sql.Identifier("t", f"c{place}") for place in range(len(stage.columns))]
    typed = [readers.read(one, text) for one, text in zip(stage.columns, texts, strict=True)]
    if not _is_done(stage.connection, _filling(stage, typed)):
        for place, one in enumerate(stage.columns):
            asked = sql.SQL("SELECT count({}) FROM {} AS t").format(
                typed[place], stage.name("texts")
            )
            if not _is_done(stage.connection, asked):
                _read_one_by_one(stage, readers, place)
                sound = stage.is_sound(sql.SQL("t.line"), [one.name])
                typed[place] = readers.read(
                    one, sql.SQL("CASE WHEN {} THEN {} END").format(sound, texts[place])
                )
        stage.connection.execute(_filling(stage, typed))
    stage.analyze("rows")
    _ask_forms(stage)
    _count_without_zone(stage)


def _filling(stage: Stage, typed: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL("INSERT INTO {} SELECT t.line, {} FROM {} AS t").format(
        stage.name("rows"), listed(typed), stage.name("texts")
    )


def _is_done(connection: Connection, statement: sql.Composed) -> bool:
    """Whether all values were read."""
    try:
        with connection.transaction():
            connection.execute(statement)
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return False
    return True


def _read_one_by_one(stage: Stage, readers: Readers, place: int) -> None:
    one = stage.columns[place]
    name = sql.Identifier("pg_temp", f"csv_refusal_{stage.number}_{place}")
    body = sql.SQL(
        "DECLARE state text; message text; detail text; broken text; is_null bool;"
        " BEGIN is_null := {} IS NULL; RETURN NULL;"
        " EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,"
        " message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;"
        " RETURN ARRAY[state, message, detail, broken]; END"
    ).format(readers.read(one, sql.SQL("given")))
    stage.connection.execute(
        sql.SQL(
            "CREATE FUNCTION {} (given pg_catalog.text) RETURNS pg_catalog.text[]"
            " LANGUAGE plpgsql AS {}"
        ).format(name, sql.Literal(body.as_string(stage.connection)))
    )
    text = sql.Identifier("t", f"c{place}")
    rule = Rule((place,), refused(one, stage.asked.reading.null), voids=True)
    rows = sql.SQL(
        "SELECT v.line, v.said FROM (SELECT t.line, {}({}) AS said FROM {} AS t WHERE {}"
        " OFFSET 0) AS v WHERE v.said IS NOT NULL"
    )
    some = sql.SQL("NOT {}").format(readers.is_taken(one, text))
    if stage.connection.info.server_version >= _SOFT_ERRORS and not stage.refusal(
        rule, rows.format(name, text, stage.name("texts"), some)
    ):
        return
    every = sql.SQL("{} IS NOT NULL").format(text)
    stage.note(rule, rows.format(name, text, stage.name("texts"), every))


@dataclass(frozen=True)
class _Asked:
    """One rule about single values, and the condition that breaks it."""

    rule: Rule
    broken: sql.Composable


def _ask_forms(stage: Stage) -> None:
    """Note, in one pass, values that are read and yet are not what was written, or missing."""
    asked: list[_Asked] = []
    for place, one in enumerate(stage.columns):
        text, value = sql.Identifier("t", f"c{place}"), sql.Identifier("s", f"v{place}")
        if not one.nullable and one.name not in stage.key:
            rule = Rule((place,), required(one), voids=True)
            asked.append(_Asked(rule, sql.SQL("{} IS NULL").format(text)))
        hint = stage.accept_hint(one.name)
        for form in forms_of(one, text, value, hint, is_accepted=stage.accepts(one.name)):
            # A condition may cast the text, which only those that were read can bear.
            broken = sql.SQL("CASE WHEN {} IS NOT NULL THEN {} ELSE false END").format(
                value, form.broken
            )
            asked.append(_Asked(Rule((place,), form.explain), broken))
    if not asked:
        return
    first = len(stage.rules)
    numbered = [
        sql.SQL("({}, {})").format(sql.Literal(first + number), one.broken)
        for number, one in enumerate(asked)
    ]
    rows = sql.SQL(
        "SELECT t.line, NULL::pg_catalog.text[] AS said, w.rule FROM {} AS t JOIN {} AS s ON s.line"
        " = t.line CROSS JOIN LATERAL (VALUES {}) AS w (rule, broken) WHERE ({}) AND w.broken"
    ).format(
        stage.name("texts"),
        stage.name("rows"),
        listed(numbered),
        listed((one.broken for one in asked), " OR "),
    )
    stage.note_many([one.rule for one in asked], rows, sql.SQL("x.rule"))


def _count_without_zone(stage: Stage) -> None:
    """Warn of moments that do not say their time zone."""
    asked: list[sql.Composable] = []
    for place, one in enumerate(stage.columns):
        text, value = sql.Identifier("t", f"c{place}"), sql.Identifier("s", f"v{place}")
        if (condition := is_without_zone(one, text, value)) is not None:
            asked.append(
                sql.SQL("count(*) FILTER (WHERE {} IS NOT NULL AND {}) AS {}").format(
                    value, condition, sql.Identifier(one.name)
                )
            )
    if not asked:
        return
    found: Mapping[str, Any] | None = stage.connection.execute(
        sql.SQL("SELECT {} FROM {} AS t JOIN {} AS s ON s.line = t.line").format(
            listed(asked), stage.name("texts"), stage.name("rows")
        )
    ).fetchone()
    assert found is not None
    for name, number in found.items():
        if number:
            stage.warnings.append(
                f"{count(number, 'value')} of {stage.header(name)} without a time zone: taken as"
                " UTC"
            )
