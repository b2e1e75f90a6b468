"""restore.py of a real backup, run where there is nothing of this package, proves what it did."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import psycopg
import pyrage
import pytest

from backup_pipelines import layout
from backup_pipelines.copies import archive
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.exporting import reuse
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Manifest
from backup_pipelines.recovery.documents import restore_script
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_damage import Victim
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_recovery import assert_equal, encrypted_to, folder_of
from backup_pipelines_tests.forging import resealed
from backup_pipelines_tests.test_awkward_schema import make_awkward
from backup_pipelines_tests.test_types import differences, fill

MakeDatabase = Callable[[Server], Database]

# What the script may import beside the standard library, with the libraries of their wheels.
_PLAIN = ("pyarrow", "psycopg", "psycopg_binary", "psycopg_binary.libs", "typing_extensions.py")

_FAR = ("public.far_view",)


@dataclass(frozen=True)
class Ran:
    """How the script ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """A machine with Python, some packages, and nothing else."""

    packages: Path
    path: str = ""

    def run(self, script: Path, *options: str, **variables: str) -> Ran:
        """Run the script; it finds no package but those."""
        done = subprocess.run(
            [sys.executable, "-S", str(script), *options],
            env={"PYTHONPATH": str(self.packages), "PATH": self.path, **variables},
            capture_output=True,
            text=True,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def restore(self, folder: Path, url: str, *options: str, **variables: str) -> Ran:
        """Restore the backup of a folder by the script that lies in it."""
        named = ("--database-url-env", "TARGET", *options)
        return self.run(folder / "restore.py", *named, TARGET=url, **variables)


def machine_with(folder: Path, names: tuple[str, ...]) -> Machine:
    """A machine with these packages of this environment."""
    spec = find_spec("pyarrow")
    assert spec is not None and spec.origin is not None
    installed = Path(spec.origin).parent.parent
    folder.mkdir()
    for name in names:
        if (installed / name).exists():
            (folder / name).symlink_to(installed / name)
    return Machine(folder)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with pyarrow and psycopg."""
    return machine_with(tmp_path / "packages", _PLAIN)


def copied(store: Store, entry: Manifest, to: Path) -> Path:
    """The backup's folder alone, as a client of the bucket copies it."""
    prefix = layout.backup_prefix(entry.system, entry.id)
    shutil.copytree(folder_of(store) / prefix, to)
    return to


@pytest.mark.parametrize("format", get_args(Format))
def test_the_script_restores_everything_awkward(
    pair: tuple[Database, Database], store: Store, machine: Machine, tmp_path: Path, format: Format
) -> None:
    """COPY finds the same rows in every table and view, and every digest is the manifest's."""
    target, source = pair
    make_awkward(source)
    sealed = back_up(source.reader_url, store, format=format)
    ran = machine.restore(copied(store, sealed, tmp_path / "copy"), target.admin_url)
    assert (ran.code, ran.err) == (0, "")
    assert f"with {sealed.records_count:,} rows" in ran.out
    assert contents(source.admin_url, _FAR) == contents(target.admin_url, _FAR)
    assert_equal(target.admin_url, sealed)


@pytest.mark.parametrize("format", get_args(Format))
def test_the_script_restores_every_type_of_an_encrypted_backup(
    pair: tuple[Database, Database],
    store: Store,
    machine: Machine,
    identity_file: Path,
    tmp_path: Path,
    format: Format,
) -> None:
    """Every value of every type is the same, by COPY's text and by its bytes."""
    target, source = pair
    variants = fill(source)
    sealed = back_up(source.reader_url, store, encrypted_to(identity_file), format=format)
    machine = machine_with(tmp_path / "more", (*_PLAIN, "pyrage"))
    folder = copied(store, sealed, tmp_path / "copy")
    ran = machine.restore(folder, target.admin_url, "--identity", str(identity_file))
    assert (ran.code, ran.err) == (0, "")
    assert not differences(source.admin_url, target.admin_url, variants)
    assert_equal(target.admin_url, sealed)


@pytest.fixture
def small(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """A database with one table."""
    made = make_database(server)
    made.run("CREATE TABLE notes (id serial PRIMARY KEY, said text)")
    made.run("INSERT INTO notes (said) SELECT 'note ' || n FROM generate_series(1, 99) AS n")
    return made


@pytest.fixture
def empty(server: EmbeddedServer, make_database: MakeDatabase) -> Database:
    """An empty database."""
    return make_database(server)


@pytest.mark.skipif(shutil.which("age") is None, reason="there is no age tool on this machine")
def test_the_script_opens_a_backup_by_the_age_tool(
    small: Database,
    empty: Database,
    store: Store,
    machine: Machine,
    identity_file: Path,
    tmp_path: Path,
) -> None:
    """Without pyrage the age tool does; without either, or with another identity, it is refused."""
    sealed = back_up(small.reader_url, store, encrypted_to(identity_file))
    folder = copied(store, sealed, tmp_path / "copy")
    secret = identity_file.read_text()

    ran = machine.restore(folder, empty.owner_url)
    assert ran.code == 2 and "name --identity FILE, or set BACKUP_AGE_IDENTITY" in ran.err
    ran = machine.restore(folder, empty.owner_url, BACKUP_AGE_IDENTITY=secret)
    assert ran.code == 2 and "pip install pyrage, or install the age tool" in ran.err
    with_age = Machine(machine.packages, os.environ["PATH"])
    other = str(pyrage.x25519.Identity.generate())
    ran = with_age.restore(folder, empty.owner_url, BACKUP_AGE_IDENTITY=other)
    assert ran.code == 2 and "cannot be opened: age: error: no identity matched" in ran.err
    assert objects(empty) == []

    ran = with_age.restore(folder, empty.owner_url, BACKUP_AGE_IDENTITY=secret)
    assert (ran.code, ran.err) == (0, "")
    assert_equal(empty.admin_url, sealed)
    assert secret.split()[-1] not in ran.out


def objects(database: Database) -> list[Any]:
    """What is in the database's own schema."""
    with psycopg.connect(database.admin_url) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
        return found.fetchall()


def damages(victim: Victim) -> Iterator[tuple[str, bytes | None, str]]:
    """Objects with other bytes, and what must be said: each kind of damage once."""
    rows_and_ddl = [key for key in victim.keys if key not in victim.documents]
    for number, key in enumerate(rows_and_ddl[:5]):
        data = victim.read(key)
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        bad = (data[:middle], flipped, None, data[:-1], b"")[number % 5]
        said = "cannot be read" if bad is None else f"{key.rpartition('/')[2]} has other"
        yield key, bad, "manifest" if key == victim.manifest else said


def test_the_script_restores_nothing_of_a_damaged_backup(victim: Victim, machine: Machine) -> None:
    """An object with a flipped byte, cut, empty or missing: exit code 1 or 2, and no object made.

    Other bytes in what is for people are said, and stop nobody.
    """
    script = machine.packages / "restore.py"
    script.write_text(restore_script())
    folder = victim.folder / layout.backup_prefix(victim.entry.system, victim.entry.id)
    options = ("--folder", str(folder), "--database-url-env", "TARGET")
    for key, bad, said in damages(victim):
        with victim.changed({key: bad}):
            ran = machine.run(script, *options, TARGET=victim.target)
            assert ran.code in (1, 2), ran.out
            assert said in ran.err
            assert "Traceback" not in ran.err
            victim.assert_empty()
    for key in victim.documents[:1]:
        with victim.changed({key: b"mended by somebody"}):
            ran = machine.run(script, "--folder", str(folder), "--check")
            assert ran.code == 0
            assert f"note: {folder / key.rpartition('/')[2]} has other bytes" in ran.err


def test_the_script_refuses_what_it_should_not_touch(
    victim: Victim, small: Database, machine: Machine, tmp_path: Path
) -> None:
    """A database that is not empty, a newer format, no variable, no URL: one sentence, exit 2."""
    folder = copied(victim.store, victim.entry, tmp_path / "copy")
    before = contents(small.admin_url)
    ran = machine.restore(folder, small.owner_url)
    assert ran.code == 2 and "is not empty, it has 1 tables (public.notes)" in ran.err
    assert contents(small.admin_url) == before
    ran = machine.restore(folder, "")
    assert ran.code == 2 and "the variable TARGET is not set" in ran.err
    ran = machine.restore(folder, "postgresql://me:se/cr@et@host/x")
    assert ran.code in (1, 2) and "se/cr" not in ran.err and "Traceback" not in ran.err
    (folder / "manifest.json").write_bytes(resealed(victim.document() | {"format_version": 99}))
    ran = machine.restore(folder, victim.target)
    assert ran.code == 2 and "has format version 99" in ran.err
    ran = machine.run(folder / "restore.py")
    assert ran.code == 2 and "name either --database-url-env VAR or --check" in ran.err


def test_the_script_proves_before_it_commits(
    victim: Victim, machine: Machine, tmp_path: Path
) -> None:
    """Rows that are not those of their digest are found after loading, and nothing stays."""
    folder = copied(victim.store, victim.entry, tmp_path / "copy")
    document = victim.document()
    table = next(one for one in document["tables"] if one["name"] == "places")
    table["digest"] = "0123456789abcdef"
    (folder / "manifest.json").write_bytes(resealed(document))
    ran = machine.restore(folder, victim.target)
    assert ran.code == 1
    assert re.search(r"differs from the backup:\n- public\.places has 9 rows with digest", ran.err)
    victim.assert_empty()


def test_the_script_reads_an_unpacked_archive_and_other_backups_parts(
    victim: Victim, empty: Database, machine: Machine, tmp_path: Path
) -> None:
    """From a download's folder it finds every part, one of another backup's folder as well."""
    archive.download(victim.store, victim.entry, tmp_path / "backup.tar", report=ignore)
    shutil.unpack_archive(tmp_path / "backup.tar", tmp_path / "unpacked", filter="data")
    folder = tmp_path / "unpacked" / layout.backup_prefix("sample", victim.entry.id)
    ran = machine.run(folder / "restore.py", "--check")
    assert ran.code == 0 and f"{len(victim.keys) - 3} objects are whole" in ran.out

    document = victim.document()
    part = next(one for one in document["tables"] if one["parts"])["parts"][0]
    old = tmp_path / "unpacked" / part["key"]
    part["key"] = part["key"].replace(victim.entry.id, "20250101T000000Z-manual-000001")
    new = tmp_path / "unpacked" / part["key"]
    new.parent.mkdir(parents=True)
    old.rename(new)
    (folder / "manifest.json").write_bytes(resealed(document))
    moved = shutil.move(folder, tmp_path / "alone")
    ran = machine.restore(Path(moved), empty.admin_url)
    assert ran.code == 2 and "1 of its objects lie in other backups' folders" in ran.err
    ran = machine.restore(Path(moved), empty.admin_url, "--store", str(tmp_path / "unpacked"))
    assert (ran.code, ran.err) == (0, "")
    assert_equal(empty.admin_url, victim.entry)


def test_the_script_says_which_other_folders_a_backup_needs(
    small: Database,
    empty: Database,
    store: Store,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that names parts of others is no damaged one alone; the commands beside it fetch all."""
    monkeypatch.setattr(reuse, "WORTH_BYTES", 1)
    first = back_up(small.reader_url, store)
    small.run("CREATE TABLE more AS SELECT 1 AS n")
    second = back_up(small.reader_url, store)
    small.run("CREATE TABLE most AS SELECT 2 AS n")
    entry = back_up(small.reader_url, store)
    assert entry.reuse is not None and entry.reuse.parts == 2
    root = tmp_path / "root"
    folder = root / layout.backup_prefix("sample", entry.id)
    copied(store, entry, folder)
    for options in (("--check",), ("--database-url-env", "TARGET")):
        ran = machine.run(folder / "restore.py", *options, TARGET=empty.admin_url)
        assert ran.code == 2 and "damaged" not in ran.err
        assert f"2 of its objects lie in other backups' folders: copy these too, under the same " \
            f"keys below {root}" in ran.err  # fmt: skip
        for other in (first, second):
            assert f"\n- {layout.backup_prefix('sample', other.id)} (1 of its objects)" in ran.err
    assert objects(empty) == []

    part = next(p for t in entry.tables for p in t.parts if entry.id in p.key)
    own = (root / part.key).read_bytes()
    (root / part.key).unlink()
    ran = machine.run(folder / "restore.py", "--check")
    assert ran.code == 1 and f"{root / part.key} cannot be read" in ran.err
    assert layout.backup_prefix("sample", first.id) in ran.err
    (root / part.key).write_bytes(own)

    fetched = re.findall(r"^aws s3 cp --recursive s3://bucket/prefix/(\S+) \1$",
                         (folder / "RECOVERY.md").read_text(), re.MULTILINE)  # fmt: skip
    # By the script, and by hand.
    assert len(fetched) == 6 and fetched[0] == fetched[3] == f"sample/backups/{entry.id}"
    for key in fetched[1:3]:
        shutil.copytree(folder_of(store) / key, root / key)
    ran = machine.restore(folder, empty.admin_url)
    assert (ran.code, ran.err) == (0, "")
    assert_equal(empty.admin_url, entry)


def test_the_script_is_whole_python() -> None:
    """Every name in it is defined in it: the linter finds nothing undefined or unused."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", "-"],
        input=restore_script(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^\s*(?:import|from) (backup_pipelines|dagster|obstore|pydantic|numpy)",
                      restore_script(), re.MULTILINE) == []  # fmt: skip
