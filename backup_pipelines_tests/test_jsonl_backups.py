"""Backups as JSON Lines: the same digests as Parquet, restored, verified and looked into alike."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from backup_pipelines import layout, manifest
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Damaged
from backup_pipelines.exporting import export
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.postgres import adbc, reader
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import compare
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines.timeline.query import asked
from backup_pipelines.verify import verify
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_backup import back_up, ignore, in_json_lines, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_recovery import folder_of
from backup_pipelines_tests.fix_restore import MakeSite
from backup_pipelines_tests.test_docs_examples import TABLES
from backup_pipelines_tests.test_recovery_by_hand import ODD
from backup_pipelines_tests.test_types import differences, fill

MakeDatabase = Callable[[Server], Database]


def digests(entry: Manifest) -> dict[str, tuple[int, str]]:
    """Rows and digest of every table, as a manifest has them."""
    return {table.qualified: (table.rows, table.digest) for table in entry.tables}


def read_text(store: Store, table: Table) -> str:
    """The lines of a table as the `zstd` tool shows them."""
    stored = b"".join(store.get(part.key) for part in table.parts)
    done = subprocess.run(["zstd", "-dc"], input=stored, capture_output=True, check=True)
    return done.stdout.decode()


def test_every_type_is_restored_from_both_formats_to_the_same_digests(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """Over the type matrix both formats say the same of every column and table, and so do the two
    restored databases, by COPY's text, by its bytes and by the digest."""
    target, other, source = (make_database(any_server) for _ in range(3))
    variants = fill(source)
    parquet = back_up(source.reader_url, store)
    lines = back_up(source.reader_url, store, in_json_lines())
    assert digests(lines) == digests(parquet)
    assert [t.columns for t in lines.tables] == [t.columns for t in parquet.tables]
    assert (parquet.format_version, lines.format_version) == (1, 2)
    verify(store, lines, report=ignore)
    for entry, database in ((parquet, other), (lines, target)):
        restore_into_empty(store, entry, database.admin_url, report=ignore)
        assert not differences(source.admin_url, database.admin_url, variants)
    for database in (target, other, source):
        with connected(database.admin_url) as connection:
            assert compare(connection, lines.tables) == []
    assert run_drill(store, lines, any_server.url(), report=ignore).rows == lines.records_count


def test_tables_of_all_kinds(server: EmbeddedServer, make_database: MakeDatabase,
                             store: Store) -> None:  # fmt: skip
    """Odd names, no columns, no rows, partitions, generated columns: restored as they were."""
    target, source = make_database(server), make_database(server)
    source.run(TABLES, ODD)
    parquet = back_up(source.reader_url, store)
    entry = back_up(source.reader_url, store, in_json_lines())
    assert digests(entry) == digests(parquet)
    keys = [part.key for table in entry.tables for part in table.parts]
    assert keys and all(map(layout.is_json_lines, keys))
    assert verify(store, entry, report=ignore).objects == len(keys) + 4
    restore_into_empty(store, entry, target.admin_url, report=ignore)
    # What its owner may see through forced row-level security is not what a restore fills it with.
    view = ("public.prices",)
    assert contents(source.admin_url, view) == contents(target.admin_url, view)


def test_a_line_is_plain_json_of_postgresqls_texts(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store
) -> None:
    """Another program reads names and texts, and nothing is a number that it could round."""
    source = make_database(server)
    source.run(
        'CREATE TABLE t (id int8, "É ""q""" text, ok bool, n numeric(30, 10), f float8, j jsonb,'
        " b bytea, at timestamptz, d date, nothing text)",
        "INSERT INTO t VALUES (9007199254740993, E'a\\n\"b\"\\\\', true, 1.5, '-0',"
        " '{\"a\": 1e2}', '\\x00ff', '2026-01-01 12:00+02', 'infinity', NULL)",
    )
    [table] = back_up(source.reader_url, store, in_json_lines()).tables
    text = read_text(store, table)
    assert [json.loads(line) for line in text.splitlines()] == [
        {
            "id": "9007199254740993",
            'É "q"': 'a\n"b"\\',
            "ok": "t",
            "n": "1.5000000000",
            "f": "-0",
            "j": '{"a": 100}',
            "b": "\\x00ff",
            "at": "2026-01-01 10:00:00+00",
            "d": "infinity",
            "nothing": None,
        }
    ]


