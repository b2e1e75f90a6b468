"""What must not be there twice: within the file, and beside the live rows that stay.

Every unique index is asked with its own keys, condition, collations and operators, over the rows as
they would become. A live row that the file changes counts as the file has it.
"""

import itertools
from collections.abc import Iterator, Sequence

from psycopg import sql

from backup_pipelines.csv.catalog import Unique
from backup_pipelines.csv.check_stage import Explain, Rule, Stage, Texts, listed, printed
from backup_pipelines.csv.problems import Kind
from backup_pipelines.wording import count

# How many of the lines of equal rows are named.
_NAMED = 4

# An index that takes NULLs for equal is asked once for each way that its keys can be NULL.
_MOST_NULLABLE = 5


def check_uniques(stage: Stage) -> None:
    """Note the rows that would be there twice."""
    for unique in stage.facts.uniques:
        columns = _needed(stage, unique)
        known = stage.known(columns)
        if not stage.places(columns if known == "all" else unique.columns) and (
            known != "all" or stage.is_upsert
        ):
            # The database makes all of it, one after the other, or it stays as it is.
            continue
        what = f"the index {unique.name}"
        if unique.is_exclusion or any(None in key.operator for key in unique.keys):
            stage.warn_unchecked(what, "it compares otherwise than for equality")
        elif known != "all":
            stage.warn_unchecked(what, "it needs a value that the database makes")
        elif unique.nulls_not_distinct and len(unique.keys) > _MOST_NULLABLE:
            stage.warn_unchecked(what, "it takes NULLs for equal in too many columns")
        else:
            places = stage.places(unique.columns)
            rule = Rule(places, _twice(unique))
            if stage.attempt(rule, _twice_in_file(stage, unique), what):
                rule = Rule(places, _exists(stage, unique))
                stage.attempt(rule, _beside_live(stage, unique), what)


def _keys(unique: Unique) -> Iterator[sql.Composed]:
    for number, key in enumerate(unique.keys):
        collated = f"({key.expression})" + (f" COLLATE {key.collation}" if key.collation else "")
        yield sql.SQL("{} AS {}").format(printed(collated), sql.Identifier(f"k{number}"))


def _rows(stage: Stage, unique: Unique, sound: sql.Composable) -> sql.Composed:
    """Line and keys of the file's rows that the index is of."""
    return sql.SQL("SELECT {} AS line, {} FROM {} WHERE ({}) AND {}").format(
        stage.line,
        listed(_keys(unique)),
        stage.merged(_needed(stage, unique)),
        printed(unique.predicate or "true"),
        sound,
    )


def _needed(stage: Stage, unique: Unique) -> set[str]:
    # The columns of a condition alone are not among those of the index.
    return set(unique.columns) | stage.mentioned(unique.predicate or "")


def _without_nulls(alias: sql.Composable, unique: Unique) -> sql.Composable:
    if unique.nulls_not_distinct:
        return sql.SQL("true")
    return listed(
        (
            sql.SQL("{}.{} IS NOT NULL").format(alias, sql.Identifier(f"k{number}"))
            for number in range(len(unique.keys))
        ),
        " AND ",
    )


def _twice_in_file(stage: Stage, unique: Unique) -> sql.Composed:
    keys = listed(sql.Identifier("r", f"k{number}") for number in range(len(unique.keys)))
    named = listed(
        sql.SQL("(pg_catalog.nth_value(r.line, {}) OVER same)::pg_catalog.text").format(
            sql.Literal(place)
        )
        for place in range(1, _NAMED + 1)
    )
    sound = stage.is_sound(stage.line, _needed(stage, unique))
    return sql.SQL(
        "SELECT w.line, ARRAY[w.lines::pg_catalog.text] || w.named FROM (SELECT r.line,"
        " count(*) OVER same AS lines, ARRAY[{}] AS named FROM ({}) AS r WHERE {}"
        " WINDOW same AS (PARTITION BY {} ORDER BY r.line"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) AS w WHERE w.lines > 1"
    ).format(named, _rows(stage, unique, sound), _without_nulls(sql.SQL("r"), unique), keys)


def _beside_live(stage: Stage, unique: Unique) -> sql.Composed:
    primary = [
        sql.SQL("pg_catalog.format('%s', {})").format(sql.Identifier(stage.live.name, name))
        for name in stage.live.primary_key
    ]
    live = sql.SQL("SELECT {}.ctid AS live, ARRAY[{}]::pg_catalog.text[] AS said, {} FROM ONLY {}"
        " AS {} WHERE ({})").format(
        stage.alias,
        listed(primary),
        listed(_keys(unique)),
        stage.live.identifier,
        stage.alias,
        printed(unique.predicate or "true"),
    )  # fmt: skip
    stays = sql.SQL("true")
    if stage.is_upsert:
        stays = sql.SQL("NOT EXISTS (SELECT FROM {} AS m WHERE m.live = e.live)").format(
            stage.name("match")
        )
    rows = _rows(stage, unique, stage.is_meant(stage.line, _needed(stage, unique)))
    return listed(
        (
            sql.SQL("SELECT r.line, e.said FROM ({}) AS r JOIN ({}) AS e ON {} WHERE {}").format(
                rows, live, same, stays
            )
            for same in _sames(unique)
        ),
        " UNION ALL ",
    )


def _sames(unique: Unique) -> Iterator[sql.Composed]:
    """Conditions, one of which holds for equal keys: each can be joined by."""
    equal = [
        sql.SQL("r.{0} OPERATOR({1}.{2}) e.{0}").format(
            sql.Identifier(f"k{number}"),
            sql.Identifier(key.operator[0] or ""),
            printed(key.operator[1] or ""),
        )
        for number, key in enumerate(unique.keys)
    ]
    if not unique.nulls_not_distinct:
        yield listed(equal, " AND ")
        return
    null = [
        sql.SQL("(r.{0} IS NULL AND e.{0} IS NULL)").format(sql.Identifier(f"k{number}"))
        for number in range(len(unique.keys))
    ]
    for chosen in itertools.product(*zip(equal, null, strict=True)):
        yield listed(chosen, " AND ")


def _twice(unique: Unique) -> Explain:
    what = _named(unique)

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        del values
        lines = [text for text in said[1:] if text]
        more = int(said[0] or 0) - len(lines)
        named = ", ".join(lines) + (f" and {count(more, 'more line')}" if more else "")
        return "twice in the file", f"{what} must not be there twice: lines {named}"

    return explained


def _exists(stage: Stage, unique: Unique) -> Explain:
    primary: Sequence[str] = stage.live.primary_key
    what = _named(unique)
    offered = unique.is_primary and not stage.is_upsert

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        shown = ", ".join(f"{name} {value}" for name, value in zip(primary, said, strict=True))
        if offered:
            return "exists already", f"a row with {shown} is there: mode upsert would change it"
        row = f"the row with {shown}" if primary else "a row"
        del values
        return "exists already", f"{row} has this {what} already"

    return explained


def _named(unique: Unique) -> str:
    if unique.has_expressions:
        shown = ", ".join(key.expression for key in unique.keys)
    else:
        shown = ", ".join(unique.columns)
    return shown + (f" (where {unique.predicate})" if unique.predicate else "")
