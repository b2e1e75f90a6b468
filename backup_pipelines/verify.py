"""Verifying a backup: every object read back, what is in it compared with the manifest."""

from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain

from backup_pipelines import catalog, encryption, layout, shared_damage, state_log
from backup_pipelines.cluster import Cluster
from backup_pipelines.errors import Damaged, Refused
from backup_pipelines.exporting import attempts
from backup_pipelines.manifest import (
    DIGEST_VERSION,
    DdlSection,
    Document,
    Manifest,
    Part,
    Table,
    format_version_of,
)
from backup_pipelines.pace import Amount
from backup_pipelines.postgres import ddl
from backup_pipelines.postgres.part_contents import content_problem
from backup_pipelines.postgres.projection import add_digests, to_digest
from backup_pipelines.progress import Meter
from backup_pipelines.restoring.ddl_restore import read_bytes, read_section
from backup_pipelines.storage import age
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


def verify(
    store: Store,
    entry: Manifest,
    *,
    report: Callable[[str], None],
    workers: Executor | None = None,
) -> VerifyResult:
    """Read every byte of a backup; raises Damaged with every object that is not as it was.

    The parts are read one after the other, or as tasks of the `workers`.
    Of an encrypted backup that no identity here opens, the bytes are compared and nothing inside.
    What reads rows or DDL of a backup calls this first, so that nothing is done with half of it.
    """
    found = _inspected(store, entry, report, workers)
    if found.problems:
        raise Damaged(found.in_words)
    return found.result


@dataclass(frozen=True)
class _Inspected:
    """What has come of reading a backup."""

    result: VerifyResult
    problems: list[str]
    wrong: list[tuple[Part, str]]
    """The parts that are damaged, which other backups may name too."""

    @property
    def in_words(self) -> str:
        listed = "\n".join(f"- {problem}" for problem in self.problems)
        return f"backup {self.result.backup_id} is damaged, do not restore it:\n{listed}"


def _inspected(
    store: Store, entry: Manifest, report: Callable[[str], None], workers: Executor | None
) -> _Inspected:
    problems = _manifest_problems(store, entry)
    try:
        opened = encryption.is_opened(entry)
    except Damaged as error:
        problems, opened = [*problems, str(error)], False
    objects = sum(1 for _ in entry.objects)
    hurt: list[str] = []
    wrong: list[tuple[Part, str]] = []
    total = Amount(entry.records_count, entry.size_bytes)
    with (
        Meter(f"{entry.system}: verifying", report, total) as meter,
        _looking(store, entry, workers, opened=opened) as look_at,
    ):
        for section in entry.ddl:
            if _is_ours(entry, section.key):
                problems += _section_problems(store, section, hurt, opened=opened)
            meter.add(bytes=section.size_bytes)
        for document in entry.documents:
            look = partial(_document_problems, store, entry, document)
            problems += _confirmed(look, hurt)
            meter.add(bytes=document.size_bytes)
        for table in entry.tables:
            problems += _table_problems(entry, table, hurt, wrong, meter, look_at)
    for line in hurt:
        report(line)
    if not objects:
        problems.append("the manifest names no objects, so nothing could be checked")
    result = VerifyResult(entry.id, objects, entry.size_bytes, opened, tuple(hurt))
    return _Inspected(result, problems, wrong)


def check(
    store: Store,
    entry: Manifest,
    *,
    report: Callable[[str], None],
    operator: str = "",
    now: datetime | None = None,
    workers: Executor | None = None,
) -> VerifyResult:
    """Verify a backup and remember in the store how it ended; raises what `verify` raises.

    What is damaged is remembered of every backup that names it, whichever was read. A store that
    cannot be read says nothing about the backup, and nothing is remembered of it.
    """
    found = _inspected(store, entry, report, workers)
    if not found.problems:
        remember(store, entry, None, operator=operator, now=now)
        return found.result
    remember(store, entry, found.in_words, operator=operator, now=now)
    others = shared_damage.remember_in_others(
        store, entry.system, found.wrong, read_for=entry.id, operator=operator, now=now
    )
    raise Damaged("\n".join(filter(None, (found.in_words, others))))


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


_Look = Callable[[Table, Part], tuple[list[str], list[str]]]
"""What is wrong with a part, and what only seemed to be."""


@contextmanager
def _looking(
    store: Store, entry: Manifest, workers: Executor | None, *, opened: bool
) -> Generator[_Look]:
    """How parts are looked at: here when asked, or by workers that have all been asked already."""
    if workers is None:
        yield lambda table, part: _looked_at(store, table, part, opened, None)
        return
    if isinstance(workers, Cluster):
        manifest = layout.manifest_key(entry.system, entry.id)
        workers.refuse_unfit(attempts.unseen, store, manifest)
    asked: dict[int, Future[tuple[list[str], list[str]]]] = {}
    check = entry.encryption
    for table in entry.tables:
        # A task is about one part, and need not carry the others.
        alone = table.model_copy(update={"parts": ()})
        for part in table.parts:
            if _is_ours(entry, part.key):
                key = (check.key_check, entry.id) if check and opened else None
                asked[id(part)] = workers.submit(_looked_at, store, alone, part, opened, key)

    def look_twice(table: Table, part: Part) -> tuple[list[str], list[str]]:
        problems, hurt = asked[id(part)].result()
        if not problems:
            return problems, hurt
        # A worker that came later may see another folder, and must not brand a backup.
        again, _ = _looked_at(store, table, part, opened, None)
        if not again:
            hurt = [*hurt, *(f"{problem}; {WHOLE_NOW}" for problem in problems)]
        return again, hurt

    try:
        yield look_twice
    finally:
        for future in asked.values():
            future.cancel()


def _looked_at(
    store: Store, table: Table, part: Part, opened: bool, check: tuple[str, str] | None
) -> tuple[list[str], list[str]]:
    """One part; `check` is by what a worker elsewhere tells whether it has the identity."""
    if check is not None and not age.opens(*check):
        raise Refused(
            f"a worker of the cluster cannot open backup {check[1]}: set "
            f"{age.BACKUP_AGE_IDENTITY} on every worker as here"
        )
    hurt: list[str] = []
    return _confirmed(partial(_part_problems, store, table, part, opened), hurt), hurt


def _table_problems(
    entry: Manifest,
    table: Table,
    hurt: list[str],
    wrong: list[tuple[Part, str]],
    meter: Meter,
    look: _Look,
) -> list[str]:
    problems = [
        f"{part.key}, a part of {table.qualified}, is no object of {entry.system}'s backups"
        for part in table.parts
        if not _is_ours(entry, part.key)
    ]
    for part in table.parts:
        if _is_ours(entry, part.key):
            found, seeming = look(table, part)
            problems += found
            hurt += seeming
            wrong += [(part, problem) for problem in found]
        meter.add(part.rows, part.size_bytes, what=table.qualified)
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
