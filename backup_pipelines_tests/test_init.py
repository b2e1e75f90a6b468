"""`init`: a database that nobody described becomes a system that is backed up and drills."""

import errno
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_pipelines import modules
from backup_pipelines.drill import run_drill
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.manifest import Excluded
from backup_pipelines.onboarding.cautions import notes_about, warnings_about
from backup_pipelines.onboarding.found import read_database
from backup_pipelines.onboarding.init_system import init_system
from backup_pipelines.onboarding.rendering import InitReport, owner_variable, render, scalar
from backup_pipelines.postgres import introspect
from backup_pipelines.postgres.connection import connected
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]

_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)

_STRANGE_NAMES = [
    "on", "null", "y", "~", "1e3", "0x1f", "02:00", "2024-01-01", "a: b", "- a", "# a", "'", '"',
    '{"a"}', "{{ env.HOME }}", "%", "a.b", "ünï côdé", "заказы", "line\nbreak", "\u2028", "\ufffe",
    " edge ", "CamelCase", "other", "catalog", "a[bc]", "back\\slash", "tab\tbed", "x" * 63,
]  # fmt: skip


@pytest.fixture
def shop(server: Server, make_database: MakeDatabase) -> Database:
    """A small database with a head, its details, and sessions."""
    made = make_database(server)
    made.run(
        "CREATE TABLE orders (id int PRIMARY KEY)",
        "CREATE TABLE order_lines (id int PRIMARY KEY, order_id int REFERENCES orders)",
        "CREATE SCHEMA auth",
        "CREATE TABLE auth.users (id int PRIMARY KEY)",
        "CREATE TABLE auth.sessions (id int PRIMARY KEY, user_id int REFERENCES auth.users)",
    )
    return made


