"""Tables as CSV files: exact, the same from everywhere, whole or not there at all."""

import csv
import hashlib
import json
import secrets
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pandas as pd
import psycopg
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from backup_pipelines import systems
from backup_pipelines.csv import files as csv_files
from backup_pipelines.csv.export import Asked, Exported, export_backup, export_live
from backup_pipelines.demo.seed import create_database
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, Failed, NotFound, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import compare
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.csv_reading import copied_as_csv, load_csv
from backup_pipelines_tests.exactness import connect, copied
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.test_types import fill, table_of

MakeDatabase = Callable[[Server], Database]

ALL = Selection(modules=("all",))


def from_live(
    database: Database, to: Path, selection: Selection = ALL, *, zipped: bool = False
) -> Exported:
    """An export of a database of one module, by the read-only role."""
    asked = Asked(selection, to, zipped=zipped)
    return export_live(whole_system(), database.reader_url, asked, report=ignore)


def from_backup(store: Store, entry: Manifest, to: Path, selection: Selection = ALL) -> Exported:
    """An export of a backup."""
    return export_backup(store, entry, Asked(selection, to), report=ignore)


def tables_in(to: Path) -> dict[str, bytes]:
    """The CSV files of a folder."""
    return {path.name: path.read_bytes() for path in to.glob("*.csv")}


