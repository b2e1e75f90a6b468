"""The command line with a Dask cluster in its environment: the job, the check, the refusal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.cluster import BACKUP_DASK_SCHEDULER
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.exporting.staff import unable
from backup_pipelines.postgres.remote_readers import RemoteReaders
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, run_process
from backup_pipelines_tests.cli.shop_system import by_check, define
from backup_pipelines_tests.fix_dask import Dask
from backup_pipelines_tests.fix_postgres import Database

pytest_plugins = ["backup_pipelines_tests.cli.fix_shop"]


def test_the_job_backs_up_verifies_and_drills_on_the_cluster(
    demo: Demo, own_store: Store, on_dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are written by workers, which the commands do not have to be told."""
    demo.ensure_system("dcim")
    monkeypatch.setenv("DCIM_DATABASE_URL", demo.reader_url("dcim"))
    on_dask.set(DCIM_DATABASE_URL=demo.reader_url("dcim"))
    result = run_process("backup", "dcim", "--json")
    assert result.code == 0, result.err
    entry = catalog.load(own_store, "dcim", result.document["id"])
    keys = [part.key for table in entry.tables for part in table.parts]
    assert keys and all(layout.attempt_of(key) for key in keys)
    verified = run_process("verify", "dcim", "latest", "--json")
    assert verified.code == 0, verified.err
    assert verified.document["objects"] == len(keys) + len(entry.ddl) + len(entry.documents)
    # The embedded server is of this machine alone, and so is the drill there.
    drilled = run_process("drill", "dcim")
    assert drilled.code == 0, drilled.err


def test_a_scheduler_that_is_away_refuses_before_anything_starts(
    cli: Cli, demo: Demo, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, exit code 2, and no backup in the catalog."""
    monkeypatch.setenv(BACKUP_DASK_SCHEDULER, "tcp://127.0.0.1:1")
    result = cli("backup", "dcim", "--module", "glossary", "--json")
    assert (result.code, result.out) == (2, "")
    assert "does not answer at tcp://127.0.0.1:1" in result.err
    assert "Traceback" not in result.err
    assert catalog.ids(own_store, "dcim") == []


def test_preflight_looks_at_the_cluster(
    cli: Cli, shop: Database, on_dask: Dask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It says how large it is, what a worker lacks, or that nobody answers."""
    on_dask.set(SHOP_DATABASE_URL=shop.reader_url)
    found = by_check(cli("preflight", "shop", "--json"))["cluster"]
    assert (found["status"], found["found"]) == (
        "ok",
        "BACKUP_DASK_SCHEDULER answers: 2 workers, 2 threads; who answered reaches the "
        "database and the store",
    )
    assert not (tmp_path / "a" / "store").exists()
    on_dask.set(SHOP_DATABASE_URL="")
    done = cli("preflight", "shop", "--json")
    assert done.code == 1
    assert "SHOP_DATABASE_URL is not set there" in done.out
    monkeypatch.setenv(BACKUP_DASK_SCHEDULER, "tcp://127.0.0.1:1")
    done = cli("preflight", "shop", "--json")
    assert by_check(done)["cluster"]["status"] == "wrong"
    assert "start it, or remove the variable" in by_check(done)["cluster"]["found"]
    monkeypatch.delenv(BACKUP_DASK_SCHEDULER)
    assert "cluster" not in by_check(cli("preflight", "shop", "--json"))


def test_preflight_has_the_workers_try_what_a_backup_needs(
    cli: Cli,
    shop: Database,
    shop_defs: Path,
    on_dask: Dask,
    server: EmbeddedServer,
    make_database: Callable[..., Database],
    tmp_path: Path,
) -> None:
    """What every backup would fail by is wrong here, too: a database, a limit, a store."""
    on_dask.set(SHOP_DATABASE_URL=make_database(server).reader_url)
    done = cli("preflight", "shop", "--json")
    assert done.code == 1
    assert "a worker cannot join the snapshot by its SHOP_DATABASE_URL" in done.out
    assert "must lead to the same server and database as here" in done.out

    on_dask.set(SHOP_DATABASE_URL=shop.reader_url)
    define(shop_defs, max_connections=2)
    done = cli("preflight", "shop", "--json")
    assert done.code == 1
    assert "max_connections: 2 is too few on a cluster: 3 is the least" in done.out

    define(shop_defs, max_connections=3)
    assert by_check(cli("preflight", "shop", "--json"))["cluster"]["status"] == "ok"
    assert not (tmp_path / "a").exists()
    # The folders of the workers are this machine's: asked as a worker of another is.
    readers = RemoteReaders("SHOP_DATABASE_URL", "none", "(preflight)", keeps=False)
    lacking = unable(readers, Store((tmp_path / "other").as_uri()), "shop", "no-such-backup")
    assert "cannot join the snapshot" in lacking
    assert "it does not see what this machine has written" in lacking
