"""Values of every type: what PostgreSQL prints is taken by an import, and typed as it was."""

from collections.abc import Callable, Iterable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.csv.check_stage import Stage
from backup_pipelines.csv.check_values import Readers, read_values
from backup_pipelines.csv.incoming import AskedImport
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.csv_rows import File, facts_of, in_transaction, lay
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.test_types import fill, literal, table_of
from backup_pipelines_tests.type_generators import GENERATED, generated
from backup_pipelines_tests.type_matrix import Variant

MakeDatabase = Callable[[Server], Database]


def unlike(database: Database, tables: Iterable[str], folder: Path) -> list[str]:
    """Tables of id and v whose values, as PostgreSQL prints them, are not taken, or as others."""
    found: list[str] = []
    with in_transaction(database.owner_url) as connection:
        names = [f"public.{name}" for name in tables]
        facts = facts_of(connection, names)
        store = Store((folder / "laid").as_uri())
        readers = Readers(connection)
        asked = AskedImport(folder, Selection())
        for number, name in enumerate(names):
            table = facts[name].table.identifier
            # Its output function drops an XML declaration, its cast to text keeps it.
            is_xml = facts[name].columns[1].column.base_type == "pg_catalog.xml"
            shown = sql.SQL("v::text" if is_xml else "format('%s', v)")
            printed = connection.execute(
                sql.SQL(
                    "SELECT id::text, CASE WHEN num_nulls(v) = 0 THEN {} END AS v"
                    " FROM {} ORDER BY id"
                ).format(shown, table)
            ).fetchall()
            file = File(name, ("id", "v"), [(row["id"], row["v"]) for row in printed])
            stage = Stage(connection, number, lay(store, facts[name], file), asked)
            stage.load(store)
            read_values(stage, readers)
            same = connection.execute(
                sql.SQL(
                    "SELECT count(*) AS n FROM {} AS s JOIN {} AS l ON l.id = s.v0 WHERE"
                    " pg_catalog.record_image_eq(ROW(s.v1), ROW(l.v))"
                ).format(stage.name("rows"), table)
            ).fetchone()
            assert same is not None
            if same["n"] != len(printed) or any(stage.broken):
                noted = connection.execute(
                    sql.SQL(
                        "SELECT t.c1, f.* FROM {} AS f JOIN {} AS t USING (line) LIMIT 3"
                    ).format(stage.name("found"), stage.name("texts"))
                ).fetchall()
                found.append(f"{name}: {len(printed)} values, {same['n']} equal; {noted}")
    return found


def test_every_type_is_taken_as_postgresql_prints_it(
    any_server: Server, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every value of every type is accepted, and typed to the identical one."""
    database = make_database(any_server)
    variants = fill(database)
    assert not unlike(database, map(table_of, variants), tmp_path)


@pytest.mark.parametrize(
    "count", [100, pytest.param(2_000, marks=(pytest.mark.soak, pytest.mark.timeout(3600)))]
)
def test_generated_values_are_taken_as_postgresql_prints_them(
    any_server: Server, make_database: MakeDatabase, tmp_path: Path, count: int
) -> None:
    """Whatever hypothesis finds for the main types is accepted, and typed to the identical one."""
    database = make_database(any_server)
    variants = [Variant(kind, kind, generated(values, count)) for kind, values in GENERATED.items()]
    with psycopg.connect(database.owner_url) as connection:
        for variant in variants:
            table = sql.Identifier(table_of(variant))
            connection.execute(
                f"CREATE TABLE {table_of(variant)} (id int, v {variant.type})".encode()
            )
            for number, value in enumerate(variant.values):
                connection.execute(
                    sql.SQL("INSERT INTO {} VALUES ({}, {})").format(table, number, literal(value))
                )
    assert not unlike(database, map(table_of, variants), tmp_path)