def test_a_strange_database_is_backed_up_and_drills(
    any_server: Server, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> None:
    """Whatever tables are called, what init writes backs every one of them up, exactly."""
    database = make_database(any_server)
    quoted = ['"' + name.replace('"', '""') + '"' for name in _STRANGE_NAMES]
    database.run(
        *(f"CREATE TABLE {n} (id int PRIMARY KEY); INSERT INTO {n} VALUES (1)" for n in quoted),
        *(f"CREATE SCHEMA {n}; CREATE TABLE {n}.t (v text)" for n in quoted),
        'CREATE TABLE "some*" (id int); CREATE TABLE "what?" (id int)',
        'CREATE SCHEMA "v1.0"; CREATE TABLE "v1.0".t (id int)',
        "CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES",
        "CREATE UNLOGGED TABLE scratch (id int); INSERT INTO scratch VALUES (1)",
        "CREATE TABLE events (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE SCHEMA parts",
        "CREATE TABLE parts.e1 PARTITION OF events DEFAULT; INSERT INTO events VALUES (1, now())",
        "CREATE TABLE parent (id int); CREATE TABLE child (x int) INHERITS (parent)",
        "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3)",
    )
    report = init_system("strange", "STRANGE_URL", database.reader_url, tmp_path)
    system = _load(report.path)
    with connected(database.reader_url) as connection:
        live = introspect.list_tables(connection)
    roots = [table.qualified for table in live if table.partition_of is None]
    assigned = modules.assign(system, roots)
    assert not assigned.missing
    assert sorted(table for own in assigned.tables.values() for table in own) == sorted(roots)
    # What no YAML can name: patterns, and schemas with a dot.
    other = assigned.tables[modules.Entry("other", "other", "other")]
    assert other == ("a.b.t", "public.some*", "public.what?", "v1.0.t", "{{ env.HOME }}.t")
    assert "public.events" in assigned.entry_of()

    sealed = back_up(database.reader_url, store, system)
    assert {table.qualified for table in sealed.tables} == {table.qualified for table in live}
    drilled = run_drill(store, sealed, any_server.url(), report=ignore)
    assert drilled.tables == sealed.tables_count
    assert drilled.rows == sealed.records_count > len(_STRANGE_NAMES)


def test_what_is_written(shop: Database, tmp_path: Path) -> None:
    """The file names the component, the modules, and what to do with it; nothing is excluded."""
    report = init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    assert report.path == tmp_path / "shop" / "defs.yaml"
    assert report.modules == {
        "orders": ("orders", "order_lines"),
        "auth": ("auth.sessions", "auth.users"),
    }
    text = report.path.read_text("utf-8")
    assert yaml.safe_load(text) == {
        "type": "backup_pipelines.PostgresBackup",
        "attributes": {
            "system": "shop",
            "database_url_env": "SHOP_URL",
            "restore_url_env": "SHOP_OWNER_URL",
            "modules": {name: {"tables": [*own]} for name, own in report.modules.items()},
            "schedule": {"every": "every_2_days", "at": "02:00", "timezone": "UTC"},
            "retention": {"keep_last": 30},
            "storage_limit": "10 GB",
        },
    }
    verbs = ("preflight", "backup", "drill")
    assert "".join(f"#   backup-pipelines {verb} shop\n" for verb in verbs) in text
    assert os.listdir(report.path.parent) == ["defs.yaml"]
    assert report.warnings == report.notes == ()


def test_candidates_are_left_out_as_the_comment_says(shop: Database, tmp_path: Path) -> None:
    """Doing what the comment says leaves a candidate out, and the file stays valid."""
    report = init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    assert [entry.name for entry in report.excluded] == ["auth.sessions"]
    text = report.path.read_text("utf-8")
    kept = [line for line in text.splitlines() if not line.endswith("# left out? see excluded")]
    edited = re.sub(r"^  # (excluded:|  .*)$", r"  \1", "\n".join(kept), flags=re.MULTILINE)
    system = System.model_validate(yaml.safe_load(edited)["attributes"])
    assert [spec.table for spec in system.excluded] == ["auth.sessions"]
    assert system.modules["auth"].tables == ["auth.users"]


def test_grants_in_warnings_are_what_a_backup_needs(
    server: Server, make_database: MakeDatabase, store: Store, tmp_path: Path
) -> None:
    """A role that may read nothing can run init, and pasting what it prints lets it back up."""
    database = make_database(server)
    role = f"{database.name}_stranger"
    database.run(
        "CREATE TABLE orders (id serial PRIMARY KEY); INSERT INTO orders VALUES (1)",
        "CREATE TABLE hidden (id int PRIMARY KEY); INSERT INTO hidden VALUES (1)",
        "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY",
        'CREATE SCHEMA "Sales"',
        'CREATE TABLE "Sales".a (id int); CREATE TABLE "Sales"."b c" (id int)',
    )
    database.run(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON public.orders TO {role}",
        as_admin=True,
    )
    try:
        url = server.url(database.name, role)
        report = init_system("stranger", "X_URL", url, tmp_path)
        statements = [
            line.strip() for warning in report.warnings for line in warning.splitlines()[1:]
        ]
        assert statements == [
            f'GRANT USAGE ON SCHEMA "Sales" TO "{role}";',
            f'GRANT SELECT ON ALL TABLES IN SCHEMA "Sales" TO "{role}";',
            f'GRANT SELECT ON "public"."hidden" TO "{role}";',
            f'GRANT SELECT ON ALL SEQUENCES IN SCHEMA "public" TO "{role}";',
            f'ALTER ROLE "{role}" BYPASSRLS;',
        ]
        with pytest.raises(Refused):
            back_up(url, store, _load(report.path))
        database.run(*statements, as_admin=True)
        assert back_up(url, store, _load(report.path)).records_count == 2
        assert warnings_about(read_database(url, "x")) == ()
    finally:
        database.run(f"DROP OWNED BY {role}; DROP ROLE {role}", as_admin=True)


def test_notes_name_the_tables(server: Server, make_database: MakeDatabase, tmp_path: Path) -> None:
    """Keyless, unlogged and partitioned tables are named, by their roots, and in comments too."""
    database = make_database(server)
    database.run(
        "CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY)",
        "CREATE TABLE log (at date) PARTITION BY RANGE (at)",
        "CREATE TABLE log_1 PARTITION OF log DEFAULT",
    )
    report = init_system("keyless", "X_URL", database.reader_url, tmp_path)
    keyless, unlogged, partitioned = report.notes
    assert partitioned.startswith("partitioned") and "public.log (1 partition)" in partitioned
    assert keyless.startswith("no primary key") and keyless.endswith(": public.log")
    assert unlogged.startswith("unlogged") and unlogged.endswith(": public.scratch")
    assert "# - unlogged" in report.path.read_text("utf-8")
    assert report.modules == {"log": ("log",), "scratch": ("scratch",)}


def test_foreign_and_extensions_tables_are_left_out_and_named(
    shop: Database, tmp_path: Path
) -> None:
    """Foreign tables and tables of an extension are in no module, and a comment says why."""
    shop.run(
        "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER s FOREIGN DATA WRAPPER elsewhere",
        "CREATE FOREIGN TABLE remote (id int) SERVER s",
        "CREATE TABLE owned (id int); ALTER EXTENSION plpgsql ADD TABLE owned",
        as_admin=True,
    )
    report = init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    assert [entry.name for entry in report.left_out] == ["public.owned", "public.remote"]
    assert not {"owned", "remote"} & {t for own in report.modules.values() for t in own}
    text = report.path.read_text("utf-8")
    assert "# - public.owned: belongs to the extension plpgsql\n" in text
    assert "# - public.remote: foreign table" in text


def test_big_sizes_are_told(shop: Database) -> None:
    """Very big tables are named with their size, and a total beyond the limit is said."""
    found = read_database(shop.reader_url, "shop")
    tables = (replace(found.tables[0], table_bytes=12 * 10**9), *found.tables[1:])
    big, total = notes_about(replace(found, tables=tables))
    assert "auth.sessions (12.0 GB, about 2 min)" in big
    assert "all tables about 2 min" in big
    assert "storage_limit" in total


@pytest.mark.parametrize(
    ("system", "variable", "said"),
    [
        ("Shop", "SHOP_URL", "'Shop' is not a name"),
        ("../shop", "SHOP_URL", "is not a name"),
        ("shop", "postgresql://secret", "database_url_env"),
    ],
)
def test_wrong_names_are_refused(system: str, variable: str, said: str, tmp_path: Path) -> None:
    """A wrong system name or variable is refused before anything is connected or written."""
    with pytest.raises(Refused, match=re.escape(said)) as refusal:
        init_system(system, variable, "postgresql://nowhere.invalid/x", tmp_path)
    assert "secret" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_refused(shop: Database, tmp_path: Path) -> None:
    """A file that exists is left as it is, a dangling link too, and no database is asked."""
    report = init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    report.path.write_text("mine")
    with pytest.raises(Refused, match="exists"):
        init_system("shop", "SHOP_URL", "postgresql://nowhere.invalid/x", tmp_path)
    assert report.path.read_text() == "mine"
    report.path.unlink()
    report.path.symlink_to(tmp_path / "nothing")
    with pytest.raises(Refused, match="exists"):
        init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)


