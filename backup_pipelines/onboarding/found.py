"""What the catalog of a database says, read in one moment for `init`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import psycopg

from backup_pipelines.errors import Failed
from backup_pipelines.manifest import Excluded
from backup_pipelines.onboarding.table_facts import Reference, TableFacts
from backup_pipelines.postgres import introspect
from backup_pipelines.postgres.connection import (
    Connection,
    Server,
    connected,
    describe,
    refuse_unsuitable,
)
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query

Host = Literal["plain", "supabase", "rds"]
"""Who runs the server, as far as that changes what a role may be given there."""

READER = "backup_reader"
"""The role that is proposed for backups."""


@dataclass(frozen=True)
class Found:
    """What the catalog says of a database, partitions included."""

    server: Server
    tables: tuple[LiveTable, ...]
    unlogged: frozenset[int]
    writable: frozenset[int]  # to the role that looks
    owners: Mapping[int, str]
    references: tuple[Reference, ...]
    left_out: tuple[Excluded, ...]
    unreadable_sequences: tuple[str, ...]  # their schemas
    host: Host
    has_reader: bool  # a role that is called as the one that is proposed

    @property
    def roots(self) -> list[LiveTable]:
        """The tables that people mean."""
        return [table for table in self.tables if table.partition_of is None]

    def facts(self) -> list[TableFacts]:
        """The roots as proposals see them, each with the size of all its partitions."""
        sizes: dict[str, int] = {}
        for table in self.tables:
            sizes[table.root] = sizes.get(table.root, 0) + table.table_bytes
        return [TableFacts(t.schema, t.name, sizes[t.qualified], t.primary_key) for t in self.roots]


def read_database(url: str, system: str) -> Found:
    """What the catalog says of the database, in one moment; needs no right but to connect."""
    with connected(url, what=f"the database of {system}", doing=f"init {system}") as connection:
        # In SQL_ASCII, to be refused below, names would come as bytes.
        connection.execute("SET client_encoding TO 'UTF8'")
        server = describe(connection)
        refuse_unsuitable(server, url, connection)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            with connection.transaction():
                return _read(connection, server)
        except psycopg.Error as error:
            raise Failed(f"cannot read the catalog of {server.database}: {error}") from error


def _read(connection: Connection, server: Server) -> Found:
    listed = introspect.list_tables(connection)
    oids = {"oids": [table.oid for table in listed]}
    traits = {row["oid"]: row for row in connection.execute(query("table_traits"), oids)}
    tables = tuple(_with_traits(table, traits[table.oid]) for table in listed)
    roots = {table.qualified: table.root for table in tables}
    host = connection.execute(query("host"), {"reader": READER}).fetchone()
    assert host is not None
    return Found(
        server=server,
        tables=tables,
        unlogged=frozenset(oid for oid, row in traits.items() if row["unlogged"]),
        writable=frozenset(oid for oid, row in traits.items() if row["may_write"]),
        owners={oid: row["owner"] for oid, row in traits.items()},
        references=tuple(
            Reference(
                table=roots.get(key.table, key.table),
                references=roots.get(key.references, key.references),
                columns=key.columns,
                cascades=key.on_delete == "c",
            )
            for key in introspect.list_foreign_keys(connection)
        ),
        left_out=tuple(introspect.list_left_out(connection)),
        unreadable_sequences=tuple(
            sorted(
                {
                    row["schema"]
                    for row in connection.execute(query("sequences"))
                    if not row["may_select"]
                }
            )
        ),
        **host,
    )


def _with_traits(table: LiveTable, traits: Mapping[str, Any]) -> LiveTable:
    # Asked of tables too that the role may not read yet: the GRANT alone would not be enough.
    return replace(
        table, rows_hidden=traits["rows_hidden"], primary_key=tuple(traits["primary_key"])
    )
