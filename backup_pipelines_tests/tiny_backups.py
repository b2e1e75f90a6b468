"""Backups made by hand: real objects and a manifest that names them, without a database."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from backup_pipelines import layout
from backup_pipelines.backup_id import BackupType
from backup_pipelines.errors import Failed
from backup_pipelines.exporting import leftovers
from backup_pipelines.manifest import DdlSection, Manifest, Part, Table
from backup_pipelines.settings import RetentionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines_tests.bare_manifest import bare_manifest

START = datetime(2026, 1, 15, 2, tzinfo=UTC)


def system(keep_last: int = 30, floor: int = 1, **retention: Any) -> System:
    """The system crm with this retention."""
    return System(
        system="crm",
        database_url_env="CRM_DATABASE_URL",
        modules={"sales": ModuleSpec(tables=["deals"])},
        retention=RetentionSpec(keep_last=keep_last, floor=floor, **retention),
    )


def tiny_id(number: int, kind: BackupType = "manual") -> str:
    """The id of the backup of that number, one for each day."""
    at = START + timedelta(days=number)
    return f"{at:%Y%m%dT%H%M%SZ}-{kind}-{number:06x}"


def put_backup(
    store: Store,
    number: int,
    *,
    of: str = "crm",
    kind: BackupType = "manual",
    scope: Literal["full", "modules", "tables"] = "full",
    modules: Sequence[str] = ("sales",),
    at: datetime | None = None,
    parts: int = 2,
    shares: Sequence[Part] = (),
    part_bytes: int = 10,
) -> Manifest:
    """A backup of one table with own parts, and parts of other backups that it shares."""
    backup_id, moment = tiny_id(number, kind), at or START + timedelta(days=number)
    leftovers.mark_started(store, of, backup_id, "somebody")
    own: list[Part] = []
    for part in range(parts):
        key = layout.part_key(of, backup_id, "public", "deals", part)
        own.append(_put(store, key, part_bytes))
    ddl = _put(store, layout.schema_key(of, backup_id, "pre-data"), 3)
    held = (*shares, *own)
    table = Table(
        schema="public",
        name="deals",
        module=modules[0] if modules else "other",
        columns=(),
        rows=len(held),
        digest="0" * 16,
        size_bytes=sum(part.size_bytes for part in held),
        source_bytes=0,
        seconds=0,
        parts=held,
    )
    entry = bare_manifest(
        moment,
        id=backup_id,
        system=of,
        type=kind,
        scope=scope,
        modules=tuple(modules),
        tables=(table,),
        ddl=(
            DdlSection(
                section="pre-data",
                key=ddl.key,
                size_bytes=ddl.size_bytes,
                sha256=ddl.sha256,
                objects=(),
            ),
        ),
    )
    store.put_new(layout.manifest_key(of, backup_id), entry.to_json())
    return entry


def _put(store: Store, key: str, size: int) -> Part:
    data = hashlib.sha256(key.encode()).digest() * (size // 32 + 1)
    store.put_new(key, data[:size])
    sha256 = hashlib.sha256(data[:size]).hexdigest()
    return Part(key=key, rows=1, size_bytes=size, sha256=sha256, digest="0" * 16)


def keys(store: Store, of: str = "crm") -> set[str]:
    """Every object in the folders of a system's backups."""
    return {item.key for item in store.objects(layout.backups_prefix(of))}


class Killed(BaseException):
    """The process was killed; nothing catches this."""


class KilledAt(Store):
    """A store whose user is killed before its n-th change (from 0), so after the one before it."""

    def __init__(self, url: str, at: int) -> None:
        super().__init__(url)
        self._left = at

    def put_new(self, key: str, data: bytes) -> None:
        self._change()
        super().put_new(key, data)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._change()
            super().delete([key])

    def _change(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


class Keeping(Store):
    """A store that refuses to remove some objects, as Object Lock or missing rights do."""

    def __init__(self, url: str, kept: Collection[str]) -> None:
        super().__init__(url)
        self.kept = set(kept)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key in self.kept:
                raise Failed(f"the store failed at {self.uri(key)}: AccessDenied")
            super().delete([key])
