"""`preflight`: everything that a first backup needs, said at once, and nothing left behind."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pyrage
import pytest

from backup_pipelines import environment, systems
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.postgres.connection import connected, describe
from backup_pipelines.preflighting import database as database_checks
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli
from backup_pipelines_tests.cli.shop_system import BACKED_UP, OWNED, by_check, define, said
from backup_pipelines_tests.fix_backup import back_up
from backup_pipelines_tests.fix_postgres import Database
from backup_pipelines_tests.fix_receivers import free_port

pytest_plugins = ["backup_pipelines_tests.cli.fix_shop"]


def test_what_is_right_is_ready_and_can_be_backed_up(
    cli: Cli, shop: Database, tmp_path: Path
) -> None:
    """Nothing is wrong, nothing is left behind, and the first backup works."""
    done = cli("preflight", "shop", "--json")
    assert done.code == 0, done.out
    assert (done.document["ready"], done.document["wrong"]) == (True, 0)
    assert said(done, "warning") == []
    found = by_check(done)
    assert found["modules"]["found"] == "2 tables in 1 module"
    assert found["restores"]["found"].endswith("owns all tables")
    assert found["schedule"]["found"] == "every_2_days; due at once, when the daemon runs"
    assert {"connection", "encoding", "DDL", "store: remove", "room"} <= found.keys()
    assert done.document["expected_by"] is None
    assert done.document["expected_seconds"] > 0 < done.document["expected_bytes"]
    assert not (tmp_path / "a").exists()

    store = Store(os.environ[environment.BACKUP_STORE_URL])
    sealed = back_up(shop.reader_url, store, systems.load_system("shop"))
    again = cli("preflight", "shop", "--json")
    assert again.document["expected_by"] == sealed.id
    objects = {found.key for found in store.objects("shop/")}
    assert objects and all(key.startswith(f"shop/backups/{sealed.id}/") for key in objects)
    assert os.listdir(tmp_path / "a" / "store" / "shop" / "backups") == [sealed.id]


def test_lines_for_people(cli: Cli, shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line has its status and below it what to do; the verdict and the next command end it."""
    monkeypatch.delenv("BACKUP_HEARTBEAT_URL")
    done = cli("preflight", "shop")
    assert done.code == 0
    lines = done.out.splitlines()
    [at] = [number for number, line in enumerate(lines) if line[9:].startswith("heartbeat")]
    assert lines[at].startswith("warning  heartbeat ")
    assert lines[at + 1].strip().startswith("Set BACKUP_HEARTBEAT_URL")
    assert lines[-2:] == [
        "shop: ready for a backup, 1 warning",
        "Take it: backup-pipelines backup shop",
    ]
    assert "ok       YAML " in lines[0]


