"""Verifying a backup: every object read back, every Parquet footer compared with the manifest."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from backup_pipelines import layout
from backup_pipelines.ddl_restore import read_section
from backup_pipelines.errors import Damaged
from backup_pipelines.manifest import Manifest, Part, Table
from backup_pipelines.postgres.projection import add_digests
from backup_pipelines.storage.store import Store


@dataclass(frozen=True)
class VerifyResult:
    """What was read and found as the manifest says."""

    backup_id: str
    objects: int
    bytes: int


def verify(store: Store, entry: Manifest, *, report: Callable[[str], None]) -> VerifyResult:
    """Read every byte of a backup; raises Damaged with every object that is not as it was."""
    problems: list[str] = []
    objects = size = 0
    if sorted(section.section for section in entry.ddl) != ["post-data", "pre-data"]:
        problems.append("the manifest does not name the two sections of the DDL")
    for section in entry.ddl:
        try:
            read_section(store, section)
        except Damaged as error:
            problems.append(str(error))
        objects, size = objects + 1, size + section.size_bytes
    for table in entry.tables:
        problems += _table_problems(store, entry, table)
        objects, size = objects + len(table.parts), size + table.size_bytes
        report(f"{table.qualified}: {len(table.parts)} parts read")
    if not objects:
        problems.append("the manifest names no objects, so nothing could be checked")
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise Damaged(f"backup {entry.id} is damaged, do not restore it:\n{listed}")
    return VerifyResult(entry.id, objects, size)


def _table_problems(store: Store, entry: Manifest, table: Table) -> list[str]:
    # An object may lie in an earlier backup of the system, and nowhere else.
    folder = layout.backups_prefix(entry.system)
    problems = [
        f"{part.key}, a part of {table.qualified}, is no object of {entry.system}'s backups"
        for part in table.parts
        if not part.key.startswith(folder)
    ]
    problems += [
        problem
        for part in table.parts
        if part.key.startswith(folder) and (problem := _part_problem(store, table, part))
    ]
    if table.kind == "table" and table.columns:
        if sum(part.rows for part in table.parts) != table.rows:
            problems.append(f"the parts of {table.qualified} do not add up to its rows")
        if add_digests([part.digest for part in table.parts]) != table.digest:
            problems.append(f"the digests of {table.qualified}'s parts do not add up to its own")
    return problems


def _part_problem(store: Store, table: Table, part: Part) -> str:
    name = store.uri(part.key)
    try:
        size, sha256 = store.checksum(part.key)
        if size != part.size_bytes:
            return f"{name} has {size:,} bytes instead of {part.size_bytes:,}"
        if sha256 != part.sha256:
            return f"{name} has other bytes than were written (sha256 {sha256})"
        with pq.ParquetFile(store.open_input(part.key)) as file:
            rows, names = file.metadata.num_rows, file.schema_arrow.names
    except Damaged as error:
        return str(error)
    except (pa.ArrowException, OSError) as error:
        return f"{name} is no readable Parquet file: {error}"
    if rows != part.rows:
        return f"{name} has {rows:,} rows instead of {part.rows:,}"
    if names != [column.name for column in table.columns]:
        return f"{name} has other columns than {table.qualified}"
    return ""
