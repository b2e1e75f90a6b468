"""A live table of which a test says only what matters to it."""

from typing import Any

from backup_pipelines.postgres.introspect import LiveTable


def bare_table(**fields: Any) -> LiveTable:
    """An empty ordinary table `public.t` that this role may read, but for these fields."""
    known: dict[str, Any] = {
        "oid": 1,
        "schema": "public",
        "name": "t",
        "kind": "r",
        "partition_of": None,
        "inherits": (),
        "row_security": False,
        "force_row_security": False,
        "may_use_schema": True,
        "may_select": True,
        "rows_hidden": False,
        "heap_bytes": 0,
        "table_bytes": 0,
    }
    return LiveTable(**{**known, **fields})
