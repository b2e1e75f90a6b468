"""SQL over one backup: tables are views of their names, and a statement can only read them."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyrage
import pytest

from backup_pipelines import layout
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, Failed, NotFound, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.storage.store import Store
from backup_pipelines.timeline import engine, local_parts, moments
from backup_pipelines.timeline.query import asked
from backup_pipelines.verify import remember
from backup_pipelines_tests.fix_backup import back_up, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_s3 import Place

SCHEMA = """
CREATE SCHEMA auth;
CREATE SCHEMA "Odd, really";
CREATE TABLE contacts (id int PRIMARY KEY, name text, paid numeric(12, 2), big numeric,
    born date, seen timestamptz, raw bytea, u uuid, f real, d float8, tags text[], ok bool);
INSERT INTO contacts VALUES
    (1, 'Ada', 12.50, 1e40, '1815-12-10', '2026-01-01 12:00+02', '\\x00ff',
     '00000000-0000-0000-0000-0000000000aa', 0.1, 'NaN', '{a,b}', true),
    (2, '', NULL, 1.00, NULL, NULL, NULL, NULL, '-Infinity', 0.1, NULL, false);
CREATE TABLE auth.users (id int PRIMARY KEY, email text);
INSERT INTO auth.users VALUES (1, 'ada@example.org');
CREATE TABLE "Odd, really"."Table ""of"" it" ("A" int, a int, "x'y" text);
INSERT INTO "Odd, really"."Table ""of"" it" VALUES (1, 2, 'three');
CREATE TABLE "Users" (id int);
CREATE TABLE users (id int);
CREATE TABLE nothing ();
CREATE TABLE event (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2026-02-01') TO (MAXVALUE);
INSERT INTO event VALUES (1, '2026-01-05'), (2, '2026-02-05'), (3, 'infinity');
"""


def ask(store: Store, entry: Manifest | Sequence[Manifest], sql: str) -> list[tuple[Any, ...]]:
    """All rows of an answer."""
    many = not isinstance(entry, Manifest)
    entries = [entry] if isinstance(entry, Manifest) else entry
    with asked(store, entries, sql, many=many) as answer:
        return [tuple(row) for row in answer.rows]


def test_columns_have_the_types_of_the_backup_and_values_are_exact(
    store: Store, sealed: Manifest
) -> None:
    """Native columns are typed, what is stored as text stays text, and nothing is rounded."""
    with asked(store, [sealed], "SELECT * FROM contacts ORDER BY id", many=False) as answer:
        assert dict(answer.columns) == {
            "id": "INTEGER",
            "name": "VARCHAR",
            "paid": "DECIMAL(12,2)",
            "big": "VARCHAR",
            "born": "DATE",
            "seen": "TIMESTAMP WITH TIME ZONE",
            "raw": "BLOB",
            "u": "UUID",
            "f": "FLOAT",
            "d": "DOUBLE",
            "tags": "VARCHAR",
            "ok": "BOOLEAN",
        }
        assert answer.tables == ["public.contacts"]
        ada, other = answer.rows
    assert ada == (
        *(1, "Ada", "12.50", "1" + "0" * 40, "1815-12-10", "2026-01-01 10:00:00+00"),
        *("\\x00ff", "00000000-0000-0000-0000-0000000000aa", 0.1, "NaN", "{a,b}", True),
    )
    assert other == (2, "", None, "1.00", None, None, None, None, "-Infinity", 0.1, None, False)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT name FROM public.contacts WHERE paid > 12", [("Ada",)]),
        ("FROM auth.users", [(1, "ada@example.org")]),
        ("SELECT c.id FROM contacts c JOIN auth.users USING (id);  -- done", [(1,)]),
        ('SELECT "A", "a_1", "x\'y" FROM "Odd, really"."Table ""of"" it"', [(1, 2, "three")]),
        ("SELECT count(*), max(day) FROM event", [(3, "infinity")]),
        ("SELECT id FROM event_1", [(1,)]),
        ("WITH users AS (FROM contacts) SELECT max(id) FROM contacts", [(2,)]),
        ("SELECT id FROM contacts ORDER BY id DESC", [(2,), (1,)]),
        ("VALUES (1, NULL), (2, 'x')", [(1, None), (2, "x")]),
        ("SELECT unnest([1, 2]) AS n, 'a' AS n", [(1, "a"), (2, "a")]),
        ("SELECT count(*) FROM range(7)", [(7,)]),
        ("SELECT big::DECIMAL(4, 2) FROM contacts WHERE id = 2", [("1.00",)]),
        ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'auth'",
         [("users",)]),
        ("SELECT name, column_names FROM (SHOW ALL TABLES) WHERE schema = 'auth'",
         [("users", "[id, email]")]),
        ("SELECT column_name FROM (DESCRIBE auth.users)", [("id",), ("email",)]),
        ("SELECT [1, 2], {'a': 1.5}, NULL", [("[1, 2]", "{'a': 1.5}", None)]),
    ],
)  # fmt: skip
def test_statements_are_answered(
    store: Store, sealed: Manifest, sql: str, expected: list[tuple[Any, ...]]
) -> None:
    """Tables are named with or without public, others by their schema; partitions are together."""
    assert ask(store, sealed, sql) == expected


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("COPY contacts TO '{out}'", "this is COPY"),
        ("ATTACH '{out}'", "this is ATTACH"),
        ("INSTALL httpfs", "this is LOAD"),
        ("LOAD httpfs", "this is LOAD"),
        ("SET enable_external_access = true", "this is SET"),
        ("PRAGMA enable_profiling", "give one statement that returns rows"),
        ("PRAGMA version", "give one statement that returns rows"),
        ("CALL pragma_version()", "this is CALL"),
        ("SELECT 1; SELECT 2", "this is SELECT, SELECT"),
        ("SELECT 1; COPY (SELECT 1) TO '{out}'", "this is SELECT, COPY"),
        ("SELECT 1) AS a; COPY (SELECT 1) TO '{out}'; SELECT * FROM (SELECT 1", "syntax error"),
        ("CREATE TABLE x AS SELECT 1", "this is CREATE"),
        ("INSERT INTO contacts (id) VALUES (3)", "this is INSERT"),
        ("DELETE FROM contacts RETURNING *", "this is DELETE"),
        ("EXPLAIN ANALYZE SELECT 1", "this is EXPLAIN"),
        ("EXPORT DATABASE '{out}'", "this is EXPORT"),
        ("", "this is none"),
        ("-- nothing", "this is none"),
        ("SELECT $1", "has a parameter"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv cannot be read from here"),
        ("SELECT * FROM read_text('/etc/passwd')", "read_text cannot be read from here"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd does not exist"),
        ("SELECT * FROM 'http://127.0.0.1:1/x.csv'", "Cannot access file"),
        ("SELECT * FROM glob('/*')", "glob cannot be read from here"),
        ("SELECT * FROM read_parquet('{part}')", "read_parquet cannot be read from here"),
        ("SELECT * FROM query('SELECT 1')", "query cannot be read from here"),
        ("SELECT (SELECT max(a) FROM (SELECT * FROM enable_logging(storage='file',"
         " storage_path='{out}')) AS t(a))", "enable_logging cannot be read from here"),
        ("SELECT nope FROM contacts", 'Referenced column "nope" not found'),
        ("SELECT * FROM nope", "Table with name nope does not exist"),
        ("SELECT * FROM nothing", "nothing does not exist"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT name::int FROM contacts", "Could not convert string 'Ada' to INT32"),
        ("SELECT * FROM Users", "public.Users and public.users differ only by case"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_one_sentence(
    store: Store, sealed: Manifest, tmp_path: Path, sql: str, said: str
) -> None:
    """No file is written or read, nothing is installed, and nothing of DuckDB is changed."""
    out = tmp_path / "out"
    part = tmp_path / "store" / sealed.tables[0].parts[0].key
    with pytest.raises(Refused) as caught:
        ask(store, sealed, sql.replace("{out}", str(out)).replace("{part}", str(part)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_only_what_a_statement_names_is_read(store: Store, sealed: Manifest) -> None:
    """A damaged part is found before a row is shown, and hurts no statement about other tables."""
    [damaged] = [t for t in sealed.tables if t.qualified == "auth.users"]
    path = store.local_path(damaged.parts[0].key)
    assert path is not None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert ask(store, sealed, "SELECT count(*) FROM contacts") == [(2,)]
    with pytest.raises(Damaged, match="has other bytes than were written"):
        ask(store, sealed, "SELECT 1 FROM auth.users")
    path.unlink()
    with pytest.raises(Damaged):
        ask(store, sealed, "SELECT 1 FROM auth.users")


def test_rows_are_limited_where_that_is_wanted(store: Store, sealed: Manifest) -> None:
    """The first rows in the order of the statement."""
    sql = "SELECT i FROM range(100000) AS t(i) ORDER BY i DESC"
    with asked(store, [sealed], sql, many=False, limit=2) as answer:
        assert list(answer.rows) == [(99999,), (99998,)]


@pytest.fixture
def source(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """A small database, which tests change between backups."""
    made = make_database(server)
    made.run("CREATE TABLE t (id int PRIMARY KEY, v text, day date)")
    made.run("INSERT INTO t VALUES (1, 'a')")
    return made


def test_many_backups_are_asked_at_once(source: Database, store: Store) -> None:
    """Rows say which backup they are of; a column that changed its type is text, a new one NULL."""
    first = back_up(source.reader_url, store)
    source.run(
        "INSERT INTO t VALUES (2, 'b', 'infinity')", "ALTER TABLE t ADD COLUMN n int DEFAULT 7"
    )
    second = back_up(source.reader_url, store)
    source.run("UPDATE t SET day = '2026-02-28'", "ALTER TABLE t ALTER n TYPE bigint")
    third = back_up(source.reader_url, store)
    rows = ask(
        store,
        [first, second, third],
        "SELECT backup_id, id, v, day, n FROM t ORDER BY backed_up_at, id",
    )
    assert rows == [
        (first.id, 1, "a", None, None),
        (second.id, 1, "a", None, "7"),
        (second.id, 2, "b", "infinity", "7"),
        (third.id, 1, "a", "2026-02-28", "7"),
        (third.id, 2, "b", "2026-02-28", "7"),
    ]
    for span, expected in (
        ("all", [first, second, third]),
        (f"{second.id}..", [second, third]),
        (f"..{second.snapshot_at.isoformat()}", [first, second]),
        (f"{first.snapshot_at:%Y-%m-%d}..{third.snapshot_at:%Y-%m-%d}", [first, second, third]),
    ):
        assert [e.id for e in moments.chosen(store, "sample", span)] == [e.id for e in expected]
    remember(store, second, "broken")
    told: list[str] = []
    assert [e.id for e in moments.completed(store, "sample", told.append)] == [first.id, third.id]
    assert told == [f"not looked into: backup {second.id} was found damaged"]
    with pytest.raises(NotFound, match="no completed backup in 2020-01-01"):
        moments.chosen(store, "sample", "2020-01-01..2020-12-31")
    with pytest.raises(Refused, match="yesterday is neither a date"):
        moments.chosen(store, "sample", "yesterday..")
    with pytest.raises(NotFound, match="no completed backup 20200101T000000Z-manual-00000a"):
        moments.chosen(store, "sample", "20200101T000000Z-manual-00000a..")


def test_any_kind_of_store_is_asked(
    source: Database, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that are fetched come into a private folder, which is gone afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    entry = back_up(source.reader_url, place.store)
    with asked(place.store, [entry], "SELECT v FROM t", many=False) as answer:
        assert list(answer.rows) == [("a",)]
        fetched = [path for path in folder.rglob("*.parquet")]
        assert len(fetched) == (0 if place.folder else 1)
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o700}
    assert list(folder.iterdir()) == []


def test_an_encrypted_backup_needs_its_identity(
    source: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it everything is refused; with it rows are shown, and leave nothing behind."""
    identity = pyrage.x25519.Identity.generate()
    spec = EncryptionSpec(recipients=[str(identity.to_public())])
    system = whole_system().model_copy(update={"encryption": spec})
    entry = back_up(source.reader_url, store, system)
    assert layout.is_encrypted(entry.tables[0].parts[0].key)
    with pytest.raises(Refused, match="BACKUP_AGE_IDENTITY"):
        ask(store, entry, "SELECT v FROM t")
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(identity))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert ask(store, entry, "SELECT v FROM t") == [("a",)]
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_too_small_is_refused_before_fetching(
    source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts in a folder whose name is a pattern to DuckDB are fetched, if there is room."""
    store = Store((tmp_path / "st[o]re").as_uri())
    entry = back_up(source.reader_url, store)
    assert ask(store, entry, "SELECT v FROM t") == [("a",)]
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(local_parts.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(Refused, match="set TMPDIR to a folder with more room"):
        ask(store, entry, "SELECT v FROM t")


def test_a_statement_gets_so_much_memory_and_disk_and_no_more(
    store: Store, sealed: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that needs more fails with a sentence, instead of taking the machine's."""
    monkeypatch.setattr(engine, "_MEMORY", "50MB")
    monkeypatch.setattr(engine, "_SPILLED", "1MB")
    sql = "SELECT string_agg(repeat('x', 100) || i, '') FROM range(2000000) AS t(i)"
    with pytest.raises(Failed, match="this takes more than the 50MB of memory and the 1MB in"):
        ask(store, sealed, sql)
