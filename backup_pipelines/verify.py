"""Verifying a backup: every object read back, what is in it compared with the manifest."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain

from backup_pipelines import catalog, encryption, layout, state_log
from backup_pipelines.errors import Damaged
from backup_pipelines.manifest import (
    DIGEST_VERSION,
    DdlSection,
    Document,
    Manifest,
    Part,
    Table,
    format_version_of,
)
from backup_pipelines.postgres import ddl
from backup_pipelines.postgres.part_contents import content_problem
from backup_pipelines.postgres.projection import add_digests, to_digest
from backup_pipelines.restoring.ddl_restore import read_bytes, read_section
from backup_pipelines.storage.age import NotOpened
from backup_pipelines.storage.reading import WHOLE_NOW, read_again
from backup_pipelines.storage.store import Store


@dataclass(frozen=True)
class VerifyResult:
    """What was read and found as the manifest says."""

    backup_id: str
    objects: int
    bytes: int
    opened: bool = True
    """False when every byte is as written, but no identity here could look inside."""
    read_again: tuple[str, ...] = ()
    """What looked damaged at first and was whole when it was read once more."""


def verify(store: Store, entry: Manifest, *, report: Callable[[str], None]) -> VerifyResult:
    """Read every byte of a backup; raises Damaged with every object that is not as it was.

    Of an encrypted backup that no identity here opens, the bytes are compared and nothing inside.
    What reads rows or DDL of a backup calls this first, so that nothing is done with half of it.
    """
    problems = _manifest_problems(store, entry)
    try:
        opened = encryption.is_opened(entry)
    except Damaged as error:
        problems, opened = [*problems, str(error)], False
    objects = size = 0
    hurt: list[str] = []
    for section in entry.ddl:
        if _is_ours(entry, section.key):
            problems += _section_problems(store, section, hurt, opened=opened)
        objects, size = objects + 1, size + section.size_bytes
    for document in entry.documents:
        look = partial(_document_problems, store, entry, document)
        problems += _confirmed(look, hurt)
        objects, size = objects + 1, size + document.size_bytes
    for table in entry.tables:
        problems += _table_problems(store, entry, table, hurt, opened=opened)
        objects, size = objects + len(table.parts), size + table.size_bytes
        report(f"{table.qualified}: {len(table.parts)} parts read")
    for line in hurt:
        report(line)
    if not objects:
        problems.append("the manifest names no objects, so nothing could be checked")
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise Damaged(f"backup {entry.id} is damaged, do not restore it:\n{listed}")
    return VerifyResult(entry.id, objects, size, opened, tuple(hurt))


def check(
    store: Store,
    entry: Manifest,
    *,
    report: Callable[[str], None],
    operator: str = "",
    now: datetime | None = None,
) -> VerifyResult:
    """Verify a backup and remember in the store how it ended; raises what `verify` raises.

    A store that cannot be read says nothing about the backup, and nothing is remembered of it.
    """
    try:
        result = verify(store, entry, report=report)
    except Damaged as error:
        remember(store, entry, str(error), operator=operator, now=now)
        raise
    remember(store, entry, None, operator=operator, now=now)
    return result


def remember(
    store: Store,
    entry: Manifest,
    problem: str | None,
    *,
    operator: str = "",
    now: datetime | None = None,
) -> None:
    """Write what is wrong with a backup, or that nothing is: the catalog's status from now on."""
    state = catalog.INTACT if problem is None else catalog.DAMAGED
    content = {"operator": operator, "message": problem or ""}
    state_log.append(store, entry.system, "verifications", entry.id, state, content, now=now)


def damaged(store: Store, system: str) -> dict[str, datetime]:
    """Ids of the backups last found damaged, and when that was."""
    return dict(catalog.states(store, system).damaged)


def _manifest_problems(store: Store, entry: Manifest) -> list[str]:
    """What the manifest says that no manifest of a backup says."""
    problems: list[str] = []
    if entry.digest_version != DIGEST_VERSION:
        problems.append(
            f"its digests are of version {entry.digest_version}, which cannot be compared with "
            f"those of version {DIGEST_VERSION}"
        )
    meant = format_version_of(entry.tables)
    if entry.format_version != meant:
        problems.append(
            f"the manifest says format version {entry.format_version}, its parts are of {meant}"
        )
    if sorted(section.section for section in entry.ddl) != ["post-data", "pre-data"]:
        problems.append("the manifest does not name the two sections of the DDL")
    names = [table.qualified for table in entry.tables]
    problems += [f"the manifest names {name} twice" for name in _repeated(names)]
    parts = chain.from_iterable(table.parts for table in entry.tables)
    rows_and_ddl = [*(section.key for section in entry.ddl), *(part.key for part in parts)]
    keys = [*rows_and_ddl, *(document.key for document in entry.documents)]
    problems += [f"the manifest names {store.uri(key)} twice" for key in _repeated(keys)]
    problems += [
        f"{section.key}, a section of the DDL, is no object of {entry.system}'s backups"
        for section in entry.ddl
        if not _is_ours(entry, section.key)
    ]
    problems += [
        f"{store.uri(key)} and the manifest do not agree whether it is encrypted"
        for key in rows_and_ddl
        if layout.is_encrypted(key) != (entry.encryption is not None)
    ]
    return problems + _without_ddl(entry)


