"""Each long work tells how far it is: all of it in the end, rows and bytes as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_pipelines.copies import archive, copying, json_document
from backup_pipelines.copies.archive_upload import upload
from backup_pipelines.csv.export import Asked, export_backup, export_live
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Damaged
from backup_pipelines.pace import Amount
from backup_pipelines.postgres import adbc
from backup_pipelines.progress import Meter, watched
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.verify import verify
from backup_pipelines_tests.csv_importing import import_
from backup_pipelines_tests.fix_backup import ignore
from backup_pipelines_tests.fix_postgres import Database
from backup_pipelines_tests.fix_restore import MakeSite, Site

ROWS = 60_000
OTHERS = 500

_SCHEMA = f"""
CREATE TABLE big (id int PRIMARY KEY, what text);
CREATE TABLE small (id int PRIMARY KEY, big int REFERENCES big);
CREATE TABLE empty (id int);
INSERT INTO big SELECT g, 'row number ' || g FROM generate_series(1, {ROWS}) g;
INSERT INTO small SELECT g, g FROM generate_series(1, {OTHERS}) g;
"""


@pytest.fixture
def site(server: EmbeddedServer, make_site: MakeSite) -> Site:
    """A database of three tables, one with nothing in it."""
    made = make_site(server, _SCHEMA)
    made.run("ANALYZE")
    return made


def seen(work: Callable[[], object]) -> dict[str, Meter]:
    """The meters of a work, by what they are called after the system's name."""
    found: list[Meter] = []
    open_ones: list[Meter] = []

    def watch(meter: Meter | None) -> None:
        if meter is None:
            open_ones.pop()
        else:
            open_ones.append(meter)
            found.append(meter)

    with watched(watch):
        work()
    assert open_ones == []
    return {meter.title.removeprefix("sample: "): meter for meter in found}


def test_a_backup_is_measured_by_what_postgresql_says_of_its_tables(site: Site) -> None:
    """After ANALYZE the estimate of rows is right, and sizes on disk always are."""
    meter = seen(site.back_up)["backing up"]
    assert meter.total.rows == ROWS + OTHERS
    assert meter.done.rows == ROWS + OTHERS
    assert meter.total.bytes == meter.done.bytes > 3_000_000
    assert meter.share == 1


