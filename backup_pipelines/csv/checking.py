"""Every row of the files of an import, validated inside PostgreSQL before the first is written.

The rows are staged in temporary tables, read by the columns' own input functions, matched with the
live rows, and asked what the database would ask: for all rows and all rules, not until the first
that fails. Nothing is written but what goes with the caller's transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import tuple_row

from backup_pipelines.csv.check_conditions import check_conditions
from backup_pipelines.csv.check_matching import key_of, match
from backup_pipelines.csv.check_parents import check_parents
from backup_pipelines.csv.check_spreadsheet import check_spreadsheet
from backup_pipelines.csv.check_stage import Stage, listed
from backup_pipelines.csv.check_uniques import check_uniques
from backup_pipelines.csv.check_values import Readers, read_values
from backup_pipelines.csv.incoming import AskedImport, Incoming
from backup_pipelines.csv.problems import Problem, Problems
from backup_pipelines.pace import Amount
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.guards import list_live_foreign_keys
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.row_keys import list_row_keys
from backup_pipelines.progress import Meter, Report
from backup_pipelines.storage.store import Store

# Problems that are fetched at once: enough to be quick, few enough for memory to stay flat.
_FETCHED = 10_000


@dataclass(frozen=True)
class Checked:
    """What an import would do with the rows of one file."""

    incoming: Incoming
    insert: int
    update: int
    unchanged: int
    rejected: int
    """Rows with any problem, of those that could be read at all."""
    warnings: tuple[str, ...]


def check_rows(
    connection: Connection,
    store: Store,
    incoming: Sequence[Incoming],
    asked: AskedImport,
    problems: Problems,
    report: Report,
) -> Sequence[Checked]:
    """Validate the rows of all files, and add all that is wrong with them to the problems.

    In the caller's transaction, which it must roll back: the temporary tables stay until then.
    Raises Refused where rows are to be matched by columns that no unique index is of.
    """
    connection.execute(query("csv_memory"))
    # A header that is all wrong leaves nothing to look at.
    usable = [one for one in incoming if one.columns]
    stages = [Stage(connection, number, one, asked) for number, one in enumerate(usable)]
    keys = list_row_keys(connection, [stage.live for stage in stages], asked.keys)
    matched_by = {stage.number: key_of(stage, asked, keys) for stage in stages if stage.is_upsert}
    readers = Readers(connection)
    total = Amount(sum(stage.incoming.table.rows for stage in stages))
    with Meter("reading rows as their types", report, total) as meter:
        for stage in stages:
            stage.load(store)
            key = matched_by.get(stage.number)
            stage.key = key.columns if key else ()
            read_values(stage, readers)
            if key:
                match(stage, key)
            meter.add(stage.incoming.table.rows, what=stage.incoming.file)
    for stage in stages:
        report(f"{stage.incoming.file}: checking what the table asks of its rows")
        check_conditions(stage)
        check_uniques(stage)
        check_spreadsheet(stage)
    report("checking that parents are there")
    check_parents(stages, list_live_foreign_keys(connection))
    for stage in stages:
        problems.add(_found(stage))
    counted = {stage.incoming.file: _counted(stage) for stage in stages}
    return [counted.get(one.file) or Checked(one, 0, 0, 0, one.table.rows, ()) for one in incoming]


def _found(stage: Stage) -> Iterator[Problem]:
    """What was found in one file, fetched a piece at a time."""
    broken = [number for number, lines in enumerate(stage.broken) if lines]
    if not broken:
        return
    values = listed(
        (
            sql.SQL("WHEN {} THEN ARRAY[{}]::pg_catalog.text[]").format(
                sql.Literal(number),
                listed(sql.Identifier("t", f"c{place}") for place in stage.rules[number].columns),
            )
            for number in broken
        ),
        " ",
    )
    statement = sql.SQL(
        "SELECT f.line, f.rule, f.said, CASE f.rule {} END FROM {} AS f JOIN {} AS t"
        " ON t.line = f.line"
    ).format(values, stage.name("found"), stage.name("texts"))
    name = f"csv_found_{stage.number}"
    with stage.connection.cursor(name, row_factory=tuple_row) as cursor:
        cursor.itersize = _FETCHED
        cursor.execute(statement)
        for line, number, said, given in cursor:
            yield _problem(stage, line, number, given, said or [])


def _problem(
    stage: Stage,
    line: int,
    number: int,
    values: Sequence[str | None],
    said: Sequence[str | None],
) -> Problem:
    rule = stage.rules[number]
    kind, reason = rule.explain(values, said)
    null = stage.asked.reading.null
    headers = [stage.header(stage.incoming.columns[place]) for place in rule.columns]
    if len(values) == 1:
        shown = values[0]
    else:
        shown = ", ".join(null if value is None else value for value in values) or None
    return Problem(stage.incoming.file, line, ", ".join(headers) or rule.named, shown, kind, reason)


def _counted(stage: Stage) -> Checked:
    rows = stage.incoming.table.rows
    if not stage.is_upsert:
        rejected = _count(stage, sql.SQL("count(DISTINCT f.line)"), stage.name("found"))
        return Checked(stage.incoming, rows - rejected, 0, 0, rejected, _warnings(stage))
    names = [(f"v{place}", name) for name, place in stage.place.items()]
    statement = sql.SQL(
        "SELECT count(*) FILTER (WHERE f.line IS NOT NULL) AS rejected,"
        " count(*) FILTER (WHERE f.line IS NULL AND m.line IS NULL) AS added,"
        " count(*) FILTER (WHERE f.line IS NULL AND m.line IS NOT NULL"
        " AND pg_catalog.record_image_ne(ROW({}), ROW({}))) AS changed"
        " FROM {} AS s LEFT JOIN {} AS m ON m.line = s.line"
        " LEFT JOIN ONLY {} AS l ON l.ctid = m.live"
        " LEFT JOIN (SELECT DISTINCT line FROM {}) AS f ON f.line = s.line"
    ).format(
        listed(sql.Identifier("l", name) for _, name in names),
        listed(sql.Identifier("s", value) for value, _ in names),
        stage.name("rows"),
        stage.name("match"),
        stage.live.identifier,
        stage.name("found"),
    )
    row = stage.connection.execute(statement).fetchone()
    assert row is not None
    added, changed, rejected = row["added"], row["changed"], row["rejected"]
    unchanged = rows - added - changed - rejected
    return Checked(stage.incoming, added, changed, unchanged, rejected, _warnings(stage))


def _count(stage: Stage, what: sql.Composable, table: sql.Composable) -> int:
    statement = sql.SQL("SELECT {} AS n FROM {} AS f").format(what, table)
    row = stage.connection.execute(statement).fetchone()
    assert row is not None
    return int(row["n"])


def _warnings(stage: Stage) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stage.warnings))