def _without_ddl(entry: Manifest) -> list[str]:
    """What an empty database would not have when its rows or positions come."""
    made = {(o.type, o.schema_name, o.name) for section in entry.ddl for o in section.objects}
    needed = [
        *(("TABLE", table.schema_name, table.name) for table in entry.tables),
        *(("SEQUENCE", one.schema_name, one.name) for one in entry.sequences),
        *(("MATERIALIZED VIEW", view.schema_name, view.name) for view in entry.materialized_views),
    ]
    return [
        f"the DDL does not create {kind.lower()} {schema}.{name}"
        for kind, schema, name in needed
        if (kind, ddl.announced(schema), ddl.announced(name)) not in made
    ]


def _repeated(names: list[str]) -> list[str]:
    return sorted(name for name, times in Counter(names).items() if times > 1)


def _is_ours(entry: Manifest, key: str) -> bool:
    # An object may lie in an earlier backup of the system, and nowhere else.
    inside = key.startswith(layout.backups_prefix(entry.system))
    return inside and not {"", ".", ".."} & set(key.split("/"))


def _section_problems(
    store: Store, section: DdlSection, hurt: list[str], *, opened: bool
) -> list[str]:
    try:
        read_again(partial(read_section if opened else read_bytes, store, section), hurt.append)
    except Damaged as error:
        return [str(error)]
    except NotOpened:
        return [_not_opened(store, section.key)]
    return []


def _document_problems(store: Store, entry: Manifest, document: Document) -> list[str]:
    if not _is_ours(entry, document.key):
        return [f"{document.key}, a document, is no object of {entry.system}'s backups"]
    try:
        same = store.checksum(document.key) == (document.size_bytes, document.sha256)
    except Damaged as error:
        return [str(error)]
    return [] if same else [f"{store.uri(document.key)} has other bytes than were written"]


def _not_opened(store: Store, key: str) -> str:
    return f"{store.uri(key)} is encrypted to others than its backup says"


def _confirmed(look: Callable[[], list[str]], hurt: list[str]) -> list[str]:
    """What is found twice: an answer that was hurt on its way must not brand a backup."""
    problems = look()
    if not problems:
        return []
    again = look()
    if not again:
        hurt += [f"{problem}; {WHOLE_NOW}" for problem in problems]
    return again


def _table_problems(
    store: Store, entry: Manifest, table: Table, hurt: list[str], *, opened: bool
) -> list[str]:
    problems = [
        f"{part.key}, a part of {table.qualified}, is no object of {entry.system}'s backups"
        for part in table.parts
        if not _is_ours(entry, part.key)
    ]
    for part in table.parts:
        if _is_ours(entry, part.key):
            problems += _confirmed(partial(_part_problems, store, table, part, opened), hurt)
    return problems + _sum_problems(table)


def _sum_problems(table: Table) -> list[str]:
    """What a table and its parts say that does not fit together."""
    problems: list[str] = []
    if sum(part.size_bytes for part in table.parts) != table.size_bytes:
        problems.append(f"the parts of {table.qualified} do not add up to its bytes")
    if table.kind == "partitioned":
        if table.parts or (table.rows, table.digest) != (0, to_digest(0)):
            problems.append(f"{table.qualified} is partitioned and yet has rows of its own")
    elif table.columns:
        if not table.parts:
            problems.append(f"{table.qualified} has no part, which even one without rows has")
        if sum(part.rows for part in table.parts) != table.rows:
            problems.append(f"the parts of {table.qualified} do not add up to its rows")
        if add_digests([part.digest for part in table.parts]) != table.digest:
            problems.append(f"the digests of {table.qualified}'s parts do not add up to its own")
    elif table.parts:
        problems.append(f"{table.qualified} has no columns and yet has parts")
    return problems


def _part_problems(store: Store, table: Table, part: Part, opened: bool) -> list[str]:
    problem = _part_problem(store, table, part, opened)
    return [problem] if problem else []


def _part_problem(store: Store, table: Table, part: Part, opened: bool) -> str:
    name = store.uri(part.key)
    try:
        size, sha256 = store.checksum(part.key)
        if size != part.size_bytes:
            return f"{name} has {size:,} bytes instead of {part.size_bytes:,}"
        if sha256 != part.sha256:
            return f"{name} has other bytes than were written (sha256 {sha256})"
        return content_problem(store, table, part) if opened else ""
    except NotOpened:
        return _not_opened(store, part.key)
    except Damaged as error:
        return str(error)
