"""Texts that look as if a spreadsheet had taken them for numbers or days and written them anew.

The live rows are the evidence: the value that would be replaced, or what all values there look
like. Somebody who means it says so, column by column.
"""

from collections.abc import Iterator

from psycopg import sql

from backup_pipelines.csv.catalog import ColumnFacts
from backup_pipelines.csv.check_stage import NOTHING, Explain, Rule, Stage, Texts, listed
from backup_pipelines.csv.made_up import TEXTS
from backup_pipelines.csv.problems import Kind

# Fewer live values are no evidence.
_ENOUGH = 3

_DIGITS = "^[0-9]+$"
_PADDED = "^0+[0-9]+$"
_SCIENTIFIC = "^[0-9]([.,][0-9]+)?[eE][+]?[0-9]+$"

_MONTH = "(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zä]*"
_BY_MONTH = f"[0-9]{{1,4}}[-/. ]*{_MONTH}[-/. ]*[0-9]{{0,4}}|{_MONTH}[-/. ]*[0-9]{{1,4}}"

# What a spreadsheet makes of something that it takes for a day: 2024-01-05, 05/01/24, 1-Mar.
_DAY = f"(?i)^([0-9]{{1,4}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,4}}( 00:00(:00)?)?|{_BY_MONTH})$"

# What it takes for one: those, and 1-2, 3/4, MAR1.
_LIKE_DAY = f"(?i)^(([0-9]{{1,4}}[-/. ]+){{1,2}}[0-9]{{1,4}}|{_BY_MONTH})$"


def check_spreadsheet(stage: Stage) -> None:
    """Note the values of text columns that a spreadsheet may have changed."""
    columns = [
        one
        for one in stage.columns
        if one.column.base_type.rpartition(".")[2] in TEXTS and not stage.accepts(one.name)
    ]
    if not columns:
        return
    if stage.asked.reading.null and not _has_null(stage):
        for one in columns:
            stage.note(Rule(stage.places([one.name]), _quoted(stage, one)), _like_null(stage, one))
    lengths = dict(_lengths(stage, columns))
    for one in columns:
        length = lengths.get(one.name)
        if length is not None:
            stage.note(
                Rule(stage.places([one.name]), _shorter(stage, one, length)),
                _unlike_all(stage, one, length),
            )
        elif stage.is_upsert:
            stage.note(
                Rule(stage.places([one.name]), _changed(stage, one)), _unlike_its_own(stage, one)
            )


def _value(stage: Stage, one: ColumnFacts) -> sql.Identifier:
    return sql.Identifier("s", f"v{stage.place[one.name]}")


def _text(value: sql.Composable) -> sql.Composed:
    """A value as a text that patterns can be asked of, which not all collations let."""
    return sql.SQL('({}::pg_catalog.text COLLATE pg_catalog."C")').format(value)


def _is_like(text: sql.Composable, pattern: str) -> sql.Composed:
    return sql.SQL("{} OPERATOR(pg_catalog.~) {}").format(text, sql.Literal(pattern))


def _lengths(stage: Stage, columns: list[ColumnFacts]) -> Iterator[tuple[str, int]]:
    """The columns whose live values are all of digits and of one length, and which."""
    asked: list[sql.Composable] = []
    for place, one in enumerate(columns):
        text = _text(sql.Identifier("t", one.name))
        asked.append(
            sql.SQL(
                "CASE WHEN count({text}) >= {enough} AND pg_catalog.bool_and({digits})"
                " AND pg_catalog.min(pg_catalog.length({text})) ="
                " pg_catalog.max(pg_catalog.length({text}))"
                " THEN pg_catalog.max(pg_catalog.length({text})) END AS {name}"
            ).format(
                text=text,
                enough=sql.Literal(_ENOUGH),
                digits=_is_like(text, _DIGITS),
                name=sql.Identifier(f"v{place}"),
            )
        )
    found = stage.connection.execute(
        sql.SQL("SELECT {} FROM ONLY {} AS t").format(listed(asked), stage.live.identifier)
    ).fetchone()
    assert found is not None
    for one, length in zip(columns, found.values(), strict=True):
        if length is not None:
            yield one.name, int(length)


