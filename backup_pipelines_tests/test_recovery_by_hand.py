"""What RECOVERY.md of a real backup says under By hand is typed, and gives an equal database."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import psycopg
import pytest
from psycopg import sql

from backup_pipelines import layout
from backup_pipelines.demo.binaries import bin_dir
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Manifest
from backup_pipelines.modules import select_modules
from backup_pipelines.postgres.queries import query
from backup_pipelines.recovery.by_hand import SETTINGS, identifier
from backup_pipelines.recovery.guide import guide
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_backup import back_up
from backup_pipelines_tests.fix_postgres import Database
from backup_pipelines_tests.fix_recovery import assert_equal, encrypted_to, folder_of, shell_blocks
from backup_pipelines_tests.test_docs_examples import TABLES
from backup_pipelines_tests.test_types import differences, fill, literal, table_of
from backup_pipelines_tests.type_generators import GENERATED, generated
from backup_pipelines_tests.type_matrix import Variant

needs_duckdb = pytest.mark.skipif(find_spec("duckdb") is None, reason="DuckDB is not installed")

# Names that mean something to a shell, to psql, to Markdown, to a here document.
ODD = r"""
CREATE TABLE lines (said text);
INSERT INTO lines VALUES (''), (NULL), ('\.'), (E'a\tb\nEOF\r\n\\.\n'), ('\N'), ('"'), (',');
CREATE TABLE "$(touch stolen) `touch stolen`" ("' || x" int, "A" text, a text, "new
line" text, "EOF
" text, "```" text, "\! touch stolen" text, "日本 é" bytea);
INSERT INTO "$(touch stolen) `touch stolen`"
    SELECT n, 'A', 'a', 'l', 'e', '`', '!', decode('00ff', 'hex') FROM generate_series(1, 3) n;
CREATE SEQUENCE "seq' || ""x"" \ $" START 5;
SELECT nextval('"seq'' || ""x"" \ $"');
CREATE TABLE "one""two" (id serial PRIMARY KEY, at timestamptz DEFAULT '2024-02-29 12:00:00.5+02');
INSERT INTO "one""two" SELECT FROM generate_series(1, 4);
CREATE TABLE only_generated (a int GENERATED ALWAYS AS (7) STORED);
INSERT INTO only_generated SELECT FROM generate_series(1, 3);
CREATE MATERIALIZED VIEW "v;" AS SELECT count(*) FROM lines;
"""


def type_by_hand(
    store: Store, entry: Manifest, folder: Path, url: str, identity_file: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Copy a backup's folder and run its own commands there."""
    prefix = layout.backup_prefix(entry.system, entry.id)
    shutil.copytree(folder_of(store) / prefix, folder / prefix)
    path = os.pathsep.join([str(bin_dir()), str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {"URL": url, "IDENTITY": str(identity_file)} if identity_file else {"URL": url}
    (folder / "typed").write_text(shell_blocks(folder / prefix / "RECOVERY.md", "## By hand"))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "typed"],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
    )


def test_values_are_read_under_the_settings_that_they_were_printed_under() -> None:
    """What is set by hand is what every session of ours sets."""
    by_hand = dict(re.findall(r"SET (\w+) TO '?([^;']*)'?;", SETTINGS))
    ours = dict(re.findall(r"set_config\('(\w+)', '([^']*)'", query("settings")))
    # These end or slow down, and change no value.
    for name in ("lock_timeout", "idle_in_transaction_session_timeout", "synchronize_seqscans",
                 "jit"):  # fmt: skip
        del ours[name]
    for name in ("idle", "interval", "count"):
        del ours[f"tcp_keepalives_{name}"]
    # The escapes in names need the last.
    assert by_hand == ours | {"client_encoding": "UTF8", "standard_conforming_strings": "on"}


def fill_generated(database: Database) -> list[Variant]:
    """A table for each of the main types, with values that hypothesis finds."""
    made = [Variant(kind, kind, generated(values, 50)) for kind, values in GENERATED.items()]
    with psycopg.connect(database.owner_url) as connection:
        for variant in made:
            table = sql.Identifier(table_of(variant))
            create = f"CREATE TABLE {table.as_string()} (id int, v {variant.type})"
            connection.execute(create.encode())
            rows = [sql.SQL("({}, {})").format(n, literal(v)) for n, v in enumerate(variant.values)]
            values = sql.SQL(", ").join(rows)
            connection.execute(sql.SQL("INSERT INTO {} VALUES {}").format(table, values))
    return made


@needs_duckdb
@pytest.mark.parametrize("format", get_args(Format))
def test_tables_of_all_kinds_by_hand(
    pair: tuple[Database, Database], store: Store, tmp_path: Path, format: Format
) -> None:
    """Every row, view and position is as it was, whatever the names, and nothing else is run."""
    target, source = pair
    source.run(TABLES, ODD)
    sealed = back_up(source.reader_url, store, format=format)
    done = type_by_hand(store, sealed, tmp_path, target.admin_url)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    equal = sum(1 for table in sealed.tables if table.kind == "table")
    assert f"all {equal} tables are equal to the backup" in done.stdout
    # What its owner may see through forced row-level security is not what a restore fills it with.
    view = ("public.prices",)
    assert contents(source.admin_url, view) == contents(target.admin_url, view)
    assert_equal(target.admin_url, sealed)
    again = back_up(target.admin_url, store)
    assert again.sequences == sealed.sequences
    assert not list(tmp_path.rglob("stolen"))


@needs_duckdb
@pytest.mark.parametrize("format", get_args(Format))
@pytest.mark.skipif(shutil.which("age") is None, reason="there is no age tool on this machine")
def test_every_type_of_an_encrypted_backup_by_hand(
    pair: tuple[Database, Database],
    store: Store,
    identity_file: Path,
    tmp_path: Path,
    format: Format,
) -> None:
    """Opened by the age tool and turned by DuckDB, every value of every type is exact."""
    target, source = pair
    variants = [*fill(source), *fill_generated(source)]
    sealed = back_up(source.reader_url, store, encrypted_to(identity_file), format=format)
    done = type_by_hand(store, sealed, tmp_path, target.admin_url, identity_file)
    assert done.returncode == 0, done.stderr
    assert not differences(source.admin_url, target.admin_url, variants)
    assert_equal(target.admin_url, sealed)


@needs_duckdb
def test_damage_is_found_by_hand(
    pair: tuple[Database, Database], store: Store, tmp_path: Path
) -> None:
    """The first command ends with the name of the object, and a wrong digest with the table's."""
    target, source = pair
    source.run("CREATE TABLE notes AS SELECT 1 AS id")
    sealed = back_up(source.reader_url, store)
    [part] = sealed.tables[0].parts
    path = folder_of(store) / part.key
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    done = type_by_hand(store, sealed, tmp_path / "damaged", target.admin_url)
    assert done.returncode != 0 and f"{part.key}: FAILED" in done.stdout
    assert contents(target.admin_url) == {}

    path.write_bytes(good)
    guide = folder_of(store) / layout.document_key(sealed.system, sealed.id, "RECOVERY.md")
    number = str(int(sealed.tables[0].digest, 16))
    guide.write_text(guide.read_text().replace(number, "1"))
    done = type_by_hand(store, sealed, tmp_path / "forged", target.admin_url)
    assert done.returncode != 0 and "DIFFERENT public.notes" in done.stdout


def test_a_recovery_text_says_what_it_is_of(
    pair: tuple[Database, Database], store: Store, identity_file: Path
) -> None:
    """System, moment, server, recipients and scope are in it; no row is."""
    _, source = pair
    source.run("CREATE TABLE a (t text)", "CREATE TABLE b (t text)")
    source.run("INSERT INTO a VALUES ('confidential')")
    modules = {"mine": ModuleSpec(tables=["a"]), "rest": ModuleSpec(tables=["*.*"])}
    system = encrypted_to(identity_file).model_copy(update={"modules": modules})
    sealed = back_up(source.reader_url, store, system, select_modules(system, ["mine"]))
    text = store.get(layout.document_key("sample", sealed.id, "RECOVERY.md")).decode()
    assert sealed.encryption is not None
    major = f"PostgreSQL {sealed.server_version // 10000}."
    moment = f"{sealed.snapshot_at:%Y-%m-%d %H:%M:%S} UTC"
    for said in (f"# Recovery of {sealed.id}", "`sample`", major, moment, "the modules mine: 1"):
        assert said in text
    assert sealed.encryption.recipients[0] in text
    assert "This backup is partial" in text
    assert "confidential" not in text
    assert text == guide(sealed)
    assert "{{" not in text


@pytest.mark.parametrize("name", ["a", "ü", "a\nEOF\n", "```", "'; x", '"', "$(x)", "\\", "😀"])
def test_an_identifier_is_plain_text_whatever_the_name(name: str, server: EmbeddedServer) -> None:
    """It has no character that a shell or Markdown sees something in, and PostgreSQL the name."""
    written = identifier(name)
    assert re.fullmatch(r'(U&)?"[A-Za-z0-9_ ;()\\+]+"', written)
    with psycopg.connect(server.url()) as connection:
        cursor = connection.execute(f"SELECT 1 AS {written}".encode())
        assert cursor.description is not None
        assert cursor.description[0].name == name
