"""The driver that tables are read by: the wheel's, or one that somebody has built."""

import shutil
from collections.abc import Callable
from pathlib import Path

import adbc_driver_postgresql
import pytest

from backup_pipelines.errors import Refused
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.fix_backup import back_up
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]


@pytest.fixture
def database(server: Server, make_database: MakeDatabase) -> Database:
    """A database with some rows."""
    found = make_database(server)
    found.run("CREATE TABLE t AS SELECT n, 'row ' || n AS v FROM generate_series(1, 100) AS n")
    return found


def test_driver_of_ones_own_reads_the_same(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BACKUP_ADBC_DRIVER names the library that reads; the rows and their digest are the same."""
    usual = back_up(database.reader_url, store)
    (library,) = Path(adbc_driver_postgresql.__file__).parent.glob("*adbc_driver_postgresql.*[!y]")
    built = tmp_path / library.name
    shutil.copy(library, built)
    monkeypatch.setenv("BACKUP_ADBC_DRIVER", str(built))
    found = back_up(database.reader_url, store)
    assert [(t.rows, t.digest) for t in found.tables] == [(t.rows, t.digest) for t in usual.tables]
    assert found.tables[0].rows == 100
    assert str(built) in Path("/proc/self/maps").read_text()


def test_driver_that_is_not_there_is_named(
    database: Database, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that leads nowhere ends the backup in one sentence, and leaves nothing."""
    monkeypatch.setenv("BACKUP_ADBC_DRIVER", str(tmp_path / "gone.so"))
    with pytest.raises(Refused, match=r"BACKUP_ADBC_DRIVER names .*gone\.so, which is no file"):
        back_up(database.reader_url, store)
    assert not list(store.objects(""))