def test_everything_that_is_wrong_is_said_at_once(
    cli: Cli,
    shop_defs: Path,
    shop: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of everything wrong in YAML, database, store, keys and surroundings nothing hides another."""
    role = f"{shop.name}_stranger"
    shop.run(
        "CREATE TABLE secret (id int PRIMARY KEY); ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
        "CREATE SCHEMA hidden; CREATE TABLE hidden.t (id int)",
    )
    shop.run(
        f"CREATE ROLE {role} LOGIN; GRANT SELECT ON secret, order_lines TO {role}", as_admin=True
    )
    define(
        shop_defs,
        modules={"sales": {"tables": ["orders", "order_lines", "gone", "secret"]}},
        object_lock={"mode": "governance", "days": 3},
        second_store={"url_env": "SECOND_URL"},
        encryption={"recipients": [str(pyrage.x25519.Identity.generate().to_public())]},  # pyright: ignore
        drill={"server_url_env": "DRILL_URL"},
        guards={"nonsense": 1},
    )
    (tmp_path / "file").write_text("in the way")
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {
        BACKED_UP: shop.reader_url.replace(f"{shop.name}_reader", role),
        OWNED: f"postgresql://nobody:very-secret@127.0.0.1:{free_port()}/shop",
        environment.BACKUP_STORE_URL: (tmp_path / "file" / "store").as_uri(),
        "PG_DUMP": "/nowhere/pg_dump",
        "BACKUP_AGE_IDENTITY": "no identity",
        "BACKUP_NOTIFY_URLS": "nonsense",
        environment.DAGSTER_HOME: str(home),
        environment.DAGSTER_POSTGRES_URL: f"postgresql://x@127.0.0.1:{free_port()}/dagster",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("BACKUP_HEARTBEAT_URL")
    try:
        done = cli("preflight", "shop", "--json")
    finally:
        shop.run(f"DROP OWNED BY {role}; DROP ROLE {role}", as_admin=True)
    assert (done.code, done.document["ready"]) == (1, False)
    problems = [
        ("YAML", "guards.nonsense"),
        ("modules", "public.gone is in module sales but not in the database"),
        ("tables", f'GRANT USAGE ON SCHEMA "hidden" TO "{role}";'),
        ("tables", f'GRANT SELECT ON "public"."orders" TO "{role}";'),
        ("tables", f'GRANT SELECT ON "hidden"."t" TO "{role}";'),
        ("row security", f'ALTER ROLE "{role}" BYPASSRLS;'),
        ("sequences", 'GRANT SELECT ON SEQUENCE "public"."orders_id_seq"'),
        ("pg_dump", "PG_DUMP=/nowhere/pg_dump does not run"),
        ("store", "the store failed at"),
        ("Dagster's home", "has no dagster.yaml"),
        ("Dagster", "cannot connect to Dagster"),
    ]
    wrong = said(done, "wrong")
    for check, part in problems:
        assert any(c == check and part in found for c, found in wrong), (check, wrong)
    warnings = dict(said(done, "warning"))
    assert {"second store", "identity", "drills", "heartbeat", "object lock"} <= warnings.keys()
    assert warnings["module other"] == "no module names hidden.t"
    assert "Apprise does not understand it" in warnings["notifications"]
    assert "cannot connect" in warnings["restores"]
    assert done.document["wrong"] == len(wrong)
    assert "very-secret" not in done.out + done.err
    text = cli("preflight", "shop")
    assert text.code == 1
    assert "shop: NOT ready for a backup: " in text.out.splitlines()[-1]


def test_an_unsuitable_database_and_its_role_are_both_said(
    cli: Cli, shop: Database, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong encoding does not hide that no table is there."""
    name = f"{shop.name}_ascii"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' "
            "LOCALE_PROVIDER libc LOCALE 'C'".encode()
        )
        try:
            monkeypatch.setenv(BACKED_UP, server.url(name))
            done = cli("preflight", "shop", "--json")
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    checks = [check for check, _ in said(done, "wrong")]
    assert checks == ["encoding", "modules"]
    assert by_check(done)["version"]["status"] == "ok"
    assert by_check(done)["restores"]["found"].startswith(f"{OWNED} leads to database {shop.name}")