def _has_null(stage: Stage) -> bool:
    """Whether the file tells NULL from a text that reads like it, as one without quotes does."""
    places = range(len(stage.columns))
    nulls = [sql.SQL("{} IS NULL").format(sql.Identifier(f"c{place}")) for place in places]
    found = stage.connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {}) AS has").format(
            stage.name("texts"), listed(nulls, " OR ")
        )
    ).fetchone()
    assert found is not None
    return bool(found["has"])


def _like_null(stage: Stage, one: ColumnFacts) -> sql.Composed:
    return sql.SQL("SELECT s.line, {} FROM {} AS s WHERE {} = {}").format(
        NOTHING,
        stage.name("rows"),
        _text(_value(stage, one)),
        sql.Literal(stage.asked.reading.null),
    )


def _unlike_all(stage: Stage, one: ColumnFacts, length: int) -> sql.Composed:
    text = _text(_value(stage, one))
    return sql.SQL(
        "SELECT s.line, {} FROM {} AS s WHERE {} AND pg_catalog.length({}) < {} OR {}"
    ).format(
        NOTHING,
        stage.name("rows"),
        _is_like(text, _DIGITS),
        text,
        sql.Literal(length),
        _is_like(text, _SCIENTIFIC),
    )


def _unlike_its_own(stage: Stage, one: ColumnFacts) -> sql.Composed:
    """Values that are the live row's without its zeros, or in another of its forms."""
    new, old = _text(_value(stage, one)), _text(sql.Identifier("l", one.name))

    def numbers(text: sql.Composable) -> sql.Composed:
        return sql.SQL(
            "ARRAY(SELECT DISTINCT pg_catalog.right(n, 2)::pg_catalog.int4 FROM"
            " pg_catalog.regexp_split_to_table({}, '[^0-9]+') AS n WHERE n <> '')"
        ).format(text)

    zeros = sql.SQL("{} AND pg_catalog.regexp_replace({}, '^0+(?=[0-9])', '') = {}").format(
        _is_like(old, _PADDED), old, new
    )
    short = sql.SQL("{} AND {}").format(_is_like(old, _DIGITS), _is_like(new, _SCIENTIFIC))
    day = sql.SQL("CASE WHEN {} AND {} THEN {} OPERATOR(pg_catalog.<@) {} END").format(
        _is_like(new, _DAY), _is_like(old, _LIKE_DAY), numbers(old), numbers(new)
    )
    return sql.SQL(
        "SELECT s.line, ARRAY[{old}, CASE WHEN {zeros} THEN 'zeros' WHEN {short} THEN 'digits'"
        " ELSE 'form' END] FROM {rows} AS s JOIN {match} AS m ON m.line = s.line"
        " JOIN ONLY {live} AS l ON l.ctid = m.live"
        " WHERE {new} <> {old} AND ({zeros} OR {short} OR {day})"
    ).format(
        old=old,
        new=new,
        zeros=zeros,
        short=short,
        day=day,
        rows=stage.name("rows"),
        match=stage.name("match"),
        live=stage.live.identifier,
    )


def _changed(stage: Stage, one: ColumnFacts) -> Explain:
    hint = stage.accept_hint(one.name)
    lost = {
        "zeros": "the leading zeros are lost",
        "digits": "it is in scientific notation, and its digits may be lost",
        "form": "it is the same day or number in another form",
    }

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        del values
        how = lost[said[1] or "form"]
        return "spreadsheet", f"is {said[0]} now: {how}, as spreadsheets do; {hint}"

    return explained


def _quoted(stage: Stage, one: ColumnFacts) -> Explain:
    hint = stage.accept_hint(one.name)

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        del said
        return "spreadsheet", (
            f"{values[0]} in quotes is that text, and the file has no NULL, which has none: "
            f"spreadsheets can quote it; {hint}"
        )

    return explained


def _shorter(stage: Stage, one: ColumnFacts, length: int) -> Explain:
    hint = stage.accept_hint(one.name)

    def explained(values: Texts, said: Texts) -> tuple[Kind, str]:
        del said
        is_short = (values[0] or "").isdigit()
        lost = "were leading zeros lost?" if is_short else "digits may be lost"
        said_of_all = f"all values that are there have {length} digits"
        return "spreadsheet", f"{said_of_all}: {lost} As spreadsheets do; {hint}"

    return explained
