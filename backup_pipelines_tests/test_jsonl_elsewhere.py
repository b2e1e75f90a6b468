"""Backups as JSON Lines in everything that reads rows beside a restore, and on every store."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.copies import archive, archive_upload, copying, reencrypt
from backup_pipelines.csv.export import Asked, export_backup
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Refused
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.age import BACKUP_AGE_IDENTITY
from backup_pipelines.storage.store import Store
from backup_pipelines.timeline import local_parts
from backup_pipelines.timeline.history import history
from backup_pipelines.timeline.query import asked
from backup_pipelines.verify import verify
from backup_pipelines_tests.fix_backup import back_up, ignore, in_json_lines
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_recovery import assert_equal, encrypted_to
from backup_pipelines_tests.fix_s3 import Place
from backup_pipelines_tests.test_types import fill

MakeDatabase = Callable[[Server], Database]


@pytest.fixture
def source(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """A database with one table of some rows."""
    made = make_database(server)
    made.run(
        "CREATE TABLE notes (id int PRIMARY KEY, said text, seen timestamptz, amount numeric(9,2))",
        "INSERT INTO notes SELECT n, 'note ' || n, '2026-01-01', n FROM generate_series(1, 99) n",
    )
    return made


def test_what_is_encrypted_is_read_and_encrypted_anew(
    source: Database,
    make_database: MakeDatabase,
    server: EmbeddedServer,
    store: Store,
    identity_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an identity all is as without, its copy in clear is still JSON Lines."""
    system = in_json_lines(encrypted_to(identity_file))
    entry = back_up(source.reader_url, store, system)
    assert entry.tables[0].parts[0].key.endswith(".jsonl.zst.age")
    assert verify(store, entry, report=ignore).opened is False
    monkeypatch.setenv(BACKUP_AGE_IDENTITY, str(identity_file))
    assert verify(store, entry, report=ignore).opened is True
    target = make_database(server)
    restore_into_empty(store, entry, target.admin_url, report=ignore)
    assert_equal(target.admin_url, entry)
    with asked(store, [entry], "SELECT sum(amount) FROM notes", many=False) as answer:
        assert list(answer.rows) == [("4950.00",)]

    found = reencrypt.reencrypt(
        store, in_json_lines(), entry.id, operator="test", reason="", report=ignore
    )
    copy = catalog.load(store, entry.system, found.new)
    assert copy.tables[0].parts[0].key.endswith("part-00000.jsonl.zst")
    assert [t.digest for t in copy.tables] == [t.digest for t in entry.tables]
    assert copy.format_version == 2
    verify(store, copy, report=ignore)


def test_looking_into_backups_of_both_formats(
    source: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types, sums and versions are those of Parquet, and a mix of both is one history."""
    first = back_up(source.reader_url, store)
    source.run("UPDATE notes SET amount = 0.5 WHERE id = 7")
    second = back_up(source.reader_url, store, in_json_lines())
    source.run("INSERT INTO notes VALUES (100, E'\\n', 'infinity', 1)")
    third = back_up(source.reader_url, store, in_json_lines())
    sql = "SELECT id, said, seen, amount FROM notes WHERE amount < 2 AND id > 1 ORDER BY id"
    with asked(store, [second], sql, many=False) as answer:
        assert [kind for _, kind in answer.columns] == [
            *("INTEGER", "VARCHAR", "TIMESTAMP WITH TIME ZONE", "DECIMAL(9,2)")
        ]
        assert list(answer.rows) == [(7, "note 7", "2026-01-01 00:00:00+00", "0.50")]
    entries = [first, second, third]
    with asked(store, entries, "SELECT count(*) FROM notes", many=True) as answer:
        assert list(answer.rows) == [(99 + 99 + 100,)]
    found = history(store, entries, "notes", ["7"], ignore)
    assert [(v.backup_id, v.record and v.record["amount"]) for v in found.versions] == [
        (first.id, "7.00"),
        (second.id, "0.50"),
    ]
    # Twice its size has to have room: what is fetched lies beside what it becomes.
    [part] = second.tables[0].parts
    room = type("Room", (), {"free": part.size_bytes * 2 - 1})
    monkeypatch.setattr(local_parts.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(Refused, match=f"have {part.size_bytes * 2:,} bytes"):
        history(store, [second], "notes", ["7"], ignore)


def test_csv_files_of_both_formats_are_the_same_bytes(
    server: EmbeddedServer, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> None:
    """Over the type matrix, what is exported tells nothing of how the backup is written."""
    source = make_database(server)
    fill(source)
    files: list[dict[str, bytes]] = []
    for format in get_args(layout.Format):
        entry = back_up(source.reader_url, store, format=format)
        wanted = Asked(Selection(modules=("all",)), tmp_path / format)
        export_backup(store, entry, wanted, report=ignore)
        files.append({path.name: path.read_bytes() for path in (tmp_path / format).glob("*.csv")})
    assert len(files[0]) > 100
    assert files[0] == files[1]


def test_json_lines_on_every_store(
    source: Database, server: EmbeddedServer, make_database: MakeDatabase, place: Place
) -> None:
    """From a bucket too lines are verified, restored and looked into."""
    source.run(
        "CREATE TABLE wide (id int, v text)",
        "INSERT INTO wide SELECT n, string_agg(md5((n * m)::text), '') FROM generate_series(1, 3)"
        " AS n, generate_series(1, 200000) AS m GROUP BY n",
    )
    target = make_database(server)
    entry = back_up(source.reader_url, place.store, in_json_lines())
    verify(place.store, entry, report=ignore)
    restore_into_empty(place.store, entry, target.admin_url, report=ignore)
    assert_equal(target.admin_url, entry)
    sql = "SELECT count(*), max(length(v)) FROM wide"
    with asked(place.store, [entry], sql, many=False) as answer:
        assert list(answer.rows) == [(3, 6_400_000)]


def test_an_archive_and_the_second_store_have_json_lines_as_they_are(
    source: Database, store: Store, tmp_path: Path
) -> None:
    """Downloaded and uploaded, or copied, the objects are byte for byte the same."""
    entry = back_up(source.reader_url, store, in_json_lines())
    other, second = (Store((tmp_path / name).as_uri()) for name in ("other", "second"))
    archive.download(store, entry, tmp_path / "a.tar", report=ignore)
    archive_upload.upload(other, "sample", tmp_path / "a.tar", operator="ada", report=ignore)
    copying.copy_backup(store, second, entry, operator="ada", report=ignore)
    for place in (other, second):
        found = catalog.load(place, entry.system, entry.id)
        assert found == entry
        verify(place, found, report=ignore)