def test_a_backup_moves_while_a_table_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By batches: a table of one piece may be all that there is."""
    monkeypatch.setattr(adbc, "_BATCH_BYTES", 100_000)
    found: list[Amount] = []
    real = Meter.add

    def add(meter: Meter, rows: int = 0, bytes: int = 0, *, what: str = "") -> None:
        real(meter, rows, bytes, what=what)
        if what == "public.big":
            found.append(meter.done)

    monkeypatch.setattr(Meter, "add", add)
    site.back_up()
    assert len(found) > 10
    shares = [one.bytes / found[-1].bytes for one in found]
    assert shares == sorted(shares)
    assert any(0.2 < share < 0.4 for share in shares)
    assert any(0.6 < share < 0.8 for share in shares)


def test_before_the_first_analyze_rows_are_counted_without_a_total(
    server: EmbeddedServer, make_site: MakeSite
) -> None:
    """PostgreSQL knows nothing of them, so nothing is said."""
    site = make_site(server, _SCHEMA)
    meter = seen(site.back_up)["backing up"]
    assert (meter.total.rows, meter.done.rows) == (0, ROWS + OTHERS)


def test_a_table_that_is_read_once_more_is_more_to_do_and_has_no_more_rows(site: Site) -> None:
    """A date that no Arrow type holds makes the whole table be read as text."""
    site.run("ALTER TABLE big ADD day date", "UPDATE big SET day = 'infinity' WHERE id = 5")
    meter = seen(site.back_up)["backing up"]
    assert meter.done.rows == ROWS + OTHERS
    assert meter.done.bytes == meter.total.bytes


def test_what_reads_a_backup_knows_all_of_it_from_the_manifest(
    site: Site, make_database: Callable[..., Database], server: EmbeddedServer, tmp_path: Path
) -> None:
    """Verify, download, upload, copy, drill and a restore into an empty database."""
    entry, store = site.back_up(), site.store
    whole = Amount(ROWS + OTHERS, entry.size_bytes)
    parts = Amount(ROWS + OTHERS, sum(table.size_bytes for table in entry.tables))
    second, third = (Store((tmp_path / name).as_uri()) for name in ("second", "third"))
    file, into = tmp_path / "b.tar", make_database(server)

    assert _ends(lambda: verify(store, entry, report=ignore)) == {"verifying": whole}
    assert _ends(lambda: archive.download(store, entry, file, report=ignore)) == {
        "downloading": Amount(bytes=file.stat().st_size)
    }
    assert _ends(lambda: upload(second, "sample", file, operator="ann", report=ignore)) == {
        "uploading": Amount(bytes=entry.size_bytes),
        "verifying": whole,
    }
    assert _ends(
        lambda: copying.copy_backup(store, third, entry, operator="ann", report=ignore)
    ) == {f"copying {entry.id}": Amount(bytes=entry.size_bytes)}
    assert _ends(lambda: run_drill(store, entry, server.url(), report=ignore)) == {
        "loading rows": parts
    }
    assert _ends(lambda: restore_into_empty(store, entry, into.owner_url, report=ignore)) == {
        "verifying": whole,
        "loading rows": parts,
    }
    document = tmp_path / "b.json"
    assert _ends(lambda: json_document.write(store, entry, document, report=ignore)) == {
        "downloading": Amount(ROWS + OTHERS)
    }


def test_a_restore_of_differences_says_what_it_compares_and_what_it_writes(site: Site) -> None:
    """The tables in the manifest's rows and bytes, the writing in rows of the plan."""
    entry = site.back_up()
    site.run("DELETE FROM small WHERE id > 100", "UPDATE big SET what = 'x' WHERE id <= 40")
    found = seen(lambda: site.restore(entry))
    parts = Amount(ROWS + OTHERS, sum(table.size_bytes for table in entry.tables))
    assert (found["comparing"].total, found["comparing"].done) == (parts, parts)
    assert found["writing"].total == found["writing"].done == Amount(440)


def test_csv_files_are_measured_by_rows_when_written_and_by_bytes_when_read(
    site: Site, tmp_path: Path
) -> None:
    """Of a live database the rows are an estimate, which is right after ANALYZE."""
    entry, rows = site.back_up(), Amount(ROWS + OTHERS)
    live, stored = (Asked(Selection(modules=("all",)), tmp_path / n) for n in ("live", "stored"))
    url = site.database.reader_url
    assert _ends(lambda: export_live(site.system, url, live, report=ignore)) == {"exporting": rows}
    assert _ends(lambda: export_backup(site.store, entry, stored, report=ignore)) == {
        "exporting": rows
    }
    site.run("DELETE FROM small", "DELETE FROM big")
    found = seen(lambda: import_(site, tmp_path / "live"))
    size = sum(file.stat().st_size for file in (tmp_path / "live").glob("*.csv"))
    assert found["reading files"].total.bytes == found["reading files"].done.bytes == size
    assert found["reading files"].done.rows == rows.rows
    assert found["reading rows as their types"].done == rows


def test_a_download_that_goes_on_begins_where_it_was(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there is no work of now."""
    entry, file = site.back_up(), tmp_path / "b.tar"
    last = archive.objects_of(entry).keys()
    removed = site.store.get(key := list(last)[-1])
    site.store.delete([key])
    with pytest.raises(Damaged):
        archive.download(site.store, entry, file, report=ignore)
    with site.store.writer(key) as out:
        out.write(removed)
    begun: list[float | None] = []

    def watch(meter: Meter | None) -> None:
        if meter is not None:
            begun.append(meter.share)

    with watched(watch):
        archive.download(site.store, entry, file, report=ignore)
    assert begun[0] is not None
    assert 0.3 < begun[0] < 1


def _ends(work: Callable[[], object]) -> dict[str, Amount]:
    """What each meter of a work had counted in the end, which is all that it was to count."""
    found = seen(work)
    assert {title: meter.total for title, meter in found.items()} == {
        title: meter.done for title, meter in found.items()
    }
    return {title: meter.done for title, meter in found.items()}
