"""Rows that a foreign key leads to: live ones that stay, and those of the same import.

In which order the files come does not matter, nor do a file's rows that refer to each other.
"""

from collections.abc import Mapping, Sequence

from psycopg import sql

from backup_pipelines.csv.check_stage import (
    NOTHING,
    Explain,
    Known,
    Rule,
    Stage,
    Texts,
    listed,
)
from backup_pipelines.csv.made_up import TEXTS
from backup_pipelines.csv.problems import Kind
from backup_pipelines.postgres.guards import LiveForeignKey
from backup_pipelines.wording import count

# A longer value is only in its own column.
_SHOWN = 60

_NOT_ENFORCED = " NOT ENFORCED"


def check_parents(stages: Sequence[Stage], keys: Sequence[LiveForeignKey]) -> None:
    """Note the rows of all files whose parents are nowhere."""
    by_oid = {stage.live.oid: stage for stage in stages}
    for key in keys:
        stage = by_oid.get(key.table_oid)
        if stage is None or key.definition.endswith(_NOT_ENFORCED):
            continue
        known = stage.known(key.columns)
        what = f"the foreign key {key.name} to {key.references}"
        if not stage.places(key.columns):
            # A live row's are as they were, and a default is the table's own.
            continue
        if known != "all":
            stage.warn_unchecked(what, "it needs a value that the database makes")
        elif not key.may_read_referenced:
            stage.warn_unchecked(what, "that table may not be read")
        else:
            _check(stage, key, by_oid, what)


def _check(stage: Stage, key: LiveForeignKey, by_oid: Mapping[int, Stage], what: str) -> None:
    places = stage.places(key.columns)
    parent = by_oid.get(key.references_oid)
    child = stage.merged(key.columns)
    sound = stage.is_askable(stage.line, key.columns)
    values = [sql.Identifier(stage.live.name, name) for name in key.columns]
    given = listed((sql.SQL("{} IS NOT NULL").format(value) for value in values), " AND ")
    is_full = " MATCH FULL" in key.definition
    if is_full:
        some = listed((sql.SQL("{} IS NOT NULL").format(value) for value in values), " OR ")
        stage.note(
            Rule(places, _partly_null),
            sql.SQL("SELECT {}, {} FROM {} WHERE ({}) AND NOT ({}) AND {}").format(
                stage.line, NOTHING, child, some, given, sound
            ),
        )
    columns = listed(sql.SQL("{}.{}").format(stage.alias, sql.Identifier(c)) for c in key.columns)
    rows = sql.SQL("SELECT {} AS {}, {} FROM {} WHERE {} AND {}").format(
        stage.line, _LINE, columns, child, given, sound
    )
    missing = sql.SQL("SELECT c.* FROM ({}) AS c WHERE NOT EXISTS (SELECT FROM {} AS p WHERE {})")
    missing = missing.format(rows, _live(key, parent), key.matches("p", "c"))
    if parent is not None:
        missing += sql.SQL(" AND NOT EXISTS (SELECT FROM {} WHERE {})").format(
            _named(parent, key), key.matches("p", "c")
        )
    stage.attempt(Rule(places, _missing(stage, key, parent)), _with_near(stage, key, missing), what)


_LINE = sql.Identifier("line of the row")


def _live(key: LiveForeignKey, parent: Stage | None) -> sql.Composed:
    only = sql.SQL("" if key.is_partitioned else "ONLY ")
    live = sql.SQL("{}{}").format(only, key.references_identifier)
    if parent is None or not parent.is_upsert or not parent.places(key.referenced_columns):
        return live
    return sql.SQL(
        "(SELECT q.* FROM {} AS q WHERE NOT EXISTS (SELECT FROM {} AS m WHERE m.live = q.ctid))"
    ).format(live, parent.name("match"))


def _named(parent: Stage, key: LiveForeignKey) -> sql.Composed:
    """The rows of the parent's file as they would become, called p."""
    known: Known = parent.known(key.referenced_columns)
    if known == "none":
        # The database makes their keys: nothing in a file can refer to them.
        return sql.SQL("(SELECT q.* FROM ONLY {} AS q WHERE false) AS p").format(
            parent.live.identifier
        )
    columns = listed(
        sql.SQL("{}.{}").format(parent.alias, sql.Identifier(name))
        for name in key.referenced_columns
    )
    return sql.SQL("(SELECT {} FROM {}) AS p").format(
        columns, parent.merged(key.referenced_columns, known)
    )


def _with_near(stage: Stage, key: LiveForeignKey, missing: sql.Composed) -> sql.Composed:
    """The missing rows' lines, and a parent that differs by its leading zeros alone."""
    line = sql.SQL("x.{}").format(_LINE)
    ours, theirs = key.columns[0], key.referenced_columns[0]
    column = next(c for c in stage.live.columns if c.name == ours)
    if len(key.columns) > 1 or column.base_type.rpartition(".")[2] not in TEXTS:
        return sql.SQL("SELECT {}, {} FROM ({}) AS x").format(line, NOTHING, missing)
    only = sql.SQL("" if key.is_partitioned else "ONLY ")
    text = sql.SQL('({}::pg_catalog.text COLLATE pg_catalog."C")')
    return sql.SQL(
        "SELECT {line}, ARRAY[n.near] FROM ({missing}) AS x LEFT JOIN (SELECT"
        " pg_catalog.min({there}) AS near, pg_catalog.ltrim({there}, '0') AS bare"
        " FROM {only}{parent} AS p WHERE {there} OPERATOR(pg_catalog.~) '^0+[0-9]+$' GROUP BY 2)"
        " AS n ON n.bare = pg_catalog.ltrim({given}, '0')"
        " AND {given} OPERATOR(pg_catalog.~) '^[0-9]+$'"
    ).format(
        line=line,
        missing=missing,
        there=text.format(sql.Identifier("p", theirs)),
        given=text.format(sql.Identifier("x", ours)),
        only=only,
        parent=key.references_identifier,
    )


def _missing(stage: Stage, key: LiveForeignKey, parent: Stage | None) -> Explain:
    referenced = ", ".join(key.referenced_columns)
    is_computed = not set(key.columns) <= set(stage.by_name)
    refused = parent.refused(key.referenced_columns) if parent else 0

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        shown = ", ".join(value if value is not None else "NULL" for value in values)
        if is_computed or len(shown) > _SHOWN:
            shown = "of this value"
        reason = f"{key.references} has no row with {referenced} {shown}, nor has the import"
        if said and said[0]:
            reason += f"; there is {said[0]}: were leading zeros lost?"
        if parent and refused:
            lines = count(refused, "line")
            reason += (
                f"; {lines} of {parent.incoming.file} may be it, and has a refused value there"
            )
        return "no parent", reason

    return explained


def _partly_null(values: Texts, said: Texts) -> tuple[Kind, str]:
    del values, said
    return "no parent", "either all of these must be NULL, or none (MATCH FULL)"
