"""Which live row each row of a file is meant for, in mode upsert."""

from collections.abc import Mapping

from psycopg import sql

from backup_pipelines.csv.check_stage import NOTHING, Rule, Stage, Texts, listed
from backup_pipelines.csv.incoming import AskedImport
from backup_pipelines.csv.problems import Kind
from backup_pipelines.errors import Refused
from backup_pipelines.postgres.row_keys import RowKey


def key_of(stage: Stage, asked: AskedImport, keys: Mapping[int, RowKey]) -> RowKey:
    """What the rows of a table are matched by; raises Refused where that cannot be told."""
    table = stage.live.qualified
    chosen = asked.keys.get(table)
    if key := keys.get(stage.live.oid):
        return key
    unique = [u.plain_columns for u in stage.facts.uniques if u.plain_columns]
    offered = "; ".join(", ".join(columns) for columns in unique)
    there = f"those that can be are {offered}" if offered else "no columns of it can be"
    what = "has no primary key" if chosen is None else f"has no unique index of {', '.join(chosen)}"
    raise Refused(
        f"{table} {what}, so that its rows cannot be matched ({there}): name unique columns by"
        " --key, or import in mode insert"
    )


def match(stage: Stage, key: RowKey) -> None:
    """Note which live row each row is meant for, and rows for which that cannot be."""
    if not set(key.columns) <= set(stage.place):
        # The header lacks them, which is a problem of the file.
        return
    values = [_value(stage, name) for name in key.columns]
    known = listed((sql.SQL("{} IS NOT NULL").format(value) for value in values), " AND ")
    stage.connection.execute(
        sql.SQL("INSERT INTO {} SELECT s.line, l.ctid FROM {} AS s JOIN ONLY {} AS l ON {}").format(
            stage.name("match"), stage.name("rows"), stage.live.identifier, key.equals("l", values)
        )
    )
    stage.analyze("match")
    for name, value in zip(key.columns, values, strict=True):
        stage.note(
            Rule(stage.places([name]), _no_key(key), voids=True),
            sql.SQL("SELECT s.line, {} FROM {} AS s WHERE {} IS NULL AND {}").format(
                NOTHING, stage.name("rows"), value, stage.is_sound(sql.SQL("s.line"), [name])
            ),
        )
    _refuse_other_primary_keys(stage, key)
    for one in stage.facts.columns:
        if one.required and one.name not in stage.place:
            stage.note(
                Rule((), _lacking(one.name, key), named=one.name),
                sql.SQL(
                    "SELECT s.line, {} FROM {} AS s WHERE {} AND NOT EXISTS"
                    " (SELECT FROM {} AS m WHERE m.line = s.line)"
                ).format(NOTHING, stage.name("rows"), known, stage.name("match")),
            )


def _refuse_other_primary_keys(stage: Stage, key: RowKey) -> None:
    """A row that is matched by other columns keeps its primary key, which others refer to."""
    primary = [name for name in stage.live.primary_key if name in stage.place]
    if not primary or set(key.columns) == set(stage.live.primary_key):
        return
    for name in primary:
        stage.note(
            Rule(stage.places([name]), _other_primary_key(key)),
            sql.SQL(
                "SELECT s.line, ARRAY[pg_catalog.format('%s', l.{0})] FROM {1} AS s"
                " JOIN {2} AS m ON m.line = s.line JOIN ONLY {3} AS l ON l.ctid = m.live"
                " WHERE pg_catalog.record_image_ne(ROW({4}), ROW(l.{0})) AND {5}"
            ).format(
                sql.Identifier(name),
                stage.name("rows"),
                stage.name("match"),
                stage.live.identifier,
                _value(stage, name),
                stage.is_sound(sql.SQL("s.line"), [name]),
            ),
        )


def _value(stage: Stage, name: str) -> sql.Composable:
    return sql.Identifier("s", f"v{stage.place[name]}")


def _no_key(key: RowKey) -> "_Reason":
    return _Reason("key", f"rows are matched by {', '.join(key.columns)}, which must not be NULL")


def _lacking(column: str, key: RowKey) -> "_Reason":
    return _Reason(
        "missing column",
        f"no row has this {', '.join(key.columns)}, so that it would be inserted, and for that the"
        f" file lacks {column}",
    )


def _other_primary_key(key: RowKey) -> "_Reason":
    return _Reason(
        "key",
        f"the row of this {', '.join(key.columns)} has the primary key {{0}}, which an import does"
        " not change: write that, or leave the column out",
    )


class _Reason:
    """A reason, with what the query said in its braces."""

    def __init__(self, kind: Kind, template: str) -> None:
        self._kind: Kind = kind
        self._template = template

    def __call__(self, values: Texts, said: Texts) -> tuple[Kind, str]:
        if not said:
            return self._kind, self._template
        return self._kind, self._template.replace("{0}", said[0] or "")
