"""What cannot be backed up whole is refused in one message, with the statements that help."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from backup_pipelines import modules
from backup_pipelines.demo.binaries import server_account
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.postgres.connection import (
    connect,
    connected,
    describe,
    refuse_unsuitable,
    with_defaults,
)
from backup_pipelines.postgres.writer import stored_batches
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, DebianServer, Server

_STATEMENT = re.compile(r"((?:GRANT|ALTER ROLE) .*;)$", re.MULTILINE)


def named_system(*tables: str) -> System:
    """A system that names tables."""
    return System(
        system="sample", database_url_env="X", modules={"m": ModuleSpec(tables=list(tables))}
    )


@pytest.fixture
def database(server: EmbeddedServer, make_database: Callable[[Server], Database]) -> Database:
    """An empty database of the embedded server."""
    return make_database(server)


@pytest.fixture
def stranger(server: EmbeddedServer, database: Database) -> Generator[str]:
    """The URL of a role with an awkward name that may do nothing but connect."""
    name = f'Stranger "{secrets.token_hex(4)}"'
    identifier = psycopg.sql.Identifier(name).as_string()
    database.run(f"CREATE ROLE {identifier} LOGIN", as_admin=True)
    yield server.url(database.name, name)
    database.run(f"DROP OWNED BY {identifier}; DROP ROLE {identifier}", as_admin=True)


def refusal(url: str, store: Store, system: System | None = None) -> str:
    """The message of a refused backup; nothing may have been written."""
    with pytest.raises(Refused) as caught:
        back_up(url, store, system)
    assert list(store.objects("")) == []
    return str(caught.value)


def test_everything_unreadable_is_said_at_once(
    database: Database, store: Store, stranger: str
) -> None:
    """One refusal names every table, schema and sequence; pasting its statements is enough."""
    database.run(
        "CREATE TABLE plain (id serial PRIMARY KEY)",
        'CREATE TABLE "Odd ""one""" (id int)',
        "CREATE TABLE guarded (id int); INSERT INTO guarded VALUES (1), (2)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON guarded USING (id = 1)",
        'CREATE SCHEMA "Own"; CREATE TABLE "Own".t (id int GENERATED ALWAYS AS IDENTITY)',
        "CREATE SEQUENCE lonely",
        "CREATE TABLE parted (id int) PARTITION BY LIST (id)",
        "CREATE TABLE part_one PARTITION OF parted FOR VALUES IN (1)",
    )
    message = refusal(stranger, store)
    for name in (
        "public.plain may not be read",
        'public.Odd "one" may not be read',
        "public.parted may not be read",
        "public.part_one may not be read",
        "public.guarded may not be read",
        "public.guarded has row-level security",
        "schema Own may not be used",
        '"Own"."t_id_seq"',
        '"public"."lonely"',
        '"public"."plain_id_seq"',
    ):
        assert name in message
    database.run(*_STATEMENT.findall(message), as_admin=True)
    sealed = back_up(stranger, store)
    assert {table.name: table.rows for table in sealed.tables}["guarded"] == 2
    assert len(sealed.sequences) == 3


def test_hidden_rows(database: Database, store: Store, server: EmbeddedServer) -> None:
    """Row-level security that hides rows, under FORCE the owner's too, is refused by table."""
    database.run(
        "CREATE TABLE seen (id int)",
        "CREATE TABLE a (id int); INSERT INTO a VALUES (1)",
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY; ALTER TABLE a FORCE ROW LEVEL SECURITY",
        "CREATE TABLE b (id int); ALTER TABLE b ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE c (id int); ALTER TABLE c ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE c FORCE ROW LEVEL SECURITY",
    )
    message = refusal(database.owner_url, store)
    hidden = re.findall(r"- (\S+) has row-level security", message)
    assert hidden == ["public.a", "public.c"]
    # What hides rows matters in the selected tables only.
    system = named_system("seen")
    few = back_up(database.owner_url, store, system, modules.select_modules(system, ["m"]))
    assert [table.name for table in few.tables] == ["seen"]
    database.run(*_STATEMENT.findall(message), as_admin=True)
    sealed = back_up(database.owner_url, store)
    assert {table.name: table.rows for table in sealed.tables} == {
        "a": 1,
        "b": 0,
        "c": 0,
        "seen": 0,
    }
    run_drill(store, sealed, server.url(), report=ignore)


def test_missing_tables(database: Database, store: Store) -> None:
    """Every table that the YAML names and the database lacks is in one refusal, with its module."""
    database.run("CREATE TABLE here (id int)")
    message = refusal(database.reader_url, store, named_system("here", "gone", "other.lost"))
    assert "public.gone is in module m but not in the database" in message
    assert "other.lost is in module m but not in the database" in message
    assert "public.here" not in message


