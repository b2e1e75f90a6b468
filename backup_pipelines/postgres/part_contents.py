"""What is inside a part, compared with what its manifest says of it."""

from contextlib import closing

import pyarrow as pa
import pyarrow.parquet as pq

from backup_pipelines import layout
from backup_pipelines.manifest import Part, Table
from backup_pipelines.postgres.json_lines import lines
from backup_pipelines.postgres.json_reading import parsed
from backup_pipelines.postgres.reader import FIELD_ENCODING, FIELD_TYPE
from backup_pipelines.storage.store import Store


def content_problem(store: Store, table: Table, part: Part) -> str:
    """What of a part is not as its manifest says, in a sentence; empty when all is.

    Of Parquet the footer is read, of JSON Lines every line. Raises what the store raises.
    """
    if layout.is_json_lines(part.key):
        return _lines_problem(store, table, part)
    return _footer_problem(store, table, part)


def _lines_problem(store: Store, table: Table, part: Part) -> str:
    name, columns = store.uri(part.key), [column.name for column in table.columns]
    rows = 0
    try:
        with closing(store.open_input(part.key)) as stored:
            for batch, block in parsed(stored, columns, columns):
                rows += batch.num_rows
                # A column that a line lacks reads as NULL: printed anew, it shows.
                if not lines(batch).equals(pa.py_buffer(block)):
                    return f"{name} has lines that are not those of {table.qualified}'s columns"
    except (pa.ArrowException, OSError) as error:
        return f"{name} is no readable file of JSON Lines: {error}"
    return _rows_problem(name, part, rows)


def _footer_problem(store: Store, table: Table, part: Part) -> str:
    name = store.uri(part.key)
    try:
        with pq.ParquetFile(store.open_input(part.key)) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        return f"{name} is no readable Parquet file: {error}"
    if problem := _rows_problem(name, part, rows):
        return problem
    if schema.names != [column.name for column in table.columns]:
        return f"{name} has other columns than {table.qualified}"
    for number, column in enumerate(table.columns):
        found = schema.field(number).metadata or {}
        said = {FIELD_TYPE: column.type.encode(), FIELD_ENCODING: column.encoding.encode()}
        if any(found.get(key) != value for key, value in said.items()):
            return f"{name} has another type or encoding of {table.qualified}.{column.name}"
    return ""


def _rows_problem(name: str, part: Part, rows: int) -> str:
    return "" if rows == part.rows else f"{name} has {rows:,} rows instead of {part.rows:,}"
