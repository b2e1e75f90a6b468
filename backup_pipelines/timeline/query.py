"""SQL over backups: their tables as views of DuckDB, for one statement that only reads."""

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup_pipelines import encryption
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Column, Manifest
from backup_pipelines.scratch import scratch_folder
from backup_pipelines.storage.store import Store
from backup_pipelines.timeline import engine
from backup_pipelines.timeline.forms import FLOAT_TEXT, duck_type, literal, quoted, text_sql
from backup_pipelines.timeline.local_parts import LocalParts
from backup_pipelines.timeline.sources import Holding, Source, holdings, union_sql
from backup_pipelines.timeline.statement import Statement, TableName, read, refused

if TYPE_CHECKING:
    import duckdb

BACKUP_ID, BACKED_UP_AT = "backup_id", "backed_up_at"
"""The columns that tell rows of several backups apart."""

_PUBLIC, _CATALOG = "public", "memory"

# Large enough to make calls few, small enough to be nothing in memory.
_FETCHED_ROWS = 2000

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_AS_THEY_ARE = frozenset(("BOOLEAN", "DOUBLE", *_NUMBERS, *(f"U{name}" for name in _NUMBERS)))

Row = Sequence[Any]


@dataclass(frozen=True)
class View:
    """A table of one or more backups: its name, the sources of its rows, its columns and types."""

    schema: str
    name: str
    holdings: tuple[tuple[Manifest, Holding], ...]
    columns: Mapping[str, str]
    """The alias of each column of the backups."""
    types: Mapping[str, str]
    """DuckDB's type of each column; one that is not the same in all backups is VARCHAR."""
    many: bool


@dataclass(frozen=True)
class Answer:
    """What a statement returns: columns with DuckDB's types, and the rows, which are read once.

    Numbers and booleans are Python's, everything else is exact text: decimals, times, and what
    the backup holds as PostgreSQL's text. A float that is no number is text too.
    """

    columns: Sequence[tuple[str, str]]
    rows: Iterator[Row]
    tables: Sequence[str]
    """The tables whose parts were read."""


@contextmanager
def asked(
    store: Store, entries: Sequence[Manifest], sql: str, *, many: bool, limit: int | None = None
) -> Generator[Answer]:
    """The answer to one statement over the tables of the backups, `limit` rows of it at most.

    `entries` has the oldest first. With `many` every table has two columns more, which say of which
    backup a row is. Raises Refused for what is no single harmless statement or has an error, and
    for backups that no identity here opens; Damaged for parts that are not as they were written.
    """
    for entry in entries:
        encryption.refuse_closed(entry)
    known = views(entries, many=many)
    with scratch_folder() as folder, engine.connect(folder) as empty:
        statement = read(empty, sql)
        named = _named(statement, known)
        _make_empty(empty, known.values())
        columns = _columns(empty, statement)
        text = _shown(statement, columns, limit)
        if not named:
            # It may still be about which tables and columns there are: the empty ones can tell.
            yield Answer(columns, _rows(empty, text), ())
            return
        with engine.connect(folder) as connection:
            _load(connection, store, folder, named)
            names = [f"{view.schema}.{view.name}" for view in named]
            yield Answer(columns, _rows(connection, text), names)


def views(entries: Sequence[Manifest], *, many: bool) -> dict[str, View]:
    """Every table that can be asked for, by qualified name; `entries` has the oldest first."""
    found: dict[str, list[tuple[Manifest, Holding]]] = {}
    for entry in entries:
        for name, holding in holdings(entry.tables).items():
            found.setdefault(name, []).append((entry, holding))
    return {name: _view(held, many=many) for name, held in sorted(found.items())}


def _view(held: Sequence[tuple[Manifest, Holding]], *, many: bool) -> View:
    kinds: dict[str, set[str]] = {}
    # The newest backup says how the columns are ordered.
    for _, holding in reversed(held):
        for column in holding.table.columns:
            kinds.setdefault(column.name, set())
        for table in holding.leaves or (holding.table,):
            for column in table.columns:
                kinds.setdefault(column.name, set()).add(duck_type(column))
    newest = held[-1][1].table
    return View(
        newest.schema_name,
        newest.name,
        tuple(held),
        _aliases(list(kinds), (BACKUP_ID, BACKED_UP_AT) if many else ()),
        {name: next(iter(kind)) if len(kind) == 1 else "VARCHAR" for name, kind in kinds.items()},
        many,
    )


