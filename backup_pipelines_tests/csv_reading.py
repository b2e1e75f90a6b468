"""Reading the product's CSV files without the product: by PostgreSQL's own COPY."""

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql


def copied_as_csv(connection: psycopg.Connection[Any], query: str) -> bytes:
    """What PostgreSQL itself prints of a query's rows, with all quotes and our NULL."""
    statement = rf"COPY ({query}) TO STDOUT (FORMAT csv, NULL '\N', FORCE_QUOTE *)".encode()
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        return b"".join(bytes(row)[:-1] + b"\r\n" for row in copy)


def load_csv(
    connection: psycopg.Connection[Any], table: str, columns: list[str], file: Path
) -> None:
    """Load a file into a table by PostgreSQL's COPY, as people can by psql."""
    statement = sql.SQL(
        r"COPY {} ({}) FROM STDIN (FORMAT csv, HEADER, NULL '\N', ENCODING 'UTF8')"
    ).format(sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns)))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(file.read_bytes())
