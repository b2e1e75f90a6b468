"""Taking a backup: what is in it, in how many pieces, and what a failure leaves."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines import backup, catalog
from backup_pipelines.backup import EntryDone, SchemaDone, take_backup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Failed
from backup_pipelines.exporting import ddl_backup, export
from backup_pipelines.exporting.export import pieces
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import adbc, reader
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines.verify import verify
from backup_pipelines_tests.bare_table import bare_table
from backup_pipelines_tests.fix_backup import back_up, ignore, request_for, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from benchmarks import memory

MakeDatabase = Callable[[Server], Database]

_ITEMS = "CREATE TABLE items (id int PRIMARY KEY, name text, filler text)"
_FILL = (
    "INSERT INTO items SELECT g, 'n' || g, repeat(md5(g::text), 8) FROM generate_series(1, {}) g"
)


def keys(store: Store) -> set[str]:
    """Every object of the store."""
    return {found.key for found in store.objects("")}


def files(folder: Path) -> list[Path]:
    """Every file of a store on disk, also those that no listing shows."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of more than 256 KB are read in several ranges."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 256 * 1024)


def test_a_backup_drills_equal_on_every_server(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A backup restored into a scratch database has the same rows and digests."""
    database = make_database(any_server)
    database.run(_ITEMS, _FILL.format(100))
    sealed = back_up(database.reader_url, store)
    assert run_drill(store, sealed, any_server.url(), report=ignore).rows == 100


def test_what_is_yielded(server: EmbeddedServer, make_database: MakeDatabase, store: Store) -> None:
    """Each entry comes once, whole; then the schema; last the manifest with all of it."""
    database = make_database(server)
    database.run(
        "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (2)",
        "CREATE TABLE b_1 (); INSERT INTO b_1 DEFAULT VALUES",
        "CREATE TABLE b_2 (id int) PARTITION BY LIST (id)",
        "CREATE TABLE b_2_one PARTITION OF b_2 FOR VALUES IN (1); INSERT INTO b_2 VALUES (1)",
        "CREATE TABLE c (id int)",
    )
    system = System(
        system="sample",
        database_url_env="X",
        modules={"one": ModuleSpec(tables=["a", "b_*"]), "none": ModuleSpec(tables=["zz*"])},
    )
    *entries, schema, sealed = take_backup(request_for(system), database.reader_url, store)
    assert all(isinstance(item, EntryDone) for item in entries)
    done = {item.entry.name: item.tables for item in entries if isinstance(item, EntryDone)}
    found = {name: [(t.qualified, t.rows) for t in tables] for name, tables in done.items()}
    assert found == {
        "public.a": [("public.a", 2)],
        "one": [("public.b_1", 1), ("public.b_2", 0), ("public.b_2_one", 1)],
        "none": [],
        "other": [("public.c", 0)],
    }
    assert isinstance(schema, SchemaDone)
    assert isinstance(sealed, Manifest)
    assert {t.qualified for t in sealed.tables} == {t.qualified for ts in done.values() for t in ts}
    assert (sealed.scope, sealed.tables_count, sealed.records_count) == ("full", 4, 4)
    named = {part.key for table in sealed.tables for part in table.parts}
    named |= {one.key for one in (*sealed.ddl, *sealed.documents)}
    assert {key.rpartition("/")[2] for key in named} > {"RECOVERY.md", "restore.py"}
    folder = f"sample/backups/{sealed.id}/"
    assert keys(store) == named | {folder + "manifest.json", folder + "started.json"}


@given(
    heap_pages=st.integers(0, 100_000),
    toast_bytes=st.integers(0, 10**12),
    block_size=st.sampled_from([8192, 32768]),
    first=st.integers(0, 7),
)
def test_pieces_cover_every_page_once(
    heap_pages: int, toast_bytes: int, block_size: int, first: int
) -> None:
    """Pieces are numbered from the first, adjoin, begin at page 0, and the last is open-ended."""
    heap = heap_pages * block_size
    found = pieces(bare_table(heap_bytes=heap, table_bytes=heap + toast_bytes), block_size, first)
    assert [piece.number for piece in found] == list(range(first, first + len(found)))
    if len(found) == 1 and found[0].pages is None:
        return
    ranges = [piece.pages for piece in found if piece.pages is not None]
    assert len(ranges) == len(found)
    assert ranges[0][0] == 0
    assert ranges[-1][1] is None
    assert all(one[1] == other[0] for one, other in pairwise(ranges))
    assert all(end is None or start < end for start, end in ranges)


def test_one_piece_or_many_is_the_same_content(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that is read in many ranges has the digest that it has in one piece, and drills."""
    database = make_database(server)
    database.run(_ITEMS, _FILL.format(9000), "DELETE FROM items WHERE id % 3 = 0")
    whole = back_up(database.reader_url, store).tables[0]
    monkeypatch.setattr(export, "_PIECE_BYTES", 100_000)
    sealed = back_up(database.reader_url, store)
    table = sealed.tables[0]
    assert len(whole.parts) == 1
    assert len(table.parts) > 20
    assert (table.rows, table.digest) == (whole.rows, whole.digest) == (6000, whole.digest)
    assert run_drill(store, sealed, server.url(), report=ignore).rows == 6000


@pytest.mark.usefixtures("many_pieces")
def test_values_out_of_range_leave_no_orphans(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that is read once more as text leaves no object that its manifest does not name."""
    # Several parts to a piece, so that some are finished when the odd value comes.
    monkeypatch.setattr(reader, "_PART_BYTES", 10_000)
    monkeypatch.setattr(adbc, "_BATCH_BYTES", 20_000)
    database = make_database(server)
    database.run(
        "CREATE TABLE events (id int, at timestamptz, day date, note text)",
        "INSERT INTO events SELECT g, now(), '2020-01-01', md5(g::text) || md5((g + 1)::text) "
        "FROM generate_series(1, 12000) g",
        "INSERT INTO events VALUES (0, 'infinity', '2020-01-01', '')",
        "INSERT INTO events VALUES (-1, now(), '-infinity', '')",
    )
    sealed = back_up(database.reader_url, store)
    table = sealed.tables[0]
    encodings = {column.name: column.encoding for column in table.columns}
    assert encodings == {"id": "native", "at": "text", "day": "text", "note": "native"}
    assert table.rows == 12_002
    named = {part.key for part in table.parts}
    assert {key for key in keys(store) if "/data/" in key} == named
    verify(store, sealed, report=ignore)
    assert run_drill(store, sealed, server.url(), report=ignore).rows == 12_002


def test_an_executor_of_the_callers(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the caller's executor nothing is written any more once a backup was abandoned."""
    real, dumped = ddl_backup.dump_section, threading.Event()

    def late(*arguments: Any, **options: Any) -> str:
        text = real(*arguments, **options)
        dumped.set()
        time.sleep(0.3)
        return text

    monkeypatch.setattr(ddl_backup, "dump_section", late)
    database = make_database(server)
    database.run(_ITEMS, _FILL.format(10), "CREATE TABLE more (id int)")
    with ThreadPoolExecutor(2) as pool:
        *_, sealed = take_backup(request_for(), database.reader_url, store, executor=pool)
        assert isinstance(sealed, Manifest)
        shutil.rmtree(tmp_path / "store" / "sample")
        work = take_backup(request_for(), database.reader_url, store, executor=pool)
        dumped.clear()
        next(work)
        assert dumped.wait(20)
        work.close()
        left = files(tmp_path)
    assert left == files(tmp_path) == []


@pytest.mark.parametrize("section", ["export", "ddl", "store"])
def test_a_failure_leaves_nothing(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
) -> None:
    """Whatever fails on the way, no object stays and the next backup works."""
    database = make_database(server)
    database.run(_ITEMS, _FILL.format(3000))

    def fail(*_: Any, **__: Any) -> Iterator[Any]:
        raise Failed("as the test wants it")

    with monkeypatch.context() as patch:
        if section == "export":
            patch.setattr(reader, "read_back", fail)
        elif section == "ddl":
            patch.setattr(backup, "back_up_ddl", fail)
        else:
            patch.setattr(Store, "checksum", fail)
        with pytest.raises(Failed, match="as the test wants it"):
            back_up(database.reader_url, store)
    assert files(tmp_path) == []
    assert catalog.backups(store, "sample") == []
    assert back_up(database.reader_url, store).records_count == 3000


def test_the_first_error_is_told_when_cleaning_up_fails_too(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that fails twice does not hide what went wrong first; the next backup cleans up."""
    database = make_database(server)
    database.run(_ITEMS)
    said: list[str] = []

    def fail(message: str) -> Callable[..., None]:
        def failing(*_: Any, **__: Any) -> None:
            raise Failed(message)

        return failing

    with monkeypatch.context() as patch:
        patch.setattr(Store, "checksum", fail("first"))
        patch.setattr(Store, "delete_folder", fail("second"))
        with pytest.raises(Failed, match="first"):
            list(take_backup(request_for(), database.reader_url, store, report=said.append))
    assert said[-1] == "left for the next backup to remove: second"
    sealed = back_up(database.reader_url, store)
    assert store.folders("sample/backups/") == [sealed.id]


def test_memory_does_not_grow_with_the_table(
    server: EmbeddedServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A table six times as large is backed up in about the same memory."""
    peaks: list[int] = []
    for rows in (60_000, 360_000):
        database = make_database(server)
        table_bytes = memory.fill(database.admin_url, rows)
        found = memory.measure(database.admin_url, tmp_path / str(rows), rows, table_bytes, 1)
        peaks.append(found.peak_bytes)
    # Holding the rows would take the tables' difference of 115 MB at least.
    assert peaks[1] - peaks[0] < 75_000_000


def test_one_of_two_schemas(any_server: Server, make_database: MakeDatabase, store: Store) -> None:
    """A system of one schema, oddly named, leaves the others' views and tables out and drills."""
    database = make_database(any_server)
    database.run(
        'CREATE SCHEMA "o""dd"; CREATE TABLE "o""dd".t (id int PRIMARY KEY);'
        ' INSERT INTO "o""dd".t VALUES (1);'
        " CREATE SCHEMA outside; CREATE TABLE outside.u (id int);"
        " CREATE MATERIALIZED VIEW outside.m AS SELECT * FROM outside.u"
    )
    system = whole_system().model_copy(update={"schemas": ['o"dd']})
    sealed = back_up(database.reader_url, store, system)
    assert [table.qualified for table in sealed.tables] == ['o"dd.t']
    assert run_drill(store, sealed, any_server.url(), report=ignore).rows == 1


def test_strings_that_do_not_conform(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A database with standard_conforming_strings off gets its backslashes back as they were."""
    database = make_database(any_server)
    database.run(
        f"ALTER DATABASE {database.name} SET standard_conforming_strings = off", as_admin=True
    )
    database.run(r"CREATE TABLE t (id int); COMMENT ON TABLE t IS E'c\\d'")
    sealed = back_up(database.reader_url, store)
    target = make_database(any_server)
    restore_into_empty(store, sealed, target.owner_url, report=ignore)
    with psycopg.connect(target.owner_url) as connection:
        row = connection.execute("SELECT obj_description('t'::regclass)").fetchone()
    assert row == (r"c\d",)
