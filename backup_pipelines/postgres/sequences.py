"""Sequences put where the backup has them, inside the transaction."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Sequence as ListOf
from typing import Any

from psycopg import sql

from backup_pipelines.manifest import Column, Manifest, Sequence, Table
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import list_sequences

Values = ListOf[str | None]

_NUMBERS = frozenset(f"pg_catalog.{name}" for name in ("int2", "int4", "int8", "numeric"))

_NEXTVAL = re.compile(r"nextval\('((?:[^']|'')+)'::regclass\)")


def positions_to_set(
    connection: Connection,
    entry: Manifest,
    tables: Collection[str],
    *,
    forward_only: bool,
    everything: bool,
    wherever: bool = False,
) -> list[Sequence]:
    """The sequences of the tables that are not where the backup has them, or `wherever` they are.

    A sequence is a table's that a column owns or whose default draws from it. Where everything is
    restored the others count as well, in a backup of some tables only forwards: who uses them is
    not known. With `forward_only` none moves back. One that does not exist any more, or is another
    role's, is left alone.
    """
    live = {(s.schema_name, s.name): s for s in list_sequences(connection)}
    traits = _traits(connection)
    drawn = set(_drawn_from(entry, tables))
    found: list[Sequence] = []
    for wanted in entry.sequences:
        place = (wanted.schema_name, wanted.name)
        now, trait = live.get(place), traits.get(place)
        if now is None or trait is None or not trait["is_ours"]:
            continue
        is_theirs = wanted.owned_by is not None and _owner(wanted) in tables
        is_free = wanted.owned_by is None
        if not (is_theirs or ".".join(place) in drawn or (is_free and everything)):
            continue
        only_forwards = forward_only or (
            entry.scope != "full" and not is_theirs and ".".join(place) not in drawn
        )
        ours, theirs = (wanted.last_value, wanted.is_called), (now.last_value, now.is_called)
        is_ahead = ours > theirs if trait["up"] else ours < theirs
        if wherever or (ours != theirs and (is_ahead or not only_forwards)):
            found.append(wanted)
    return found


def locking(connection: Connection, positions: ListOf[Sequence]) -> dict[int, sql.Composed]:
    """Statements that lock these sequences and change nothing (LOCK TABLE does not take them).

    A session that has drawn a number keeps its lock on the sequence to the end of its transaction.
    """
    traits = _traits(connection)
    found = {traits[s.schema_name, s.name]["oid"]: s for s in positions}
    return {
        oid: sql.SQL("ALTER SEQUENCE {} CACHE {}").format(
            sql.Identifier(s.schema_name, s.name), traits[s.schema_name, s.name]["cache"]
        )
        for oid, s in sorted(found.items())
    }


def beyond(
    connection: Connection, tables: ListOf[Table], values: Callable[[Table, str], Iterable[Values]]
) -> list[Sequence]:
    """The sequences of the tables' columns, each at the furthest number that the rows have there.

    Only of columns whose default is the number itself: what is made of one does not tell it.
    `values` gives the numbers of a column as texts that PostgreSQL reads.
    """
    found: list[Sequence] = []
    traits = _traits(connection)
    for sequence in list_sequences(connection):
        up = traits[sequence.schema_name, sequence.name]["up"]
        furthest = [
            top
            for table in tables
            for column in table.columns
            if _gives(sequence, table, column)
            for texts in values(table, column.name)
            if (top := _furthest(connection, texts, up=up)) is not None
        ]
        if furthest:
            last = max(furthest) if up else min(furthest)
            moved = {"last_value": last, "is_called": True}
            found.append(sequence.model_copy(update=moved))
    return found


def set_position(connection: Connection, position: Sequence) -> None:
    """Set one sequence; RESTART first makes the change part of the transaction."""
    name = sql.Identifier(position.schema_name, position.name)
    connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(name))
    connection.execute(
        "SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)",
        [name.as_string(), position.last_value, position.is_called],
    )


def _traits(connection: Connection) -> Mapping[tuple[str, str], dict[str, Any]]:
    rows = connection.execute(
        "SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name,"
        " s.seqincrement > 0 AS up, s.seqcache AS cache,"
        " pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_ours"
        " FROM pg_catalog.pg_sequence s"
        " JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    )
    return {(row["schema"], row["name"]): row for row in rows}


def _drawn_from(entry: Manifest, tables: Collection[str]) -> Iterator[str]:
    """The names, without quotes, of sequences in the defaults of the tables' columns."""
    for table in entry.tables:
        if table.qualified in tables:
            for column in table.columns:
                yield from _drawn_by(column.default)


def _drawn_by(default: str | None) -> list[str]:
    names = _NEXTVAL.findall(default or "")
    return [name.replace('"', "").replace("''", "'") for name in names]


def _gives(sequence: Sequence, table: Table, column: Column) -> bool:
    """Whether a column's values are the sequence's own numbers."""
    if column.base_type not in _NUMBERS:
        return False
    if column.default and not _NEXTVAL.fullmatch(column.default):
        return False
    name = f"{sequence.schema_name}.{sequence.name}"
    is_owner = sequence.owned_by == f"{table.qualified}.{column.name}"
    return is_owner or name in _drawn_by(column.default)


def _furthest(connection: Connection, texts: Values, *, up: bool) -> int | None:
    # What is beyond every sequence, NaN included, is none of its numbers.
    row = connection.execute(
        "SELECT max(n)::pg_catalog.int8 AS highest, min(n)::pg_catalog.int8 AS lowest"
        " FROM (SELECT pg_catalog.trunc(v::pg_catalog.numeric) AS n"
        " FROM unnest(%s::pg_catalog.text[]) AS v) AS numbers"
        " WHERE pg_catalog.abs(n) <= 9223372036854775807",
        [list(texts)],
    ).fetchone()
    return None if row is None else row["highest" if up else "lowest"]


def _owner(sequence: Sequence) -> str:
    return (sequence.owned_by or "").rpartition(".")[0]
