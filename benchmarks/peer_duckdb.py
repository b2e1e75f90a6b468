"""DuckDB's PostgreSQL scanner to Parquet, run by the interpreter of the peers' environment.

`python peer_duckdb.py URL FOLDER`: every table of the schema public into one file, in one
transaction. It imports nothing of ours.
"""

import sys
from pathlib import Path

import duckdb
import duckdb_extension_postgres_scanner  # pyright: ignore[reportMissingImports]


def main(url: str, folder: Path) -> None:
    """Export all tables."""
    package = Path(str(duckdb_extension_postgres_scanner.__file__)).parent
    (extension,) = package.glob("extensions/*/*.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    quoted = url.replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS source (TYPE postgres, READ_ONLY)")
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables()"
        " WHERE database_name = 'source' AND schema_name = 'public' ORDER BY 1"
    ).fetchall()
    folder.mkdir()
    connection.execute("BEGIN")
    for (name,) in found:
        table, file = name.replace('"', '""'), str(folder / f"{name}.parquet").replace("'", "''")
        connection.execute(
            f"COPY (SELECT * FROM source.public.\"{table}\") TO '{file}'"
            " (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        )
    connection.execute("COMMIT")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
