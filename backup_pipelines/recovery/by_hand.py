"""What a person types to restore a backup with psql, age and DuckDB alone, made of its manifest.

Names of a database are anything, and these texts end in a shell: whatever is not plain in a name
is written as PostgreSQL's escape of it.
"""

import re
from collections.abc import Iterator

from backup_pipelines import layout
from backup_pipelines.manifest import Column, Manifest, Table
from backup_pipelines.postgres.projection import stored_digest_query
from backup_pipelines.postgres.writer import insertable

FOLDER = "by-hand"
"""Where the commands put what they make."""

SETTINGS = """\
SET timezone TO 'UTC'; SET datestyle TO 'ISO, YMD'; SET intervalstyle TO 'postgres';
SET extra_float_digits TO 1; SET bytea_output TO 'hex'; SET lc_monetary TO 'C';
SET xmloption TO content; SET search_path TO ''; SET client_encoding TO 'UTF8';
SET row_security TO off; SET statement_timeout TO 0; SET standard_conforming_strings TO on;"""

# A field as COPY reads it: NULL and the four characters that mean something to it.
_MACRO = r"""CREATE MACRO field(v) AS coalesce(replace(replace(replace(replace(
    v::VARCHAR, '\', '\\'), chr(9), '\t'), chr(10), '\n'), chr(13), '\r'), '\N');"""

# One column without quoting: every line is what the macro made.
_AS_IT_IS = "(FORMAT csv, HEADER false, DELIMITER '', QUOTE '', ESCAPE '')"

# The values of each line. DuckDB sets twice the longest line aside, so that it is not the longest
# that PostgreSQL could have: of a longer one it says so.
_VALUES = (
    "SELECT json_extract_string(json, '$.*') AS v FROM read_ndjson_objects("
    "file, compression = 'zstd', maximum_object_size = 268435456)"
)

# What neither a shell, a here document, psql nor Markdown sees anything in.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_ .,:;+*/=@#%&()\[\]{}<>?!|^~-]+")
_IDENTIFIER = re.compile(r'"((?:[^"]|"")*)"')

_MODULUS = 1 << 64


def checksums(entry: Manifest) -> Iterator[str]:
    """A line for sha256sum of every object but RECOVERY.md, which cannot name itself."""
    itself = layout.document_key(entry.system, entry.id, "RECOVERY.md")
    others = (document for document in entry.documents if document.key != itself)
    for one in (*entry.ddl, *others, *entry.parts):
        yield f"{one.sha256}  {one.key}"


def rows_for_duckdb(entry: Manifest) -> Iterator[str]:
    """Statements that write the rows of each part as PostgreSQL's COPY reads them."""
    yield _MACRO
    for number, table in _loaded_by_copy(entry):
        for format in sorted(table.formats):
            rows = _from_lines(table) if format == "jsonl" else _from_parquet(table)
            yield f"CREATE MACRO {format}_{number}(file) AS TABLE {rows};"
        for each, part in enumerate(table.parts):
            file = part.key.removesuffix(layout.ENCRYPTED)
            to = f"{FOLDER}/{number}-{each}.tsv"
            rows = f"{layout.format_of(part.key)}_{number}('{file}')"
            yield f"COPY (FROM {rows}) TO '{to}' {_AS_IT_IS};"


def loading(entry: Manifest) -> Iterator[str]:
    """Commands that load every table, by the shell functions `copy` and `run`."""
    for number, table in _loaded_by_copy(entry):
        columns = ", ".join(identifier(name) for name in insertable(table))
        yield f"copy {number} 'COPY {qualified(table)} ({columns}) FROM STDIN'"
    for table in entry.tables:
        if table.kind != "partitioned" and table.rows and not insertable(table):
            name = qualified(table)
            if table.columns:
                once = f"INSERT INTO {name} DEFAULT VALUES"
                yield f"run 'DO {_quoted_body(once, table.rows)}'"
            else:
                rows = f"pg_catalog.generate_series(1, {table.rows})"
                yield f"run 'INSERT INTO {name} SELECT FROM {rows}'"


