"""The DDL of a backup: pg_dump's two sections into the store, with the hash of every object."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from backup_pipelines import layout
from backup_pipelines.manifest import DdlObject, DdlSection
from backup_pipelines.postgres import ddl
from backup_pipelines.postgres.pg_dump import dump_section
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.reading import read_back
from backup_pipelines.storage.store import Store

Section = Literal["pre-data", "post-data"]


def back_up_ddl(
    store: Store,
    system: str,
    backup_id: str,
    url: str,
    snapshot: str,
    schemas: Sequence[str],
    pg_dump: Path,
    recipients: Recipients | None,
    doing: str = "",
) -> tuple[DdlSection, ...]:
    """Both sections of the DDL as it is in the snapshot, each read back from the store.

    They are read one after the other, by one connection at a time.
    """
    sections: tuple[Section, ...] = ("pre-data", "post-data")
    found: list[DdlSection] = []
    for section in sections:
        text = dump_section(
            url, section, program=pg_dump, snapshot=snapshot, schemas=schemas, doing=doing
        )
        key = layout.schema_key(system, backup_id, section, encrypted=recipients is not None)
        found.append(_stored(store, key, section, text, recipients))
    return tuple(found)


def owners_in(sections: Sequence[DdlSection]) -> set[str]:
    """The owners that the DDL names."""
    owners = {entry.owner for section in sections for entry in section.objects}
    return owners - {"", "-"}


def objects_of(text: str) -> tuple[DdlObject, ...]:
    """Every object of a section with the hash of its statements."""
    return tuple(
        DdlObject(
            type=entry.type,
            schema=entry.schema,
            name=entry.name,
            owner=entry.owner,
            sha256=entry.sha256,
        )
        for entry in ddl.split(text)
    )


def _stored(
    store: Store, key: str, section: Section, text: str, recipients: Recipients | None
) -> DdlSection:
    data = recipients.encrypt(text.encode()) if recipients else text.encode()
    store.put_new(key, data)
    checksum = hashlib.sha256(data).hexdigest()
    read_back(store, key, len(data), checksum)
    return DdlSection(
        section=section,
        key=key,
        size_bytes=len(data),
        sha256=checksum,
        objects=objects_of(text),
    )
