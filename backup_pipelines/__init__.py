"""PostgreSQL backups and restores on Dagster, proved by digest.

The core is free of Dagster, whose import takes seconds; only asking for the component loads it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backup_pipelines.components.postgres_backup import PostgresBackup

__all__ = ["PostgresBackup"]


def __getattr__(name: str) -> object:
    if name == "PostgresBackup":
        from backup_pipelines.components.postgres_backup import PostgresBackup

        return PostgresBackup
    if name == "__version__":
        from importlib.metadata import version

        return version("backup_pipelines")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
