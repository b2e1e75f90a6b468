"""Histories and differences: what can be followed, how, and what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pyrage
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, NotFound, Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.timeline import difference_file
from backup_pipelines.timeline.differences import Differences, RowDifference, differences
from backup_pipelines.timeline.history import History, history, restore_command
from backup_pipelines.timeline.sides import of_backup, of_live
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_s3 import Place

SCHEMA = """
CREATE TABLE deal (id bigint PRIMARY KEY, stage text, amount numeric(12, 2));
CREATE TABLE seat (hall text, no int, note text, PRIMARY KEY (no, hall));
CREATE TABLE loose (v text);
CREATE TABLE price (k numeric(8, 2) PRIMARY KEY, c char(4));
CREATE TABLE odd (f float8, day date, u uuid, ok bool, raw bytea, at timestamptz, c char(5),
    v text, PRIMARY KEY (f, day, u, ok, raw, at, c));
INSERT INTO deal VALUES (1, 'open', 10), (2, 'open', NULL);
INSERT INTO seat VALUES ('A', 1, NULL), ('a,b', 1, 'comma');
INSERT INTO loose VALUES ('x'), ('x'), (NULL);
INSERT INTO price VALUES (1.50, 'ab');
INSERT INTO odd VALUES (0.5, '2026-01-02', '00000000-0000-0000-0000-0000000000aa', true,
    '\\xABcd', '2026-01-01 12:00+02', 'ab', 'found');