def test_names_that_cannot_be_told_apart(database: Database, store: Store) -> None:
    """Two tables whose dotted names are the same text are refused: one would go unproved."""
    database.run(
        'CREATE SCHEMA a; CREATE SCHEMA "a.b"',
        'CREATE TABLE a."b.c" (id int); CREATE TABLE "a.b".c (id int)',
    )
    assert "a.b.c is the name of 2 tables" in refusal(database.reader_url, store)


def test_sql_ascii(server: EmbeddedServer, database: Database, store: Store) -> None:
    """A database whose encoding promises nothing is refused."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'"
            " LOCALE_PROVIDER libc LOCALE 'C'".encode()
        )
        try:
            assert "SQL_ASCII" in refusal(server.url(name), store)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_other_client_encodings(
    server: EmbeddedServer,
    database: Database,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What URL, environment or role say of the client's encoding does not change a text."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    database.run(
        "CREATE TABLE t AS SELECT convert_from('\\xc3a9e282ac', 'UTF8') AS text",
        f"ALTER ROLE {database.name}_reader SET client_encoding = 'LATIN1'",
        as_admin=True,
    )
    sealed = back_up(f"{database.reader_url}&client_encoding=LATIN1", store)
    run_drill(store, sealed, server.url(), report=ignore)
    (batch,) = stored_batches(store, sealed.tables[0], ["text"])
    assert batch.column(0).to_pylist() == ["é€"]


def test_servers_too_old(server: EmbeddedServer) -> None:
    """A server before PostgreSQL 14 is refused with both versions."""
    with connected(server.url()) as connection:
        found = describe(connection)
        refuse_unsuitable(found, server.url(), connection)
        old = type(found)(**{**vars(found), "version": 130012})
        with pytest.raises(Refused, match="runs PostgreSQL 13; version 14 or newer"):
            refuse_unsuitable(old, server.url(), connection)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("15", r"PG_DUMP=.* is version 15, the server is \d+: .* install postgresql-client-\d+"),
        ("/nowhere/pg_dump", "PG_DUMP=/nowhere/pg_dump does not run"),
        ("/bin/false", "PG_DUMP=/bin/false does not run"),
    ],
)
def test_pg_dump_that_does_not_do(
    database: Database,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    program: str,
    reason: str,
) -> None:
    """A pg_dump that is older than the server, or none, is refused before anything is read."""
    if program == "15":
        fake = tmp_path / "pg_dump"
        fake.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)'\n")
        fake.chmod(0o755)
        program = str(fake)
    monkeypatch.setenv("PG_DUMP", program)
    assert re.search(reason, refusal(database.reader_url, store))


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        f"notaurl:{SECRET}",
        f"mysql://u:{SECRET}@h/db",
        f"postgres:/u:{SECRET}@h",
        f"postgresql://u:pa%zz{SECRET}@h/db",
        f"postgresql://u:pa/{SECRET}@h/db",
        f"postgresql://u:12/{SECRET}@h/db",
        f"postgresql://u:pa@{SECRET}@h/db",
        f"postgresql://u:pa@{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:pa?{SECRET}/x@h/db",
        f"postgresql://u:pa {SECRET}@h/db",
        f"postgresql://u:{SECRET}@h:{SECRET}/db",
        f"postgresql://u:{SECRET}@[::1/db",
        f"host=h password='pa {SECRET}",
        f"postgresql://u:{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:{SECRET}@127.0.0.1:1,127.0.0.1:2/db",
        f"postgresql://u:{SECRET}@no-such-host.invalid/db",
        f"postgresql://u:{SECRET}@/db?host=%2Fnowhere",
        f"postgresql://u:{SECRET}@h/db?pgbouncer=true",
        f"postgresql://u:{SECRET}@127.0.0.1:1/db?connect_timeout=abc",
    ],
)
def test_no_password_in_any_message(url: str, store: Store) -> None:
    """A URL that is malformed or leads nowhere is one line without the password."""
    with pytest.raises(BackupError) as caught:
        back_up(url, store)
    error: BaseException | None = caught.value
    assert "the database of sample" in str(error)
    assert "\n" not in str(error)
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_unknown_options_of_a_url_are_named() -> None:
    """An option that other clients know and libpq does not is named."""
    with pytest.raises(Refused, match="unknown option pgbouncer: remove it"):
        with_defaults("postgresql://u@h/db?pgbouncer=true")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h:5432/db?sslmode=require",
        "postgres://h1:1,h2:2/db",
        "postgresql://u:p%40ss%2F@[::1]:5432/db",
        "postgresql://u@/db?host=%2Ftmp&port=1",
        "postgresql:///db?host=/tmp/x@y",
        "postgresql://",
        "host=/tmp dbname=db",
        "",
    ],
)
def test_good_urls_pass(url: str) -> None:
    """Every form that libpq takes is taken."""
    assert "application_name=backup_pipelines" in with_defaults(url)


@pytest.fixture
def password_role(server: EmbeddedServer, database: Database) -> Generator[tuple[str, str]]:
    """A role that must give a password, and the password, with every awkward character."""
    role, password = f"pw_{secrets.token_hex(4)}", f"p@s/s:{SECRET}%w o?r#d&'\\"
    settings = server.directory / "server" / "data" / "pg_hba.conf"
    before = settings.read_text()
    with psycopg.connect(server.url(), autocommit=True) as admin:
        quoted = psycopg.sql.Literal(password).as_string(admin)
        admin.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD {quoted} IN ROLE pg_read_all_data".encode()
        )
        settings.write_text(f"local all {role} scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        yield role, password
        settings.write_text(before)
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(f"DROP ROLE {role}".encode())


def test_passwords(
    server: EmbeddedServer, database: Database, store: Store, password_role: tuple[str, str]
) -> None:
    """A wrong password and an unknown database are one line; the right password backs up."""
    role, password = password_role
    right = server.url(database.name, role).replace(
        f"{role}@", f"{role}:{quote(password, safe='')}@"
    )
    database.run("CREATE TABLE t AS SELECT 1 AS id")
    _until_refused(server.url(database.name, role))
    assert back_up(right, store).records_count == 1
    for wrong, reason in (
        (right.replace(SECRET, f"{SECRET}x"), "password authentication failed"),
        (right.replace(database.name, "nowhere"), "nowhere"),
        (server.url(database.name, "nobody_here"), "nobody_here"),
    ):
        with pytest.raises(Failed, match=reason) as caught:
            connect(wrong, what="the database of sample")
        assert str(caught.value).startswith("cannot connect to the database of sample: ")
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


def _until_refused(url: str) -> None:
    """The postmaster reads its settings again some moments after it was told."""
    for _ in range(100):
        try:
            connect(url).close()
        except Failed:
            return
        time.sleep(0.02)


class Pooler:
    """A pgbouncer before a server, in one of its modes."""

    def __init__(self, program: str, server: DebianServer | EmbeddedServer, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._host = psycopg.conninfo.conninfo_to_dict(server.url())["host"]

    def start(self, database: Database, mode: str, pool_size: int) -> subprocess.Popen[bytes]:
        """Run it on a port of its own until it is terminated."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        role = f"{database.name}_reader"
        users, config = self._folder / "users", self._folder / "pgbouncer.ini"
        users.write_text(f'"{role}" ""\n')
        config.write_text(
            f"[databases]\n* = host={self._host} port=5432\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\n"
            f"default_pool_size = {pool_size}\n"
        )
        self.url = f"postgresql://{role}@127.0.0.1:{self.port}/{database.name}"
        options = {}
        if os.geteuid() == 0:
            account = server_account(self._folder)
            for path in (self._folder, users, config):
                shutil.chown(path, account.uid, account.gid)
            options = {"user": account.uid, "group": account.gid, "extra_groups": []}
        return subprocess.Popen([self._program, "-q", str(config)], cwd="/", **options)  # type: ignore[call-overload]


