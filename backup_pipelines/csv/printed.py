"""Rows as PostgreSQL itself prints them by COPY: lines of a CSV file, or Arrow texts of those."""

from collections.abc import Generator, Mapping, Sequence
from io import BytesIO

import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql

from backup_pipelines.csv import form as csv_form
from backup_pipelines.csv.form import LINE_END
from backup_pipelines.csv.null import NULL
from backup_pipelines.postgres.connection import Connection

# Lines are written in pieces of about this much.
_PIECE_BYTES = 1024 * 1024

# Its output function drops the XML declaration; its cast to text keeps it.
_XML = "pg_catalog.xml"

_READ = pacsv.ParseOptions(newlines_in_values=True)


def printed(
    connection: Connection, table: sql.Identifier, columns: Mapping[str, str]
) -> Generator[tuple[int, bytes]]:
    """The lines of a table in pieces, each with how many they are.

    `columns` are the names of those that are wanted, with their base types.
    """
    statement = sql.SQL("COPY {} TO STDOUT ({})").format(
        _exactly(table, columns)
        if _XML in columns.values()
        else sql.SQL("{} ({})").format(table, sql.SQL(", ").join(map(sql.Identifier, columns))),
        sql.SQL(csv_form.COPY_OPTIONS),
    )
    lines: list[bytes] = []
    size = 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        # The protocol promises a message for each row; it ends in a bare LF.
        for message in copy:
            lines.append(bytes(message[:-1]))
            size += len(message)
            if size >= _PIECE_BYTES:
                yield len(lines), LINE_END.join(lines) + LINE_END
                lines, size = [], 0
    if lines:
        yield len(lines), LINE_END.join(lines) + LINE_END


def parsed(lines: bytes, names: Sequence[str]) -> pa.RecordBatch:
    """Whole lines without a header as texts, NULL told from its like by the quotes."""
    # No row may straddle two blocks.
    read = pacsv.ReadOptions(column_names=list(names), block_size=len(lines) + 1)
    convert = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[NULL],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    table = pacsv.read_csv(BytesIO(lines), read, _READ, convert).combine_chunks()
    [batch] = table.to_batches()
    return batch


def _exactly(table: sql.Identifier, columns: Mapping[str, str]) -> sql.Composed:
    """A query for COPY that keeps all of an XML value, as a backup does."""
    values = [
        sql.SQL("t.{}::pg_catalog.text" if kind == _XML else "t.{}").format(sql.Identifier(name))
        for name, kind in columns.items()
    ]
    return sql.SQL("(SELECT {} FROM ONLY {} AS t)").format(sql.SQL(", ").join(values), table)