"""


@pytest.fixture
def source(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """A small database, which tests change between backups."""
    made = make_database(server)
    made.run(SCHEMA)
    return made


def follow(store: Store, entries: Sequence[Manifest], table: str, *key: str) -> History:
    """The history of one record."""
    return history(store, entries, table, key, ignore)


def compare(
    store: Store, first: Manifest, second: Manifest, folder: Path, *tables: str
) -> tuple[Differences, dict[str, list[RowDifference]]]:
    """What differs, with all rows."""
    folder.mkdir()
    sides = of_backup(store, first), of_backup(store, second)
    with differences(*sides, tables, folder, ignore) as found:
        return found, {t.table: list(found.rows(t, None)) for t in found.tables}


def test_a_record_comes_changes_goes_and_comes_back(source: Database, store: Store) -> None:
    """Every event names the first backup that shows it and the last one that shows the same."""
    taken = [back_up(source.reader_url, store)]
    for statement in (
        "INSERT INTO deal VALUES (3, 'open', 5)",
        "UPDATE deal SET stage = 'won', amount = NULL WHERE id = 3",
        "ALTER TABLE deal ADD COLUMN owner text",
        "UPDATE deal SET owner = 'ada' WHERE id = 3",
        "DELETE FROM deal WHERE id = 3",
        "INSERT INTO deal VALUES (3, 'open', 5, 'bob')",
    ):
        source.run(statement)
        taken.append(back_up(source.reader_url, store))
    found = follow(store, taken, "deal", "3")
    assert (found.table, found.key, found.backups) == ("public.deal", {"id": "3"}, 7)
    events = [(v.event, v.backup_id, v.last_backup_id) for v in found.versions]
    assert events == [
        ("first", taken[1].id, taken[1].id),
        # A new column without a value changes nothing.
        ("changed", taken[2].id, taken[3].id),
        ("changed", taken[4].id, taken[4].id),
        ("gone", taken[5].id, taken[5].id),
        ("back", taken[6].id, taken[6].id),
    ]
    changes = [[(c.column, c.old, c.new) for c in v.changes] for v in found.versions]
    assert changes[1:3] == [
        [("stage", "open", "won"), ("amount", "5.00", None)],
        [("owner", None, "ada")],
    ]
    assert changes[4] == [
        ("stage", "won", "open"),
        ("amount", None, "5.00"),
        ("owner", "ada", "bob"),
    ]
    source.run("DROP TABLE deal")
    taken.append(back_up(source.reader_url, store))
    assert follow(store, taken, "deal", "1").versions[-1].event == "gone"


def test_keys_are_compared_by_the_types_of_the_catalog(store: Store, sealed: Manifest) -> None:
    """007 is 7, 1.5 is 1.50, a text is itself; composite keys with commas or one by one."""
    uuid = "{00000000-0000-0000-0000-0000000000AA}"
    for table, key in (
        ("deal", ("0001",)),
        ("deal", ("+1",)),
        ("seat", ("1,A",)),
        ("seat", ("1", "a,b")),
        ("price", ("1.5",)),
        ("price", ("001.500",)),
        ("odd", ("0.50", "2026-01-02", uuid, "t", "\\xabCD", "2026-01-01 10:00Z", "ab")),
    ):
        assert len(follow(store, [sealed], table, *key).versions) == 1, (table, key)
    for table, key in (("deal", "10"), ("seat", "1,B"), ("price", "1.505"), ("price", "NaN")):
        with pytest.raises(NotFound, match="none of 1 backups has a record"):
            follow(store, [sealed], table, key)


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("deal", ("x",), "x is no bigint, which id of public.deal is"),
        ("deal", ("1.0",), "1.0 is no bigint"),
        ("deal", ("1", "2"), "the key of public.deal is id .bigint.: give 1 values"),
        ("seat", ("1",), "the key of public.seat is no .integer., hall .text.: give 2 values"),
        ("price", ("one",), "one is no numeric"),
        ("odd", ("1", "never", "u", "t", "x", "y", "z"), "never is no date"),
        ("loose", ("x",), "public.loose has no primary key"),
        ("nope", ("x",), "no backup holds a table public.nope .the tables are public.deal"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    store: Store, sealed: Manifest, table: str, key: tuple[str, ...], said: str
) -> None:
    """One sentence that says what the key is."""
    with pytest.raises(Refused, match=said):
        follow(store, [sealed], table, *key)


def test_the_command_names_what_the_restore_can_name(store: Store, sealed: Manifest) -> None:
    """A comma in one of several values leaves only the whole table; quotes are for a shell."""
    found = follow(store, [sealed], "seat", "1", "A")
    base = f"backup-pipelines restore sample {sealed.id} --table public.seat"
    command = restore_command("sample", found, found.versions[0])
    assert command == f"{base} --key 1,A --confirm CONFIRM"
    command = restore_command("sample", found, found.versions[0], "second")
    assert command == f"{base} --key 1,A --store second --confirm CONFIRM"
    found = follow(store, [sealed], "seat", "1", "a,b")
    command = restore_command("sample", found, found.versions[0])
    assert command == f"{base} --mode upsert --confirm CONFIRM"


def test_what_is_equal_by_digest_is_not_read(
    source: Database, store: Store, tmp_path: Path
) -> None:
    """Parts of unchanged tables may even be missing; those that differ are checked."""
    first = back_up(source.reader_url, store)
    source.run("UPDATE deal SET amount = 10.01 WHERE id = 1")
    second = back_up(source.reader_url, store)
    for table in second.tables:
        if table.name != "deal":
            store.delete([part.key for part in table.parts])
    found, rows = compare(store, first, second, tmp_path / "1")
    assert [t.table for t in found.tables if not t.by_digest] == ["public.deal"]
    [row] = rows["public.deal"]
    assert (row.op, row.changed, row.key) == ("update", ("amount",), {"id": "1"})
    assert row.before == {"id": "1", "stage": "open", "amount": "10.00"}
    [deal] = [table for table in second.tables if table.name == "deal"]
    path = store.local_path(deal.parts[0].key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Damaged, match="other bytes than were written"):
        compare(store, first, second, tmp_path / "2", "deal")
    with pytest.raises(NotFound, match=r"has a table public\.nope"):
        compare(store, first, second, tmp_path / "3", "nope")


def test_rows_without_a_key_differ_as_often_as_they_do(
    source: Database, store: Store, tmp_path: Path
) -> None:
    """Equal rows are counted; the file has each of them, with NULL and '' apart."""
    first = back_up(source.reader_url, store)
    source.run("DELETE FROM loose WHERE v = 'x'", "INSERT INTO loose VALUES (''), (''), (NULL)")
    second = back_up(source.reader_url, store)
    (tmp_path / "work").mkdir()
    sides = of_backup(store, first), of_backup(store, second)
    with differences(*sides, ["loose"], tmp_path / "work", ignore) as found:
        [table] = found.tables
        assert (table.insert, table.update, table.delete, table.unchanged) == (3, 0, 2, 1)
        assert len(list(found.rows(table, 2))) == 2
        assert difference_file.write(found, tmp_path / "rows.parquet") == 5
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["before"] for row in rows if row["op"] == "delete"] == [[("v", "x")]] * 2
    after = [row["after"][0][1] for row in rows if row["op"] == "insert"]
    assert sorted(after, key=str) == ["", "", None]


def test_tables_come_and_go_and_keys_change(source: Database, store: Store, tmp_path: Path) -> None:
    """Their rows are inserts or deletes; a table with another key is compared by whole rows."""
    first = back_up(source.reader_url, store)
    source.run(
        "CREATE TABLE made (id int PRIMARY KEY)",
        "INSERT INTO made VALUES (7)",
        "DROP TABLE price",
        "ALTER TABLE seat DROP CONSTRAINT seat_pkey",
        "UPDATE seat SET note = 'new' WHERE hall = 'A'",
        "CREATE TABLE bare ()",
        "INSERT INTO bare DEFAULT VALUES",
    )
    second = back_up(source.reader_url, store)
    found, rows = compare(store, first, second, tmp_path / "work")
    counts = {t.table: (t.insert, t.update, t.delete) for t in found.tables if not t.is_nothing}
    assert counts == {
        "public.made": (1, 0, 0),
        "public.price": (0, 0, 1),
        "public.seat": (1, 0, 1),
        "public.bare": (1, 0, 0),
    }
    notes = {t.table: t.notes for t in found.tables if t.notes}
    assert notes["public.made"] == ("the table was made",)
    assert notes["public.price"] == ("the table is gone",)
    assert "compared by whole rows" in notes["public.seat"][0]
    assert rows["public.price"][0].before == {"k": "1.50", "c": "ab  "}


def test_live_tables_that_differ_are_read_in_one_snapshot(
    source: Database, store: Store, tmp_path: Path
) -> None:
    """By the role that only reads; a role that row-level security hides rows from is refused."""
    entry = back_up(source.reader_url, store)
    source.run("INSERT INTO deal VALUES (9, 'new', 1)")
    folders = [tmp_path / name for name in ("live", "work")]
    for folder in folders:
        folder.mkdir()
    before, system = of_backup(store, entry), whole_system()
    wanted = frozenset(("public.deal", "public.seat"))
    with (
        of_live(system, source.reader_url, before, wanted, folders[0], ignore) as now,
        differences(before, now, ["deal", "seat"], folders[1], ignore) as found,
    ):
        counts = {t.table: (t.insert, t.by_digest) for t in found.tables}
        assert counts == {"public.deal": (1, False), "public.seat": (0, True)}
        [deal, _] = found.tables
        [row] = found.rows(deal, None)
        assert row.after == {"id": "9", "stage": "new", "amount": "1.00"}
    hidden = "ALTER TABLE deal ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    source.run(hidden, "CREATE POLICY none ON deal USING (false)")
    with pytest.raises(Refused, match="deal has row-level security that hides rows"):
        stack = of_live(system, source.owner_url, before, wanted, folders[0], ignore)
        stack.__enter__()


def test_any_kind_of_store_is_looked_into(source: Database, place: Place, tmp_path: Path) -> None:
    """Folder and S3 servers give the same history and differences."""
    first = back_up(source.reader_url, place.store)
    source.run("UPDATE deal SET stage = 'won' WHERE id = 1")
    second = back_up(source.reader_url, place.store)
    found = follow(place.store, [first, second], "deal", "1")
    assert [v.event for v in found.versions] == ["first", "changed"]
    _, rows = compare(place.store, first, second, tmp_path / "work")
    assert [row.changed for row in rows["public.deal"]] == [("stage",)]


def test_encrypted_backups_need_their_identity(
    source: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several suffices to refuse a history; with the identity all is as ever."""
    first = back_up(source.reader_url, store)
    source.run("UPDATE deal SET stage = 'won' WHERE id = 1")
    identity = pyrage.x25519.Identity.generate()
    spec = EncryptionSpec(recipients=[str(identity.to_public())])
    system = whole_system().model_copy(update={"encryption": spec})
    second = back_up(source.reader_url, store, system)
    with pytest.raises(Refused, match="BACKUP_AGE_IDENTITY"):
        follow(store, [first, second], "deal", "1")
    monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(identity))
    assert len(follow(store, [first, second], "deal", "1").versions) == 2
    _, rows = compare(store, first, second, tmp_path / "work", "deal")
    assert [row.op for row in rows["public.deal"]] == ["update"]
