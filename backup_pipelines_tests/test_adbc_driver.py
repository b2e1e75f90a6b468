"""The driver that tables are read by: the wheel's, or one that somebody has built."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import adbc_driver_postgresql
import psycopg
import pytest

from backup_pipelines.errors import Refused
from backup_pipelines.postgres import adbc
from backup_pipelines.postgres.connection import with_defaults
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


def test_a_backup_does_not_import_pandas(database: Database, store: Store) -> None:
    """Nobody uses it there, and it takes a quarter of a second and 40 MB."""
    code = (
        "import sys\n"
        "from backup_pipelines.storage.store import Store\n"
        "from backup_pipelines_tests.fix_backup import back_up\n"
        f"assert back_up({database.reader_url!r}, Store({store.url!r})).records_count == 100\n"
        "sys.exit(', '.join({'pandas', 'pyarrow.dataset'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_a_session_that_ends_in_the_middle_of_a_row_is_an_error(database: Database) -> None:
    """Not what pyarrow makes of it, which nobody expects of a digest."""
    session = adbc.Session(with_defaults(database.reader_url))
    (pid,) = session.row("SELECT pg_backend_pid()")
    end = f"SELECT pg_terminate_backend({pid}) FROM pg_stat_activity WHERE pid = {pid}"
    asleep = f"{end} AND wait_event = 'PgSleep'"

    def ended() -> None:
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            for _ in range(500):
                if connection.execute(asleep.encode()).fetchone() is not None:
                    return
                time.sleep(0.02)

    with ThreadPoolExecutor() as executor:
        executor.submit(ended)
        with pytest.raises(adbc.Error):
            session.row("SELECT count(pg_sleep(60)::text)")
    session.close()


def test_a_refused_query_and_a_lost_session_are_errors_of_one_kind(database: Database) -> None:
    """With PostgreSQL's words and its SQLSTATE; the session is closed without complaint."""
    session = adbc.Session(with_defaults(database.reader_url))
    with pytest.raises(adbc.Error, match="division by zero") as refused:
        session.row("SELECT 1 / 0")
    assert refused.value.sqlstate == "22012"
    session.close()
    session = adbc.Session(with_defaults(database.reader_url))
    assert session.row("SELECT 2, NULL, 'x', 3::numeric") == (2, None, "x", "3")
    (pid,) = session.row("SELECT pg_backend_pid()")
    database.run(f"SELECT pg_terminate_backend({pid}, 10000)", as_admin=True)
    with pytest.raises(adbc.Error):
        session.execute("SELECT 1")
    session.close()