@pytest.mark.parametrize("url", ["", "postgresql://u:pass/word@h/d", "down"])
def test_without_a_database_the_rest_is_looked_at(
    url: str, cli: Cli, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is not set, a URL that is none, a server that is away: one line of many."""
    away = f"postgresql://u@127.0.0.1:{free_port()}/d"
    monkeypatch.setenv(BACKED_UP, away if url == "down" else url)
    done = cli("preflight", "shop", "--json")
    assert [check for check, _ in said(done, "wrong")] == ["database"]
    assert "pass/word" not in done.out
    found = by_check(done)
    assert found["store: remove"]["status"] == "ok"
    assert found["duration"]["found"].startswith("not checked")
    assert done.document["expected_seconds"] is None


def test_a_file_that_is_no_yaml_hides_nothing_that_needs_none(
    cli: Cli, shop_defs: Path, shop: Database
) -> None:
    """Where not even the database's variable can be read, store and Dagster are looked at."""
    (shop_defs / "shop" / "defs.yaml").write_text("type: [")
    done = cli("preflight", "shop", "--json")
    assert done.code == 1
    assert [check for check, _ in said(done, "wrong")] == ["YAML"]
    assert by_check(done)["store: remove"]["status"] == "ok"
    assert by_check(done)["Dagster's home"]["status"] == "ok"
    assert by_check(done)["database"]["found"].startswith("not checked")


def test_pg_dump_is_not_blamed_for_what_the_role_may_not_read(cli: Cli, shop: Database) -> None:
    """It would fail by the same tables: it is left alone until they may be read."""
    shop.run(f"REVOKE pg_read_all_data FROM {shop.name}_reader", as_admin=True)
    done = cli("preflight", "shop", "--json")
    assert {check for check, _ in said(done, "wrong")} == {"tables", "sequences"}
    assert by_check(done)["DDL"]["found"].startswith("not checked")
    assert by_check(done)["pg_dump"]["status"] == "ok"


def test_what_no_backup_holds_is_a_warning(cli: Cli, shop: Database) -> None:
    """Large objects and foreign tables are named with the reason."""
    shop.run(
        "SELECT lo_create(0)",
        "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER s FOREIGN DATA WRAPPER elsewhere",
        "CREATE FOREIGN TABLE remote (id int) SERVER s",
        as_admin=True,
    )
    done = cli("preflight", "shop", "--json")
    assert done.code == 0
    [(check, found)] = said(done, "warning")
    assert check == "left out"
    assert "public.remote (foreign table" in found and "1 large objects" in found


def test_a_role_that_does_not_own_is_a_warning(
    cli: Cli, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backups work by a role that could not restore; it is said, with the tables."""
    monkeypatch.setenv(OWNED, shop.reader_url)
    done = cli("preflight", "shop", "--json")
    assert done.code == 0
    [(check, found)] = said(done, "warning")
    assert check == "restores"
    assert found.endswith("does not own 2 tables: public.order_lines, public.orders")


def test_encryption_and_identities(
    cli: Cli, shop_defs: Path, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an identity a warning, with another's too, with the right one none."""
    ours, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()  # pyright: ignore
    define(shop_defs, encryption={"recipients": [str(ours.to_public())]})
    monkeypatch.delenv("BACKUP_AGE_IDENTITY", raising=False)
    assert "is not set" in dict(said(cli("preflight", "shop", "--json"), "warning"))["identity"]
    monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(other))
    refused = cli("preflight", "shop", "--json")
    assert refused.code == 0
    assert "opens nothing" in dict(said(refused, "warning"))["identity"]
    assert str(other) not in refused.out
    monkeypatch.setenv("BACKUP_AGE_IDENTITY", str(ours))
    assert said(cli("preflight", "shop", "--json"), "warning") == []


def test_the_database_is_only_read(cli: Cli, shop: Database, server: EmbeddedServer) -> None:
    """Looking changes no row of the catalog and leaves no session."""
    asked = "SELECT count(*), max(xmin::text::bigint) FROM pg_catalog.pg_class"
    with psycopg.connect(shop.admin_url) as before:
        first = before.execute(asked.encode()).fetchone()
    assert cli("preflight", "shop").code == 0
    with psycopg.connect(shop.admin_url) as after:
        assert after.execute(asked.encode()).fetchone() == first
        rows = after.execute(
            "SELECT usename FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            " AND application_name LIKE 'backup_pipelines%%'",
            [shop.name],
        ).fetchall()
    assert rows == []


def test_clocks_that_differ_are_a_warning(shop: Database) -> None:
    """A minute is forgiven, more is said with its length."""
    with connected(shop.reader_url) as connection:
        server = describe(connection)
    near = database_checks.clock(server, server.now + timedelta(seconds=59))
    assert near.status == "ok"
    far = database_checks.clock(server, server.now - timedelta(minutes=20))
    assert far.status == "warning"
    assert "1200.0 s behind" in far.found


def test_dagsters_database(
    cli: Cli,
    shop: Database,
    tmp_path: Path,
    server: EmbeddedServer,
    make_database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that can be used is ok, one where no tables can be made is wrong, an own one is left."""
    made = make_database(server)
    owned = made.owner_url.replace("postgresql://", "postgresql+psycopg2://")
    monkeypatch.setenv(environment.DAGSTER_POSTGRES_URL, owned)
    done = cli("preflight", "shop", "--json")
    assert "is new" in by_check(done)["Dagster's database"]["found"]
    monkeypatch.setenv(environment.DAGSTER_POSTGRES_URL, made.reader_url)
    [(check, found)] = said(cli("preflight", "shop", "--json"), "wrong")
    assert (check, "its role may make none" in found) == ("Dagster's database", True)
    made.run("CREATE TABLE runs (id int)")
    assert cli("preflight", "shop").code == 0
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}")
    monkeypatch.setenv(environment.DAGSTER_HOME, str(tmp_path / "home"))
    done = cli("preflight", "shop", "--json")
    assert by_check(done)["Dagster's database"]["found"].endswith("not looked at")


def test_an_unknown_system_is_refused(cli: Cli, shop_defs: Path) -> None:
    """It is misuse, and nothing is looked at."""
    done = cli("preflight", "nothing", "--json")
    assert (done.code, done.out) == (2, "")
    assert "there is no system nothing" in done.err


def test_it_needs_no_dagster() -> None:
    """Looking imports no Dagster, which takes seconds."""
    code = (
        "import sys; import backup_pipelines.cli.__main__, backup_pipelines.preflighting.preflight;"
        "sys.exit('dagster' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
