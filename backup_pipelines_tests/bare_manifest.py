"""A manifest of which a test says only what matters to it."""

from datetime import datetime
from typing import Any

from backup_pipelines.backup_id import BackupId
from backup_pipelines.manifest import Manifest


def bare_manifest(at: datetime, **fields: Any) -> Manifest:
    """A full manual backup of crm without tables, taken at this time, but for these fields."""
    known = {"type": "manual", **fields}
    return Manifest.model_validate(
        {
            "tool_version": "1",
            "id": str(BackupId.new(known["type"], at)),
            "system": "crm",
            "scope": "full",
            "modules": ("sales",),
            "created_by": "somebody",
            "started_at": at,
            "snapshot_at": at,
            "created_at": at,
            "server_version": 180006,
            "database": "crm",
            "tables": (),
            "foreign_keys": (),
            "sequences": (),
            "materialized_views": (),
            "ddl": (),
            "roles": (),
            **known,
        }
    )