def test_many_parts_and_large_values(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ranges of pages, parts that overflow and rows of 30 MB: rows, digests and bytes add up."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 400_000)
    monkeypatch.setattr(reader, "_PART_BYTES", 20_000)
    monkeypatch.setattr(adbc, "_BATCH_BYTES", 40_000)
    target, source = make_database(server), make_database(server)
    source.run(
        "CREATE TABLE many (id int PRIMARY KEY, v text)",
        "INSERT INTO many SELECT n, md5(n::text) || n FROM generate_series(1, 20000) AS n",
        "CREATE TABLE big (id int, v text, b bytea)",
        """INSERT INTO big SELECT n, repeat(E'"\\n' || n, 10000000), decode(repeat('ab', n), 'hex')
             FROM generate_series(1, 3) AS n""",
    )
    parquet = back_up(source.reader_url, store)
    entry = back_up(source.reader_url, store, in_json_lines())
    assert digests(entry) == digests(parquet)
    parts = {table.name: table.parts for table in entry.tables}
    assert len({part.first_page for part in parts["many"]}) > 2
    assert any("-001.jsonl.zst" in part.key for part in parts["many"])
    verify(store, entry, report=ignore)
    restore_into_empty(store, entry, target.admin_url, report=ignore)
    assert contents(source.admin_url) == contents(target.admin_url)


def test_differences_are_restored_and_undone(any_server: Server, make_site: MakeSite) -> None:
    """A few rows of many, by a plan, with a safety backup in the same format, and back again."""
    site = make_site(
        any_server,
        "CREATE TABLE deal (id int PRIMARY KEY, stage text, amount numeric(12, 2), at timestamptz)",
        "INSERT INTO deal SELECT n, 'open', n * 1.5, now() FROM generate_series(1, 5000) AS n",
        "CREATE TABLE loose (v text, f float8)",
        "INSERT INTO loose VALUES ('x', 0), ('x', 0), (NULL, '-0')",
    )
    site.write_as("jsonl")
    entry, before = site.back_up(), site.image()
    site.run(
        "DELETE FROM deal WHERE id % 1000 = 0",
        "UPDATE loose SET f = 0",
        "INSERT INTO deal VALUES (9999, 'new', NULL, NULL)",
    )
    edited = site.image()
    plan = site.plan(entry)
    assert site.counts(plan) == {"deal": (5, 0, 1), "loose": (1, 0, 1)}
    done = site.restore(entry, with_safety=True)
    assert site.image() == before
    assert done.safety is not None
    assert all(layout.is_json_lines(p.key) for t in done.safety.tables for p in t.parts)
    site.undo()
    assert site.image() == edited
    # Rows that only came or went are found by their keys, updates by whole rows.
    site.run("UPDATE deal SET amount = 0 WHERE id = 7")
    site.restore(entry, Selection(tables=("deal",), key="7"))
    assert site.rows("SELECT amount::text FROM deal WHERE id = 7") == [("10.50",)]
    site.run("TRUNCATE deal")
    site.restore(entry)
    assert site.image() == before


@pytest.fixture
def source(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """A database with one table of some rows."""
    made = make_database(server)
    made.run(
        "CREATE TABLE notes (id int PRIMARY KEY, said text, seen timestamptz, amount numeric(9,2))",
        "INSERT INTO notes SELECT n, 'note ' || n, '2026-01-01', n FROM generate_series(1, 99) n",
    )
    return made


def _cut(data: bytes) -> bytes:
    return data[:-7]


def _flipped(data: bytes) -> bytes:
    return data[:60] + bytes([data[60] ^ 4]) + data[61:]


def _other_row(data: bytes) -> bytes:
    """The same number of rows and columns, one value another."""
    codec = pa.Codec("zstd")
    text = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    assert text.count(b'"note 7"') == 1
    return bytes(codec.compress(text.replace(b'"note 7"', b'"note x"'), asbytes=True))


def _fewer_rows(data: bytes) -> bytes:
    codec = pa.Codec("zstd")
    text = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return bytes(codec.compress(text[: text.rindex(b"\n", 0, -1) + 1], asbytes=True))


@pytest.mark.parametrize("damage", [_cut, _flipped, _other_row, _fewer_rows, lambda _: b""])
def test_damage_is_found_by_every_reader(
    source: Database, store: Store, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Verify, the reader of rows and the query each say that the part is not what was written."""
    entry = back_up(source.reader_url, store, in_json_lines())
    [table] = entry.tables
    path = folder_of(store) / table.parts[0].key
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Damaged, match=r"part-00000\.jsonl\.zst has "):
        verify(store, entry, report=ignore)
    with pytest.raises(Damaged, match=r"part-00000\.jsonl\.zst (has|cannot be read as JSON Lines)"):
        list(stored_batches(store, table, ["id"]))
    with (
        pytest.raises(Damaged, match=r"part-00000\.jsonl\.zst has other bytes"),
        asked(store, [entry], "SELECT * FROM notes", many=False) as answer,
    ):
        list(answer.rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b'"said":', b'"sang":'), "is no readable file of JSON Lines: its rows have other colu"),
        ((b'{"id":"7","said":"note 7",', b'{"id":"7",'), "has lines that are not those of public"),
        ((b'{"id":"7",', b'{"id": "7",'), "has lines that are not those of public.notes's columns"),
        ((b'"amount":"7.00"}', b'"amount":7.00}'), "is no readable file of JSON Lines"),
        ((b'"note 7"', b'"note \xff"'), "is no readable file of JSON Lines"),
    ],
)
def test_lines_that_are_not_the_tables_are_found_whatever_the_checksum(
    source: Database, store: Store, change: tuple[bytes, bytes], said: str
) -> None:
    """A manifest that says so of a part with other lines is found to be wrong by verify."""
    entry = back_up(source.reader_url, store, in_json_lines())
    [table] = entry.tables
    [part] = table.parts
    path = folder_of(store) / part.key
    text = pa.CompressedInputStream(pa.BufferReader(path.read_bytes()), "zstd").read()
    assert change[0] in text
    path.write_bytes(pa.Codec("zstd").compress(text.replace(*change), asbytes=True))
    size, sha256 = store.checksum(part.key)
    part = part.model_copy(update={"size_bytes": size, "sha256": sha256})
    table = table.model_copy(update={"parts": (part,), "size_bytes": size})
    with pytest.raises(Damaged) as caught:
        verify(store, entry.model_copy(update={"tables": (table,)}), report=ignore)
    assert said in str(caught.value)


def test_older_readers_refuse_it(source: Database, store: Store) -> None:
    """A manifest with such parts says a format version that 0.1.0's first readers do not know."""
    entry = back_up(source.reader_url, store, in_json_lines())
    document = store.get(layout.manifest_key(entry.system, entry.id))
    assert json.loads(document)["format_version"] == 2
    assert manifest.parse(document, "k") == entry


def test_the_request_goes_before_the_system(source: Database, store: Store) -> None:
    """What one run asks for is how its rows are written, whatever the YAML says."""
    assert whole_system().format == "parquet"
    entry = back_up(source.reader_url, store, format="jsonl")
    assert layout.format_of(entry.tables[0].parts[0].key) == "jsonl"
    entry = back_up(source.reader_url, store, in_json_lines(), format="parquet")
    assert layout.format_of(entry.tables[0].parts[0].key) == "parquet"
    assert entry.format_version == 1


def test_a_format_that_is_none() -> None:
    """The YAML takes the two words and no other."""
    about = whole_system().model_dump(mode="json")
    assert System.model_validate(about | {"format": "jsonl"}).format == "jsonl"
    with pytest.raises(ValidationError, match="format\n  Input should be 'parquet' or 'jsonl'"):
        System.model_validate(about | {"format": "csv"})


def test_a_format_version_that_is_not_the_parts_is_found(source: Database, store: Store) -> None:
    """One that is too low would have older readers take lines for Parquet."""
    entry = back_up(source.reader_url, store, in_json_lines())
    with pytest.raises(Damaged, match="says format version 1, its parts are of 2"):
        verify(store, entry.model_copy(update={"format_version": 1}), report=ignore)
