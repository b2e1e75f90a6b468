"""The catalog queries: one file each under `sql/`, named for what it returns."""

from functools import cache
from importlib.resources import files
from typing import LiteralString, cast


@cache
def query(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`; it ships with the package, so it is as literal as code."""
    text = (files("backup_pipelines.postgres") / "sql" / f"{name}.sql").read_text("utf-8")
    return cast(LiteralString, text)
