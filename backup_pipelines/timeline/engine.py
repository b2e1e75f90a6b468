"""DuckDB as it is used here: in memory, bounded, without network, extensions or other files."""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from backup_pipelines.errors import Failed
from backup_pipelines.postgres.texts import as_text
from backup_pipelines.timeline.forms import FLOAT_TEXT, literal

if TYPE_CHECKING:
    import duckdb

# Joins and sorts of more go to the private folder. Beside a production server's backup host, or in
# a container of a few GB, a question about a backup must not starve what runs there.
_MEMORY = "2GB"
_THREADS = 4

# DuckDB would take nearly all of the disk otherwise.
_SPILLED = "20GB"


@contextmanager
def connect(folder: Path) -> Generator["duckdb.DuckDBPyConnection"]:
    """A connection whose spilled data, if any, lie in `folder`; Failed where that gets too much."""
    # Its import takes a tenth of a second, which only those pay who ask for it.
    import duckdb

    settings: dict[str, Any] = {
        "temp_directory": str(folder / "spilled"),
        "extension_directory": str(folder / "none"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        # Names of tables must not be taken for those of our own variables.
        "python_enable_replacements": "false",
        "memory_limit": _MEMORY,
        "max_temp_directory_size": _SPILLED,
        "threads": str(min(_THREADS, os.cpu_count() or 1)),
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        _add_float_texts(connection)
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise Failed(
            f"this takes more than the {_MEMORY} of memory and the {_SPILLED} in {folder.parent} "
            "that it may have: ask for less"
        ) from error
    finally:
        connection.close()


def _add_float_texts(connection: Any) -> None:
    for kind, name in FLOAT_TEXT.items():
        # "special": it is called for NULLs as well, and answers as many values as it gets.
        connection.create_function(
            name, _texts, [kind], "VARCHAR", type="arrow", null_handling="special"
        )


def _texts(values: Any) -> pa.Array:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return as_text(whole)


def lock(connection: "duckdb.DuckDBPyConnection", files: Iterable[Path]) -> None:
    """Let the connection read these files and no others from now on, and set nothing any more."""
    listed = ", ".join(literal(str(path)) for path in files)
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