@pytest.fixture
def pooler(server: EmbeddedServer) -> Generator[Pooler]:
    """pgbouncer, from PGBOUNCER or Debian's place; skips where there is none."""
    program = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("no pgbouncer on this machine")
    folder = Path("/tmp") / f"bp-pooler-{secrets.token_hex(4)}"
    folder.mkdir()
    yield Pooler(program, server, folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mode", "pool_size", "works"),
    [("session", 10, True), ("transaction", 10, False), ("transaction", 1, False)],
)
def test_poolers(
    pooler: Pooler, database: Database, store: Store, mode: str, pool_size: int, works: bool
) -> None:
    """A session pooler works; a transaction pooler is refused, its sessions left as they were."""
    database.run("CREATE TABLE t AS SELECT 1 AS id")
    process = pooler.start(database, mode, pool_size)
    try:
        _until_listening(pooler.port)
        if works:
            assert back_up(pooler.url, store).records_count == 1
            return
        assert "transaction pooler" in refusal(pooler.url, store)
        for _ in range(3):
            with psycopg.connect(pooler.url, autocommit=True) as connection:
                shown = connection.execute("SHOW search_path").fetchone()
                assert shown == ('"$user", public',)
    finally:
        process.terminate()
        process.wait()


def test_a_pool_of_two_is_enough_and_short_timeouts_behind_it_end_nothing(
    pooler: Pooler, database: Database, store: Store
) -> None:
    """Whether it is a transaction pooler takes no third connection; roles have their settings."""
    role = f"{database.name}_reader"
    database.run("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    for name in ("statement_timeout", "idle_in_transaction_session_timeout",
                 "idle_session_timeout", "transaction_timeout"):  # fmt: skip
        database.run(f"ALTER ROLE {role} SET {name} = '300ms'", as_admin=True)
    process = pooler.start(database, "session", 2)
    try:
        _until_listening(pooler.port)
        assert back_up(pooler.url, store, max_connections=2, throttle=1.0).records_count == 2000
    finally:
        process.terminate()
        process.wait()


def _until_listening(port: int) -> None:
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("pgbouncer does not listen")