def test_unsuitable_databases_are_refused(server: Server, tmp_path: Path) -> None:
    """A database without tables, or in SQL_ASCII, is refused and nothing is written."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for name, encoding, said in (
            ("init_empty", "UTF8", "no tables"),
            ("init_ascii", "SQL_ASCII", "SQL_ASCII"),
        ):
            admin.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' "
                "LOCALE_PROVIDER libc LOCALE 'C'".encode()
            )
            try:
                with pytest.raises(Refused, match=said):
                    init_system("unsuitable", "X_URL", server.url(name), tmp_path)
            finally:
                admin.execute(f"DROP DATABASE {name}".encode())
    assert not list(tmp_path.iterdir())


def test_no_database_no_file(tmp_path: Path) -> None:
    """A database that does not answer is a failure that leaves nothing behind."""
    with pytest.raises(Failed, match="cannot connect"):
        init_system("shop", "X_URL", "postgresql://x@127.0.0.1:1/x", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(shop: Database, tmp_path: Path) -> None:
    """A folder that cannot be made is a failure of one sentence."""
    (tmp_path / "defs").write_text("a file")
    with pytest.raises(Failed, match="cannot write"):
        init_system("shop", "SHOP_URL", shop.reader_url, tmp_path / "defs")
    (tmp_path / "shop").write_text("a file")
    with pytest.raises(Failed, match="cannot write"):
        init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)


def test_a_file_that_cannot_be_finished_leaves_nothing(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full there is no file, no folder, and no half of either."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed, match="No space left"):
        init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_several_at_once_one_writes(shop: Database, tmp_path: Path) -> None:
    """Of several inits of one system at once one writes, the others are refused."""
    start = Barrier(4)

    def init(_: int) -> bool:
        start.wait()
        try:
            init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(init, range(4))) == 1
    assert os.listdir(tmp_path / "shop") == ["defs.yaml"]


def test_file_systems_without_hard_links(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no hard links the file is renamed into place, never over another."""
    target = tmp_path / "shop" / "defs.yaml"

    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    _load(target)
    target.write_text("mine")
    asked = iter([False])
    lexists = os.path.lexists

    def there(path: Path) -> bool:
        return next(asked, None) or lexists(path)

    monkeypatch.setattr(os.path, "lexists", there)
    with pytest.raises(Refused, match="exists"):
        init_system("shop", "SHOP_URL", shop.reader_url, tmp_path)
    assert target.read_text() == "mine"
    assert os.listdir(target.parent) == ["defs.yaml"]


