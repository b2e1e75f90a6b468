"""Every type, value by value: backed up, restored and drilled, and nothing is different."""

import re
from collections.abc import Callable, Iterable
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from backup_pipelines.drill import run_drill
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.writer import to_csv
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.exactness import connect, copied
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, DebianServer, Server
from backup_pipelines_tests.type_generators import GENERATED, generated
from backup_pipelines_tests.type_matrix import EXTENSIONS, SETUP, VARIANTS, Sql, Variant

MakeDatabase = Callable[[Server], Database]


def table_of(variant: Variant) -> str:
    """The name of the table that holds a variant's values."""
    number = VARIANTS.index(variant) if variant in VARIANTS else ""
    return f"v{number}_{re.sub(r'[^a-z0-9]+', '_', variant.name.lower())}"


def literal(value: str) -> sql.Composable:
    """A value as SQL."""
    return sql.SQL(value) if isinstance(value, Sql) else sql.Literal(value)


def fill(database: Database) -> list[Variant]:
    """Create and fill a table for every variant that the server can have; returns those."""
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        major = admin.info.server_version // 10000
        offered = {
            str(name)
            for (name,) in admin.execute("SELECT name FROM pg_available_extensions").fetchall()
        }
        for name in EXTENSIONS:
            if name in offered:
                admin.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
        if _has_xml(admin):
            offered.add("xml")
    chosen = [x for x in VARIANTS if x.since <= major and (not x.needs or x.needs in offered)]
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(SETUP.encode())
        connection.execute("CREATE TABLE pinned ()")
        for variant in chosen:
            _fill_one(connection, variant)
    return chosen


def _has_xml(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        connection.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def _fill_one(connection: psycopg.Connection[tuple[object, ...]], variant: Variant) -> None:
    rows = [sql.SQL("({}, {})").format(n, literal(x)) for n, x in enumerate(variant.values, 1)]
    create = f"CREATE TABLE {table_of(variant)} (id int, v {variant.type});"
    insert = sql.SQL("INSERT INTO {} VALUES {}, (0, NULL)").format(
        sql.Identifier(table_of(variant)), sql.SQL(", ").join(rows)
    )
    try:
        connection.execute(create.encode())
        connection.execute(insert)
    except psycopg.Error as error:
        raise AssertionError(f"{variant.name}: {error}") from error


def differences(
    source: str, restored: str, variants: Iterable[Variant], *, binary: bool = True
) -> list[str]:
    """The variants whose values PostgreSQL itself copies out differently from the two databases."""
    found: list[str] = []
    with connect(source) as ours, connect(restored) as theirs:
        for variant in variants:
            query = sql.SQL("SELECT id, v FROM {} ORDER BY id").format(
                sql.Identifier("public", table_of(variant))
            )
            for how in ("text", "binary") if binary and not variant.own else ("text",):
                if copied(ours, query, how) != copied(theirs, query, how):
                    found.append(f"{variant.name} as {how}")
    return found


def test_every_type_is_restored_and_drilled_exactly(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """Every value of every type is the same after a restore, by COPY's text, by its bytes and by
    the digest."""
    target, source = make_database(any_server), make_database(any_server)
    variants = fill(source)
    sealed = back_up(source.reader_url, store)
    assert run_drill(store, sealed, any_server.url(), report=ignore).rows == _rows(variants)
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert not differences(source.admin_url, target.admin_url, variants)


def test_every_type_is_restored_exactly_on_a_newer_major(
    debian_server: DebianServer, server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A backup of Debian's server drills and restores exactly on the embedded, newer one."""
    source, target = make_database(debian_server), make_database(server)
    variants = fill(source)
    with psycopg.connect(source.owner_url) as connection:
        for variant in variants:
            if variant.needs == "xml":
                connection.execute(f"DROP TABLE {table_of(variant)}".encode())
    variants = [x for x in variants if x.needs != "xml"]
    sealed = back_up(source.reader_url, store)
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert not differences(source.admin_url, target.admin_url, variants)
    assert _digests(back_up(target.reader_url, store)) == _digests(sealed)


@pytest.mark.parametrize(
    "count", [100, pytest.param(2_000, marks=(pytest.mark.soak, pytest.mark.timeout(3600)))]
)
def test_generated_values_are_restored_exactly(
    any_server: Server, make_database: MakeDatabase, store: Store, count: int
) -> None:
    """Whatever values hypothesis finds for the main types come back as they were."""
    target, source = make_database(any_server), make_database(any_server)
    variants = tuple(
        Variant(kind, kind, generated(values, count)) for kind, values in GENERATED.items()
    )
    with psycopg.connect(source.owner_url) as connection:
        for variant in variants:
            _fill_one(connection, variant)
    sealed = back_up(source.reader_url, store)
    restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert not differences(source.admin_url, target.admin_url, variants)
    assert _digests(back_up(target.reader_url, store)) == _digests(sealed)


def test_slices_are_written_as_what_they_show() -> None:
    """The CSV of a part of a batch is that of its rows alone, in every kind of buffer."""
    columns: dict[str, list[object]] = {
        "data": [b"\0", None, b"", b"\xff" * 40, None, b"abc"],
        "text": ["a", None, "", '"', "\n", "NULL"],
        "id": [UUID(int=n).bytes if n % 2 else None for n in range(6)],
    }
    kinds = {"data": pa.binary(), "text": pa.string(), "id": pa.binary(16)}
    arrays = [pa.array(values, kinds[name]) for name, values in columns.items()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    lines = [to_csv(batch.slice(n, 1)) for n in range(6)]
    assert lines[0] == b'"\\x00","a",\n'
    assert lines[1] == f',,"{UUID(int=1).hex}"\n'.encode()
    assert to_csv(batch.slice(2, 3)) == b"".join(lines[2:5])


def _rows(variants: Iterable[Variant]) -> int:
    return sum(len(variant.values) + 1 for variant in variants)


def _digests(sealed: Manifest) -> dict[str, str]:
    return {table.qualified: table.digest for table in sealed.tables}