def test_every_type_is_what_postgresql_prints_from_live_and_from_a_backup(
    any_server: Server, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> None:
    """Over the type matrix both sources give the very bytes of the server's own COPY."""
    database = make_database(any_server)
    variants = fill(database)
    live = from_live(database, tmp_path / "live")
    from_backup(store, back_up(database.reader_url, store), tmp_path / "backup")
    found = tables_in(tmp_path / "live")
    assert tables_in(tmp_path / "backup") == found
    assert len(found) == len(variants) == len(live.note.files)
    with connect(database.admin_url) as connection:
        for variant in variants:
            name = table_of(variant)
            # What it prints of XML lacks the declaration, which a backup keeps.
            value = "v::text" if variant.type == "xml" else "v"
            printed = copied_as_csv(connection, f"SELECT id, {value} FROM public.{name}")
            assert found[f"{name}.csv"] == b'"id","v"\r\n' + printed, variant.name
    # Of the texts in them.
    assert sum(one.like_null for one in live.note.files) >= 2
    assert [one.table for one in live.note.without_file] == ["public.pinned"]


ODD = """
    CREATE TABLE parents (id int PRIMARY KEY, "Odd ""name"", here" text);
    CREATE TABLE made (
        a text, twice text GENERATED ALWAYS AS (a || a) STORED,
        id int GENERATED ALWAYS AS IDENTITY);
    CREATE TABLE only_made (n int GENERATED ALWAYS AS (1) STORED);
    CREATE TABLE events (at date NOT NULL, note text) PARTITION BY RANGE (at);
    CREATE TABLE events_b (note text, at date NOT NULL);
    ALTER TABLE events ATTACH PARTITION events_b FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TABLE events_a PARTITION OF events DEFAULT;
    CREATE TABLE heirs (more int) INHERITS (parents);
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (token text);
    CREATE TABLE "auth.users" (id int);
    CREATE TABLE "a/b%c" (id int);
    INSERT INTO parents VALUES (1, NULL), (2, '');
    INSERT INTO heirs VALUES (3, 'an heir', 4);
    INSERT INTO made (a) VALUES ('x');
    INSERT INTO events VALUES ('2026-03-01', 'first'), ('infinity', 'far'), ('2020-01-01', NULL);
    INSERT INTO auth.users VALUES ('\\N'), ('N'), (NULL);
"""


def test_tables_of_all_kinds(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> None:
    """Generated columns are left out, partitions are in the one file of their table, names that a
    file system or another table would not take are written with %XX; private to their owner."""
    database = make_database(server)
    database.run(ODD)
    selection = Selection(
        tables=("parents", "made", "only_made", "events", "heirs", "auth.users", "a/b%c")
    )
    done = from_live(database, tmp_path / "live", selection)
    found = tables_in(tmp_path / "live")
    assert found == {
        "parents.csv": b'"id","Odd ""name"", here"\r\n"1",\\N\r\n"2",""\r\n',
        "made.csv": b'"a","id"\r\n"x","1"\r\n',
        "events.csv": b'"at","note"\r\n"infinity","far"\r\n"2020-01-01",\\N\r\n'
        b'"2026-03-01","first"\r\n',
        "heirs.csv": b'"id","Odd ""name"", here","more"\r\n"3","an heir","4"\r\n',
        "auth.users.csv": b'"token"\r\n"\\N"\r\n"N"\r\n\\N\r\n',
        "a%2Fb%25c.csv": b'"id"\r\n',
    }
    sealed = back_up(database.reader_url, store, whole_system(excluded=["public.auth.users"]))
    from_backup(store, sealed, tmp_path / "backup", selection)
    assert tables_in(tmp_path / "backup") == found
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "live").iterdir()} == {0o600}
    assert done.warnings == [
        "auth.users has 1 values that read like NULL (\\N): in auth.users.csv they are in quotes, "
        "which a spreadsheet drops when it saves",
        "public.only_made has no file, because it has no columns that take values",
    ]
    alone = from_live(database, tmp_path / "one", Selection(tables=("events_b", "auth.users")))
    assert [(one.file, one.rows) for one in alone.note.files] == [
        ("auth.users.csv", 3),
        ("events_b.csv", 1),
    ]


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_AWKWARD = st.sampled_from(
    ["", '"', '""', ",", ";", "\n", "\r", "\r\n", "\\N", '"\\N"', ',"\\N",', "\\.", "\\", "NULL",
     "007", "1e5", "=cmd|' /C calc'!A0", "\ufeff", "'", " x ", "\t", "日本"]
)  # fmt: skip
_VALUE = st.none() | _AWKWARD | _TEXT | st.lists(_AWKWARD, max_size=4).map("".join)
_ROW = st.tuples(
    _VALUE,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none()
    | st.decimals(
        allow_nan=False, allow_infinity=False, places=2, min_value=-(10**8), max_value=10**8
    ),
    st.none() | st.floats(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.binary(max_size=5),
    st.none() | st.lists(_TEXT, max_size=3),
    _VALUE,
)


def _comes_back(rows: list[tuple[object, ...]], into: tuple[Database, Store, Path]) -> None:
    database, store, folder = into
    to = Path(tempfile.mkdtemp(dir=folder))
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("TRUNCATE odd, copy")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO odd VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", rows)
    done = from_live(database, to / "live", Selection(tables=("odd",)))
    file = to / "live" / "odd.csv"
    sealed = back_up(database.reader_url, store)
    from_backup(store, sealed, to / "backup", Selection(tables=("odd",)))
    assert (to / "backup" / "odd.csv").read_bytes() == file.read_bytes()
    with connect(database.owner_url) as connection:
        load_csv(connection, "public.copy", COLUMNS, file)
        ours, theirs = (sql.SQL(f"SELECT * FROM public.{name}") for name in ("odd", "copy"))
        assert copied(connection, ours) == copied(connection, theirs)

    with file.open(newline="", encoding="utf-8") as opened:
        read = list(csv.reader(opened))
    assert (read[0], len(read)) == (COLUMNS, len(rows) + 1)
    # csv drops the difference between the token and the same in quotes.
    assert [row[0] for row in read[1:]] == ["\\N" if row[0] is None else row[0] for row in rows]
    frame = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=["\\N"])
    assert (list(frame.columns), len(frame)) == (COLUMNS, len(rows))
    alike = sum(value == "\\N" for row in rows for value in row)
    assert done.note.files[0].like_null == alike


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(_ROW, min_size=10, max_size=60))
def test_generated_rows_come_back(
    rows: list[tuple[object, ...]], generated_into: tuple[Database, Store, Path]
) -> None:
    """Delimiters, quotes, line ends, the NULL token, '' and NULL: PostgreSQL reads back what was
    there, and Python's csv module and pandas see the header and as many rows."""
    _comes_back(rows, generated_into)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(_ROW, max_size=60))
def test_many_generated_rows_come_back(
    rows: list[tuple[object, ...]], generated_into: tuple[Database, Store, Path]
) -> None:
    """The same, many times."""
    _comes_back(rows, generated_into)


COLUMNS = ["a", "n", "d", "f", "at", "b", "l", "Last, one"]