def _aliases(names: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Names that differ by more than their case, as DuckDB needs them: Name, and then name_1."""
    used, aliases = set(taken), dict[str, str]()
    for name in names:
        alias, number = name, 0
        while _folded(alias) in used:
            number += 1
            alias = f"{name}_{number}"
        used.add(_folded(alias))
        aliases[name] = alias
    return aliases


def _folded(name: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _named(statement: Statement, known: Mapping[str, View]) -> list[View]:
    """The views that the statement means; raises Refused for a name that means two of them."""
    by_name: dict[tuple[str, str], list[View]] = {}
    for view in known.values():
        by_name.setdefault((_folded(view.schema), _folded(view.name)), []).append(view)
    found: list[View] = []
    for key in sorted({_key(name) for name in statement.tables}):
        meant = by_name.get(key, [])
        if len(meant) > 1:
            listed = " and ".join(f"{view.schema}.{view.name}" for view in meant)
            raise Refused(f"{listed} differ only by case, which this SQL does not tell apart")
        found += meant
    return found


def _key(name: TableName) -> tuple[str, str]:
    if name.catalog and _folded(name.catalog) != _CATALOG:
        return "", ""
    return _folded(name.schema or _PUBLIC), _folded(name.table)


def _make_empty(connection: "duckdb.DuckDBPyConnection", known: Iterable[View]) -> None:
    """Tables with the columns and no row, by which a statement is checked before any fetching."""
    for view in known:
        added = {BACKUP_ID: "VARCHAR", BACKED_UP_AT: "TIMESTAMPTZ"} if view.many else {}
        own = {view.columns[name]: kind for name, kind in view.types.items()}
        listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in {**added, **own}.items())
        _make_schema(connection, view.schema)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {_qualified(view)} ({listed})")
    _look_in_public(connection)
    engine.lock(connection, ())


def _load(
    connection: "duckdb.DuckDBPyConnection", store: Store, folder: Path, named: Sequence[View]
) -> None:
    """Views with the rows; from then on nothing else can be read."""
    parts = LocalParts(store, folder)
    leaves = [leaf for view in named for _, held in view.holdings for leaf in held.leaves]
    parts.bring(leaves)
    for view in named:
        _make_schema(connection, view.schema)
        connection.execute(f"CREATE VIEW {_qualified(view)} AS {_view_sql(view, parts)}")
    _look_in_public(connection)
    engine.lock(connection, [path for leaf in leaves for path in parts.paths(leaf)])


def _make_schema(connection: "duckdb.DuckDBPyConnection", schema: str) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")


def _look_in_public(connection: "duckdb.DuckDBPyConnection") -> None:
    _make_schema(connection, _PUBLIC)
    connection.execute(f"SET schema = {literal(_PUBLIC)}")


def _qualified(view: View) -> str:
    return f"{quoted(view.schema)}.{quoted(view.name)}"


def _view_sql(view: View, parts: LocalParts) -> str:
    def shape(name: str, value: str, column: Column | None) -> str:
        kind = view.types[name]
        if column is None:
            return f"CAST(NULL AS {kind})"
        stored = duck_type(column)
        return value if stored == kind else text_sql(value, stored)

    pieces: list[str] = []
    for entry, held in view.holdings:
        constants = {
            BACKUP_ID: literal(entry.id),
            BACKED_UP_AT: f"TIMESTAMPTZ {literal(entry.snapshot_at.isoformat())}",
        }
        sources = [Source(leaf, parts.paths(leaf)) for leaf in held.leaves or (held.table,)]
        pieces.append(union_sql(sources, [(view.columns, shape)], constants if view.many else None))
    return " UNION ALL ".join(pieces)


def _columns(
    connection: "duckdb.DuckDBPyConnection", statement: Statement
) -> list[tuple[str, str]]:
    found = _run(connection, f"DESCRIBE SELECT * FROM (\n{statement.text}\n)").fetchall()
    return [(str(row[0]), str(row[1])) for row in found]


def _shown(statement: Statement, columns: Sequence[tuple[str, str]], limit: int | None) -> str:
    """The statement with every value in the form that it is given to people."""
    names = [f"c{number}" for number in range(len(columns))]
    shown = [_value(name, kind) for name, (_, kind) in zip(names, columns, strict=True)]
    inner = f"(\n{statement.text}\n) AS answer({', '.join(names)})"
    bound = "" if limit is None else f" LIMIT {limit}"
    return f"SELECT {', '.join(shown)} FROM {inner}{bound}"


def _value(name: str, kind: str) -> str:
    if kind in _AS_THEY_ARE:
        return name
    if kind in FLOAT_TEXT:
        # The shortest number that is this float4; widened it would have more digits.
        return f"CAST(CAST({name} AS VARCHAR) AS DOUBLE)"
    return text_sql(name, kind if kind == "BLOB" else "")


def _rows(connection: "duckdb.DuckDBPyConnection", text: str) -> Iterator[Row]:
    import duckdb

    found = _run(connection, text)
    while True:
        try:
            rows = found.fetchmany(_FETCHED_ROWS)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            raise refused(error) from error
        if not rows:
            return
        for row in rows:
            yield tuple(_plain(value) for value in row)


def _plain(value: Any) -> Any:
    """A value that JSON can hold: its numbers are all finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _run(connection: "duckdb.DuckDBPyConnection", text: str) -> "duckdb.DuckDBPyConnection":
    """Run what people asked for; raises Refused with DuckDB's reason."""
    import duckdb

    try:
        return connection.execute(text)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise refused(error) from error
