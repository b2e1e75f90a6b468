"""The CHECKs of a table, over its rows as they would become, evaluated by PostgreSQL.

A domain's CHECKs are its input function's.
"""

from collections.abc import Iterator

from psycopg import sql

from backup_pipelines.csv.catalog import Check, in_list
from backup_pipelines.csv.check_reasons import none_of
from backup_pipelines.csv.check_stage import (
    NOTHING,
    Explain,
    Known,
    Rule,
    Stage,
    Texts,
    listed,
    printed,
)
from backup_pipelines.csv.problems import Kind

_NOT_ENFORCED = " NOT ENFORCED"


def check_conditions(stage: Stage) -> None:
    """Note the rows that break a CHECK, and those that one cannot be evaluated for."""
    for check in (*stage.facts.checks, *_computing(stage)):
        if check.definition.endswith(_NOT_ENFORCED):
            continue
        known = stage.known(check.columns)
        if not stage.places(check.columns) and (known != "all" or stage.is_upsert):
            # Nothing of it is in the file's hands.
            continue
        if known != "all":
            stage.warn_unchecked(
                f"{check.definition} of new rows", "it needs a value that the database makes"
            )
        if known != "none":
            _ask(stage, check, known)


def _computing(stage: Stage) -> Iterator[Check]:
    """Generated columns as conditions: their expressions may raise, or be NULL where none may."""
    for column in stage.live.columns:
        if column.generated and column.default:
            # The latter is always true, which the planner does not know.
            nulls = 0 if column.not_null else 1
            expression = f"(pg_catalog.num_nulls({column.default}) <= {nulls})"
            columns = tuple(sorted(stage.mentioned(column.default)))
            yield Check(columns, f"the computed column {column.name}", expression)


def _ask(stage: Stage, check: Check, known: Known) -> None:
    rule = Rule(tuple(sorted(stage.places(check.columns))), _broken(stage, check))
    sound = stage.is_askable(stage.line, check.columns)
    rows = sql.SQL("SELECT {}, {} FROM {} WHERE ({}) IS FALSE AND {}").format(
        stage.line, NOTHING, stage.merged(check.columns, known), printed(check.expression), sound
    )
    if stage.refusal(rule, rows):
        # It raises for some row; what the others say is to be told all the same.
        _ask_one_by_one(stage, check, rule, known)


def _ask_one_by_one(stage: Stage, check: Check, rule: Rule, known: Known) -> None:
    columns = [c for c in stage.live.columns if c.name in check.columns]
    name = sql.Identifier("pg_temp", f"csv_check_{stage.number}_{len(stage.rules)}")
    row = listed(
        sql.SQL("{} AS {}").format(printed(f"${number}"), sql.Identifier(column.name))
        for number, column in enumerate(columns, 1)
    )
    body = sql.SQL(
        "BEGIN IF (SELECT ({}) FROM (SELECT {}) AS {}) IS FALSE THEN RETURN ARRAY[NULL]; END IF;"
        " RETURN NULL; EXCEPTION WHEN OTHERS THEN RETURN ARRAY[SQLERRM]; END"
    ).format(printed(check.expression), row, stage.alias)
    make = sql.SQL(
        # Another rule of these types may have made it, and been taken back.
        "CREATE OR REPLACE FUNCTION {} ({}) RETURNS pg_catalog.text[] LANGUAGE plpgsql AS {}"
    ).format(
        name,
        listed(printed(column.type) for column in columns),
        sql.Literal(body.as_string(stage.connection)),
    )
    values = listed(
        sql.SQL("{}.{}").format(stage.alias, sql.Identifier(column.name)) for column in columns
    )
    rows = sql.SQL(
        "SELECT v.line, v.said FROM (SELECT {} AS line, {}({}) AS said FROM {} WHERE {} OFFSET 0)"
        " AS v WHERE v.said IS NOT NULL"
    ).format(
        stage.line,
        name,
        values,
        stage.merged(check.columns, known),
        stage.is_askable(stage.line, check.columns),
    )
    stage.connection.execute(make)
    stage.attempt(rule, rows, check.definition)


def _broken(stage: Stage, check: Check) -> Explain:
    # What a column is computed from is no value of the list.
    values = in_list(check.definition) if set(check.columns) <= set(stage.place) else ()

    def explained(given: Texts, said: Texts) -> tuple[Kind, str]:
        if said and said[0]:
            return "check", f"{check.definition} cannot be evaluated: {said[0]}"
        if values and len(given) == 1:
            return "not allowed", none_of(given[0] or "", values)
        return "check", f"{check.definition} does not hold"

    return explained
