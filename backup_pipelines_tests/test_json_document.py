"""All rows of a backup as one JSON document: exact for every type, whole or not there at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyrage
import pytest

from backup_pipelines.copies import archive_upload, json_document
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Damaged, Refused
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Manifest
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.exactness import connect
from backup_pipelines_tests.fix_backup import back_up, ignore, whole_system
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_recovery import folder_of
from backup_pipelines_tests.test_docs_examples import TABLES
from backup_pipelines_tests.test_recovery_by_hand import ODD
from backup_pipelines_tests.test_types import fill, table_of

MakeDatabase = Callable[[Server], Database]


def download(store: Store, entry: Manifest, to: Path) -> Any:
    """The document, as a strict reader has it: no key may come twice."""
    done = json_document.write(store, entry, to, report=ignore)
    data = to.read_bytes()
    assert done.bytes == len(data)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    found = json.loads(data, object_pairs_hook=once)
    assert (len(found["tables"]), done.tables) == (done.tables, len(found["tables"]))
    assert sum(len(table["rows"]) for table in found["tables"].values()) == done.rows
    return found


@pytest.mark.parametrize("format", get_args(Format))
def test_every_value_is_postgresqls_text_or_a_number_that_nobody_rounds(
    any_server: Server, make_database: MakeDatabase, store: Store, tmp_path: Path, format: Format
) -> None:
    """Over the type matrix: int2, int4 and bool as JSON has them, everything else its text."""
    source = make_database(any_server)
    variants = fill(source)
    entry = back_up(source.reader_url, store, format=format)
    found = download(store, entry, tmp_path / "all.json")
    assert list(found) == ["system", "backup", "snapshot_at", "tables"]
    assert (found["system"], found["backup"]) == ("sample", entry.id)
    assert found["snapshot_at"] == entry.snapshot_at.isoformat()
    plain = {"pg_catalog.int2": int, "pg_catalog.int4": int, "pg_catalog.bool": bool}
    base = {t.qualified: t.columns[1].base_type for t in entry.tables if t.columns}
    with connect(source.admin_url) as connection:
        for variant in variants:
            name = f"public.{table_of(variant)}"
            table = found["tables"][name]
            assert [column["name"] for column in table["columns"]] == ["id", "v"]
            values = {row["id"]: row["v"] for row in table["rows"]}
            kinds = {type(value) for value in values.values() if value is not None}
            assert kinds <= {plain.get(base[name], str)}, name
            # As a backup: of char(n) all blanks, of XML its declaration.
            shown = "v::text" if variant.type == "xml" else "format('%s', v)"
            truth = connection.execute(
                f"SELECT id, CASE WHEN num_nulls(v) = 0 THEN {shown} END FROM {name}".encode()
            ).fetchall()
            words = {True: "t", False: "f", None: None}
            assert {
                n: words[v] if v is None or isinstance(v, bool) else str(v)
                for n, v in values.items()
            } == dict(truth), name


@pytest.mark.parametrize("format", get_args(Format))
def test_tables_of_all_kinds(
    server: EmbeddedServer,
    make_database: MakeDatabase,
    store: Store,
    tmp_path: Path,
    format: Format,
) -> None:
    """Odd names, partitions as one table, no columns, no rows, generated values: all there."""
    source = make_database(server)
    source.run(TABLES, ODD, "CREATE TABLE bare_empty (); CREATE TABLE parted_3 (at date, id int)")
    source.run("ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES FROM (20) TO (30)")
    source.run("INSERT INTO parted VALUES (25, 'infinity')")
    entry = back_up(source.reader_url, store, format=format)
    tables = download(store, entry, tmp_path / "all.json")["tables"]
    assert set(tables) == {t.qualified for t in entry.tables if t.partition_of is None}
    assert tables["public.parted"]["columns"] == [
        {"name": "id", "type": "integer"},
        {"name": "at", "type": "date"},
    ]
    rows = {row["id"]: row["at"] for row in tables["public.parted"]["rows"]}
    assert rows == {**dict.fromkeys(range(20), "2024-01-01"), 25: "infinity"}
    assert all(list(row) == ["id", "at"] for row in tables["public.parted"]["rows"])
    assert tables["public.no_columns"] == {"columns": [], "rows": [{}, {}, {}]}
    assert tables["public.bare_empty"] == {"columns": [], "rows": []}
    assert tables["public.nothing"]["rows"] == [{"id": 1}]
    assert tables["public.child"]["rows"] == [{"id": 2, "more": "x"}]
    assert tables["public.only_generated"]["rows"] == [{"a": 7}] * 3
    [odd] = [one for name, one in tables.items() if "touch stolen" in name]
    assert odd["rows"][0]["日本 é"] == "\\x00ff" and odd["rows"][0]["new\nline"] == "l"
    assert tables["public.products"]["rows"][0] == {
        **{"id": "1", "sku": "sku 1", "name": 'Größe "1"\n\\.\n', "unit_price": "1.37"},
        **{"attributes": '{"g": 1}', "is_active": False},
    }


def test_many_rows_without_columns(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> None:
    """More of them than are written at once are all there."""
    source = make_database(server)
    source.run("CREATE TABLE none (); INSERT INTO none SELECT FROM generate_series(1, 20001)")
    found = download(store, back_up(source.reader_url, store), tmp_path / "all.json")
    assert found["tables"]["public.none"]["rows"] == [{}] * 20001


@pytest.fixture
def source(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """A database with two tables."""
    made = make_database(server)
    made.run(
        "CREATE TABLE a (id int8); INSERT INTO a VALUES (9007199254740993)",
        "CREATE TABLE b (v text); INSERT INTO b SELECT md5(n::text) FROM generate_series(1, 99) n",
    )
    return made


def test_a_file_that_exists_and_a_damaged_backup(
    source: Database, store: Store, tmp_path: Path
) -> None:
    """Nothing is replaced, and of a backup with one changed byte there is no document at all."""
    entry = back_up(source.reader_url, store)
    to = tmp_path / "out" / "all.json"
    found = download(store, entry, to)
    assert found["tables"]["public.a"]["rows"] == [{"id": "9007199254740993"}]
    before = to.read_bytes()
    assert to.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match=r"has all\.json already"):
        json_document.write(store, entry, to, report=ignore)
    assert to.read_bytes() == before
    with pytest.raises(Refused, match=r"is no file that can be made: name one, such as sample\.j"):
        json_document.write(store, entry, Path("/"), report=ignore)

    path = folder_of(store) / entry.tables[1].parts[0].key
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(Damaged, match="reads back different"):
        json_document.write(store, entry, tmp_path / "new" / "all.json", report=ignore)
    assert not (tmp_path / "new").exists()


def test_an_encrypted_backup(
    source: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused without an identity, before any file is begun, and in clear with one."""
    identity = pyrage.x25519.Identity.generate()
    encryption = EncryptionSpec(recipients=[str(identity.to_public())])
    system = whole_system().model_copy(update={"encryption": encryption})
    entry = back_up(source.reader_url, store, system, format="jsonl")
    with pytest.raises(Refused, match="is encrypted to"):
        json_document.write(store, entry, tmp_path / "out" / "all.json", report=ignore)
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(identity))
    assert len(download(store, entry, tmp_path / "all.json")["tables"]["public.b"]["rows"]) == 99


def test_it_cannot_be_uploaded(source: Database, store: Store, tmp_path: Path) -> None:
    """It is no archive, and that is said."""
    to = tmp_path / "all.json"
    download(store, back_up(source.reader_url, store), to)
    with pytest.raises(Refused, match=r"all\.json is a JSON document of rows, which has no DDL"):
        archive_upload.upload(store, "sample", to, operator="ada", report=ignore)