@pytest.fixture
def generated_into(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> tuple[Database, Store, Path]:
    """A table for generated rows, an empty one like it, a store and a folder."""
    database = make_database(server)
    database.run(
        "CREATE TABLE odd (a text, n bigint, d numeric(12,2), f float8, at timestamptz, b bytea,"
        ' l text[], "Last, one" varchar);'
        "CREATE TABLE copy (LIKE odd)"
    )
    return database, store, tmp_path


@pytest.fixture(params=["crm", "dcim"])
def emptied(
    request: pytest.FixtureRequest, server: EmbeddedServer
) -> Iterator[tuple[str, str, str]]:
    """A small demo system, the URL of its database, and that of an empty copy of it."""
    system, name = str(request.param), f"t_{secrets.token_hex(6)}"
    create_database(server.url, system, scale=0.05, database=name)
    copy = f"{name}_copy"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE {name}".encode())
        try:
            yield system, server.url(name), server.url(copy)
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_every_module_of_the_demo_goes_out_and_in(
    emptied: tuple[str, str, str], store: Store, tmp_path: Path
) -> None:
    """The files of all modules, loaded by PostgreSQL's COPY into empty tables, give the digests of
    the backup; from the backup they have the same bytes."""
    name, source, target = emptied
    system = systems.load_system(name)
    modules = tuple(system.modules)
    asked = Asked(Selection(modules=modules), tmp_path / "live")
    done = export_live(system, source, asked, report=ignore)
    sealed = back_up(source, store, system)
    from_backup(store, sealed, tmp_path / "backup", Selection(modules=modules))
    assert tables_in(tmp_path / "backup") == tables_in(tmp_path / "live")
    tables = [table for table in sealed.tables if table.module in modules]
    assert {one.table for one in done.note.files} == {
        table.qualified for table in tables if table.partition_of is None
    }
    with connect(target) as connection:
        # So that no trigger and no foreign key acts on single files.
        connection.execute("SET session_replication_role TO replica")
        for one in done.note.files:
            connection.execute(f"TRUNCATE {one.table} CASCADE".encode())
        for one in done.note.files:
            load_csv(connection, one.table, [c.name for c in one.columns], asked.to / one.file)
    with connected(target) as connection:
        assert compare(connection, tables) == []


FAMILY = """
    CREATE TABLE parents (id int PRIMARY KEY, note text);
    CREATE TABLE children (id int PRIMARY KEY, of int NOT NULL REFERENCES parents);
    INSERT INTO parents SELECT n, 'x' FROM generate_series(1, 100) n;
    INSERT INTO children SELECT n, n FROM generate_series(1, 100) n;
"""


@pytest.fixture
def family(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """Parents and their children."""
    database = make_database(server)
    database.run(FAMILY)
    return database


def test_all_tables_are_of_one_moment(family: Database, tmp_path: Path) -> None:
    """Parents that go and come while the children are read change neither file."""

    def report(line: str) -> None:
        if line.startswith("public.children"):
            family.run("DELETE FROM children WHERE of < 50; DELETE FROM parents WHERE id < 50")
            family.run("INSERT INTO parents VALUES (1000)")

    asked = Asked(ALL, tmp_path)
    done = export_live(whole_system(), family.reader_url, asked, report=report)
    keys = pd.read_csv(tmp_path / "parents.csv")["id"]
    assert list(keys) == list(range(1, 101))
    assert set(pd.read_csv(tmp_path / "children.csv")["of"]) == set(keys)
    assert (done.note.rows, done.note.source) == (200, "live")


def test_an_archive_has_the_same_files_and_says_what_they_are(
    family: Database, store: Store, tmp_path: Path
) -> None:
    """The zip has the bytes of the folder's files; the JSON has rows, digests and columns."""
    folder = from_live(family, tmp_path / "folder")
    packed = from_live(family, tmp_path / "packed", zipped=True)
    assert packed.to == tmp_path / "packed" / "sample_all.zip"
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["sample_all.zip"]
    assert packed.to.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(packed.to) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    note = json.loads(found.pop("export.json"))
    assert found == tables_in(tmp_path / "folder")
    assert note["files"] == folder.note.model_dump(mode="json")["files"]
    for one in note["files"]:
        assert one["sha256"] == hashlib.sha256(found[one["file"]]).hexdigest()
        assert one["size_bytes"] == len(found[one["file"]])
    [beside] = (tmp_path / "folder").glob("export-*.json")
    assert json.loads(beside.read_text())["snapshot_at"] <= note["snapshot_at"]


def test_a_byte_order_mark_is_written_on_request(family: Database, tmp_path: Path) -> None:
    """With it a file begins with the mark, once; otherwise it does not."""
    asked = Asked(ALL, tmp_path, bom=True)
    export_live(whole_system(), family.reader_url, asked, report=ignore)
    assert (tmp_path / "parents.csv").read_bytes().startswith(b'\xef\xbb\xbf"id","note"\r\n')
    from_live(family, tmp_path / "without")
    assert (tmp_path / "without" / "parents.csv").read_bytes().startswith(b'"id"')


def test_an_encrypted_backup_is_exported_with_its_identity_only(
    family: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the identity the files are those of the live database; without it, a refusal."""
    identity = pyrage.x25519.Identity.generate()
    system = whole_system().model_copy(
        update={"encryption": EncryptionSpec(recipients=[str(identity.to_public())])}
    )
    sealed = back_up(family.reader_url, store, system)
    with pytest.raises(Refused, match="is encrypted to"):
        from_backup(store, sealed, tmp_path / "closed")
    assert not (tmp_path / "closed").exists()
    monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(identity))
    from_backup(store, sealed, tmp_path / "opened")
    from_live(family, tmp_path / "live")
    assert tables_in(tmp_path / "opened") == tables_in(tmp_path / "live")


def test_a_damaged_backup_gives_no_file(family: Database, store: Store, tmp_path: Path) -> None:
    """One byte of the last table's part is wrong: neither it nor the tables before are left."""
    sealed = back_up(family.reader_url, store)
    [table] = [table for table in sealed.tables if table.name == "parents"]
    part = tmp_path / "store" / table.parts[0].key
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(Damaged, match="reads back different"):
        from_backup(store, sealed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_exists_is_refused_and_kept(family: Database, tmp_path: Path) -> None:
    """Before anything is read; one that comes meanwhile is not replaced either."""
    (tmp_path / "parents.csv").write_text("mine")
    with pytest.raises(Refused, match=r"has parents\.csv already: remove them, or choose"):
        from_live(family, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["parents.csv"]
    late = tmp_path / "late"

    def report(line: str) -> None:
        del line
        (late / "parents.csv").write_text("mine")

    with pytest.raises(Refused, match="already"):
        export_live(whole_system(), family.reader_url, Asked(ALL, late), report=report)
    assert {path.name: path.read_text() for path in late.iterdir()} == {"parents.csv": "mine"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Failed("no")])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_interrupted_export_leaves_nothing(
    family: Database, tmp_path: Path, error: BaseException, zipped: bool
) -> None:
    """No half of a file, and no folder that it has made."""
    seen: list[str] = []

    def report(line: str) -> None:
        seen.extend(path.name for path in (tmp_path / "new" / "deep").iterdir())
        raise error

    asked = Asked(ALL, tmp_path / "new" / "deep", zipped=zipped)
    with pytest.raises(type(error)):
        export_live(whole_system(), family.reader_url, asked, report=report)
    assert [name[: len(csv_files.HIDDEN_PREFIX)] for name in seen] == [csv_files.HIDDEN_PREFIX]
    assert list(tmp_path.iterdir()) == []


def test_hidden_rows_are_refused(family: Database, tmp_path: Path) -> None:
    """Row-level security that keeps rows from the role ends it with what to do, as for a backup;
    a table that is not asked for does not matter."""
    family.run("ALTER TABLE children ENABLE ROW LEVEL SECURITY")
    role = family.reader_url.split("//")[1].split("@")[0]
    family.run(f"ALTER ROLE {role} NOBYPASSRLS", as_admin=True)
    with pytest.raises(Refused, match=r"children has row-level security.*BYPASSRLS"):
        from_live(family, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert from_live(family, tmp_path, Selection(tables=("parents",))).note.rows == 100


@pytest.mark.parametrize(
    ("selection", "error", "said"),
    [
        (Selection(), Refused, "name at least one module or table"),
        (Selection(modules=("none",)), NotFound, "no module none"),
        (Selection(tables=("none",)), NotFound, r"no table public\.none"),
    ],
)
def test_what_is_not_there_is_refused(
    family: Database,
    store: Store,
    tmp_path: Path,
    selection: Selection,
    error: type[Refused],
    said: str,
) -> None:
    """By the live database and by a backup alike, and the folder stays as it was."""
    with pytest.raises(error, match=said):
        from_live(family, tmp_path / "out", selection)
    with pytest.raises(error, match=said):
        from_backup(store, back_up(family.reader_url, store), tmp_path / "out", selection)
    assert not (tmp_path / "out").exists()


def test_an_excluded_table_is_refused_with_the_reason(family: Database, tmp_path: Path) -> None:
    """What the YAML keeps out of backups does not leave by another door."""
    system = whole_system(excluded=["public.children"])
    asked = Asked(Selection(tables=("children",)), tmp_path / "out")
    with pytest.raises(Refused, match=r"public\.children is excluded from sample \(by the test\)"):
        export_live(system, family.reader_url, asked, report=ignore)


def test_a_folder_that_cannot_be_one_is_refused(family: Database, tmp_path: Path) -> None:
    """A file has the name of the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="is no folder that can be written"):
        from_live(family, tmp_path / "file")