def positions(entry: Manifest) -> Iterator[str]:
    """Statements that put every sequence where it was."""
    for one in entry.sequences:
        name = _name_of(one.schema_name, one.name)
        state = f"{one.last_value}, {'true' if one.is_called else 'false'}"
        yield f"SELECT pg_catalog.setval({_literal(name)}::pg_catalog.regclass, {state});"


def refreshing(entry: Manifest) -> Iterator[str]:
    """Statements that fill the materialized views, in order, and then look at every table."""
    forced = [qualified(table) for table in entry.tables if table.force_row_security]
    yield "BEGIN;"
    yield from (f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY;" for name in forced)
    for view in entry.materialized_views:
        name = f"{identifier(view.schema_name)}.{identifier(view.name)}"
        yield f"REFRESH MATERIALIZED VIEW {name};"
    yield from (f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY;" for name in forced)
    yield "COMMIT;"
    yield "ANALYZE;"


def digests(entry: Manifest) -> Iterator[str]:
    """A statement for each table with rows of its own, which says whether it is equal."""
    for table in proved(entry):
        query = stored_digest_query(table).as_string(None)
        safe = _IDENTIFIER.sub(lambda found: identifier(found[1].replace('""', '"')), query)
        total = f"mod(mod(total, {_MODULUS}) + {_MODULUS}, {_MODULUS})"
        yield (
            f"SELECT CASE WHEN rows = {table.rows} AND {total} = {int(table.digest, 16)}"
            f" THEN 'equal' ELSE 'DIFFERENT' END || ' {printable(table.qualified)}'"
            f" FROM ({safe}) AS d;"
        )


def proved(entry: Manifest) -> list[Table]:
    """The tables with a digest of their own."""
    return [table for table in entry.tables if table.kind != "partitioned"]


def identifier(name: str) -> str:
    """A name as SQL that is safe anywhere: in a shell, in a here document, in Markdown."""
    if _PLAIN_NAME.fullmatch(name):
        return f'"{name}"'
    return f'U&"{"".join(_escaped(c) for c in name)}"'


def qualified(table: Table) -> str:
    """A table's name as SQL that is safe anywhere."""
    return f"{identifier(table.schema_name)}.{identifier(table.name)}"


def printable(name: str) -> str:
    """A name for people, with a question mark for what could mean something to a program."""
    return re.sub(r"[^\w .,:;@+/()-]", "?", name)


def _loaded_by_copy(entry: Manifest) -> list[tuple[int, Table]]:
    tables = [table for table in entry.tables if table.parts and insertable(table)]
    return list(enumerate(tables, start=1))


def _from_parquet(table: Table) -> str:
    names = [f"c{n}" for n in range(len(table.columns))]
    fields = [
        _field(name, column)
        for name, column in zip(names, table.columns, strict=True)
        if not column.generated
    ]
    of = f"read_parquet(file) AS t({', '.join(names)})"
    return f"SELECT concat_ws(chr(9), {', '.join(fields)}) AS line FROM {of}"


def _from_lines(table: Table) -> str:
    # By number: to DuckDB names that differ by their case are one.
    places = [n for n, column in enumerate(table.columns, start=1) if not column.generated]
    fields = ", ".join(f"field(v[{place}])" for place in places)
    return f"SELECT concat_ws(chr(9), {fields}) AS line FROM ({_VALUES})"


def _field(name: str, column: Column) -> str:
    if column.arrow_type == "binary":
        return f"field('\\x' || hex({name}))"
    if column.arrow_type.startswith("timestamp[us, tz="):
        # Its own text would be in the time zone of whoever runs it.
        return f"field(make_timestamp(epoch_us({name})) || '+00')"
    return f"field({name})"


def _quoted_body(statement: str, times: int) -> str:
    return f"$do$ BEGIN FOR i IN 1..{times} LOOP {statement}; END LOOP; END $do$"


def _name_of(schema: str, name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


def _literal(text: str) -> str:
    """A text as SQL, in characters that mean nothing to anybody else."""
    if _PLAIN_NAME.fullmatch(text.replace('"', "")):
        return f"'{text}'"
    return "U&'" + "".join(c if c == '"' else _escaped(c) for c in text) + "'"


def _escaped(character: str) -> str:
    if _PLAIN_NAME.fullmatch(character):
        return character
    number = ord(character)
    return f"\\{number:04X}" if number < 0x10000 else f"\\+{number:06X}"
