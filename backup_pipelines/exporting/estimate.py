"""How long a backup may take and how much it may store, before it is taken."""

from dataclasses import dataclass

from backup_pipelines.manifest import Manifest

# Measured on two quiet cores beside the server, digests included, for a table of 1.2 GB.
_BYTES_PER_SECOND = 100 * 10**6
_STORED_SHARE = 0.2

# What each backup does however little there is: connections, DDL, reading back, the manifest.
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Estimate:
    """What a backup may take, and where the figures are from."""

    seconds: float
    stored_bytes: int
    by: str
    """The id of the backup that they are scaled from; empty where there is none."""


def estimate(table_bytes: int, last: Manifest | None = None) -> Estimate:
    """The estimate for tables of so many bytes, TOAST included, by the last full backup if any."""
    source = sum(table.source_bytes for table in last.tables) if last else 0
    if last is None or not source:
        seconds = _LEAST_SECONDS + table_bytes / _BYTES_PER_SECOND
        return Estimate(seconds, round(table_bytes * _STORED_SHARE), "")
    grown = table_bytes / source
    return Estimate(
        max(_LEAST_SECONDS, last.seconds * grown), round(last.size_bytes * grown), last.id
    )