@pytest.mark.parametrize(
    ("backups", "restores"),
    [
        ("SHOP_DATABASE_URL", "SHOP_OWNER_DATABASE_URL"),
        ("DATABASE_URL", "OWNER_DATABASE_URL"),
        ("SHOP_URL", "SHOP_OWNER_URL"),
        ("URL", "OWNER_URL"),
        ("SHOP", "SHOP_OWNER"),
        ("CURL", "CURL_OWNER"),
    ],
)
def test_the_owner_has_a_variable_of_its_own(backups: str, restores: str) -> None:
    """It is called like the one of backups."""
    assert owner_variable(backups) == restores


@settings(deadline=None)
@given(_TEXT)
def test_every_text_reads_back(text: str) -> None:
    """Any text is written as YAML that reads back the same, as a key and in a list."""
    written = scalar(text)
    assert yaml.safe_load(f"a:\n  - {written}  # note\n") == {"a": [text]}
    assert yaml.safe_load(f"{written}: 1\n") == {text: 1}


@pytest.mark.parametrize("text", ["on", "y", "null", "1e3", "02:00", "1_000", "0b1", "a: b", "~"])
def test_what_a_reader_could_take_for_something_else_is_quoted(text: str) -> None:
    """Words, numbers and times that some YAML reader does not take for text are quoted."""
    assert scalar(text)[0] in "\"'"


@settings(deadline=None)
@given(_TEXT, _TEXT, _TEXT, _TEXT)
def test_no_text_escapes_from_a_comment(name: str, reason: str, said: str, note: str) -> None:
    """Names and reasons from a database end up in comments and scalars, never beside them."""
    candidate = Excluded(name=name, reason=reason)
    report = InitReport(Path("x"), {"m": (name,)}, (candidate,), (candidate,), (said,), (note,))
    text = render("x", "X", report)
    assert yaml.safe_load(text)["attributes"]["modules"] == {"m": {"tables": [name]}}
    assert set(yaml.safe_load(text)) == {"type", "attributes"}


def _load(path: Path) -> System:
    return System.model_validate(yaml.safe_load(path.read_text("utf-8"))["attributes"])
