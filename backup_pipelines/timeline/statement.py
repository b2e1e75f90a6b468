"""One statement of SQL: whether it only reads, and which tables it names, before it is run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup_pipelines.errors import Refused

if TYPE_CHECKING:
    import duckdb

# Functions in the place of a table that read no file and change nothing. Others do: enable_logging
# writes a file though DuckDB was told to leave files alone.
_HARMLESS = frozenset(
    (
        *("duckdb_columns", "duckdb_functions", "duckdb_tables", "duckdb_types"),
        *("generate_series", "json_each", "json_tree", "range", "repeat", "unnest"),
    )
)

_ONE = "give one statement that returns rows: SELECT, WITH, FROM, VALUES, SUMMARIZE or DESCRIBE"


@dataclass(frozen=True)
class TableName:
    """A table as a statement names it; what it leaves out is empty."""

    catalog: str
    schema: str
    table: str


@dataclass(frozen=True)
class Statement:
    """A statement without its semicolon, and the tables that it may mean."""

    text: str
    tables: frozenset[TableName]


def read(connection: "duckdb.DuckDBPyConnection", sql: str) -> Statement:
    """The one statement in `sql`; raises Refused for anything that does not only read."""
    import duckdb

    try:
        found = connection.extract_statements(sql)
        if [one.type for one in found] != [duckdb.StatementType.SELECT]:
            kinds = ", ".join(one.type.name for one in found) or "none"
            raise Refused(f"{_ONE}; this is {kinds}")
        if found[0].named_parameters:
            raise Refused("the SQL has a parameter ($ or ?): write the value in its place")
        text = _without_semicolon(sql)
        # DuckDB's parser alone: nothing is looked up, opened or run.
        parsed = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchone()
    except duckdb.Error as error:
        raise refused(error) from error
    tree: Mapping[str, Any] = json.loads(parsed[0]) if parsed else {"error": True}
    if tree.get("error") or len(tree["statements"]) != 1:
        raise Refused(f"{_ONE} ({tree.get('error_message', 'it could not be taken apart')})")
    nodes = list(_nodes(tree))
    _refuse_functions(nodes)
    named = (node for node in nodes if node.get("type") == "BASE_TABLE")
    return Statement(
        text,
        frozenset(
            TableName(node.get("catalog_name", ""), node.get("schema_name", ""), node["table_name"])
            for node in named
        ),
    )


def refused(error: Exception) -> Refused:
    """DuckDB's error as one sentence, without its drawing of the place."""
    said = str(error).partition("\n\nLINE ")[0]
    return Refused(f"the SQL cannot be run: {' '.join(said.split())}")


def _without_semicolon(sql: str) -> str:
    """The statement alone: what follows the semicolon can only be a comment."""
    import duckdb

    starts = [place for place, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    end = next((place for place in reversed(starts) if sql.encode()[place:][:1] != b";"), None)
    cuts = [place for place in starts if end is not None and place > end]
    return sql.encode()[: cuts[0]].decode() if cuts else sql


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _refuse_functions(nodes: list[Mapping[str, Any]]) -> None:
    names = {
        str(node["function"].get("function_name", "")).lower()
        for node in nodes
        if node.get("type") == "TABLE_FUNCTION"
    }
    wrong = sorted(names - _HARMLESS)
    if wrong:
        raise Refused(
            f"{', '.join(wrong)} cannot be read from here: name the tables of the backup; of "
            f"functions only {', '.join(sorted(_HARMLESS))} can stand in their place"
        )
