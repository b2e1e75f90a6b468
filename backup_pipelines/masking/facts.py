"""What a masking policy is held against: the tables of a backup, or those of a live database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from backup_pipelines.csv import form as csv_form
from backup_pipelines.manifest import ForeignKey, Manifest
from backup_pipelines.masking.uniques import Uniques, uniques
from backup_pipelines.modules import assign
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import list_foreign_keys, list_tables, with_columns
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring.ddl_restore import read_section
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System


class Column(csv_form.Column, Protocol):
    """What both a live column and a backup's know of themselves."""

    @property
    def base_type(self) -> str:
        """The same with its schema and without domains."""
        ...

    @property
    def not_null(self) -> bool:
        """Whether it takes no NULL."""
        ...


@dataclass(frozen=True)
class TableFacts:
    """One table, ordinary or partitioned; partitions have none of their own."""

    columns: Mapping[str, Column]
    inherits: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Tables with what binds their columns."""

    what: str
    """Of what they are, for people."""
    tables: Mapping[str, TableFacts]
    partitions: Mapping[str, str]
    """Each partition with its root."""
    without_rows: frozenset[str]
    """Tables that are known, and whose rows are not in there."""
    foreign_keys: tuple[ForeignKey, ...]
    uniques: Uniques


def facts_of_backup(store: Store, entry: Manifest) -> Facts:
    """What manifest and DDL say; raises Damaged for DDL that is not the manifest's."""
    held = {t.qualified: t for t in entry.tables if t.partition_of is None}
    known = {
        f"{one.schema_name}.{one.name}"
        for section in entry.ddl
        for one in section.objects
        if one.type == "TABLE"
    }
    definitions = [
        statement
        for section in entry.ddl
        if section.section == "post-data"
        for one in read_section(store, section)
        for statement in one.statements
        if one.type == "CONSTRAINT" or statement.startswith("CREATE UNIQUE INDEX ")
    ]
    partitions = {t.qualified: t.partition_of for t in entry.tables if t.partition_of}
    return Facts(
        what=f"backup {entry.id}",
        tables={
            name: TableFacts({c.name: c for c in table.columns}, table.inherits)
            for name, table in held.items()
        },
        partitions=partitions,
        without_rows=frozenset(known - set(held) - set(partitions)),
        foreign_keys=entry.foreign_keys,
        uniques=uniques(definitions),
    )


def facts_of_live(connection: Connection, system: System) -> Facts:
    """What the database's catalog says, in the connection's transaction."""
    found = with_columns(connection, list_tables(connection, system.schemas))
    roots = {table.qualified: table for table in found if table.partition_of is None}
    excluded = {one.name for one in assign(system, roots).excluded}
    rows = connection.execute(query("unique_definitions")).fetchall()
    return Facts(
        what=f"the database of {system.system}",
        tables={
            name: TableFacts({c.name: c for c in table.columns}, table.inherits)
            for name, table in roots.items()
            if name not in excluded
        },
        partitions={t.qualified: t.partition_of for t in found if t.partition_of},
        without_rows=frozenset(excluded),
        foreign_keys=tuple(list_foreign_keys(connection)),
        uniques=uniques(row["definition"] for row in rows),
    )
