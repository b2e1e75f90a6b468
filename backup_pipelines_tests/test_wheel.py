"""The wheel, as another Dagster project has it: installed, without this repository around it.

The new environment sees the packages that the tests run with, so that nothing is downloaded.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
import yaml

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines_tests.fix_postgres import Database, Server

PROJECT = Path(__file__).resolve().parent.parent

_SETTINGS = """\
[project]
name = "shop"
version = "1"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop_project"
code_location_name = "shop"
"""

# Neither the name of the function nor that of the project is ours.
_DEFINITIONS = """\
from pathlib import Path

import dagster as dg


@dg.definitions
def everything() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""

_DEFS = """\
type: backup_pipelines.PostgresBackup

attributes:
  system: mydb
  database_url_env: MYDB_DATABASE_URL
  restore_url_env: MYDB_OWNER_URL
  modules:
    sales: {tables: [orders]}
"""

_LOCATIONS = """\
import dagster as dg

for run in dg.DagsterInstance.get().get_runs():
    origin = run.remote_job_origin
    print(run.job_name, origin and origin.location_name)
"""

_ROWS = "SELECT id, total FROM orders ORDER BY id"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a project beside it."""

    folder: Path
    project: Path
    variables: Mapping[str, str]

    def run(self, program: str, *arguments: str, **variables: str) -> str:
        """What a program of the environment prints on stdout; fails unless it exits with 0."""
        done = self.run_any(program, *arguments, **variables)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def run_any(
        self, program: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """A program of the environment, run from a folder that has nothing to do with either."""
        # What is set to nothing is not set.
        given = {n: v for n, v in {**self.variables, **variables}.items() if v}
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.project.parent,
            env=given,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build of the image is sent."""
    folder = tmp_path_factory.mktemp("sent")
    unsent = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(PROJECT / "backup_pipelines", folder / "backup_pipelines", ignore=unsent)
    for name in ("constraints.txt", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as the Dockerfile builds it."""
    made = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    # Where the test extra is not installed anew yet, pip fetches the backend as `make setup` does.
    if find_spec("hatchling"):
        command.append("--no-build-isolation")
    subprocess.run([*command, "--wheel-dir", str(made), "."], cwd=sent, check=True)
    [found] = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own, and a project with one system."""
    base = tmp_path_factory.mktemp("elsewhere")
    folder = base / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    [site] = (folder / "lib").glob("*/site-packages")
    (site / "tests.pth").write_text("\n".join(packages))
    # Dagster's programs, as an installation of it would have put them there.
    for name, module in (("dagster", "dagster"), ("dg", "dagster_dg_cli.cli")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    project = base / "any_folder"
    package = project / "src" / "shop_project"
    (package / "defs" / "mydb").mkdir(parents=True)
    (project / "pyproject.toml").write_text(_SETTINGS)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(_DEFINITIONS)
    (package / "defs" / "__init__.py").touch()
    (package / "defs" / "mydb" / "defs.yaml").write_text(_DEFS)
    home = base / "home"
    home.mkdir()
    # An instance of its own kind, without PostgreSQL.
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    variables = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(base),
        "LC_ALL": "C.UTF-8",
        "DAGSTER_HOME": str(home),
        "BACKUP_PROJECT": str(project),
        "BACKUP_STORE_URL": (base / "store").as_uri(),
    }
    return Installed(folder, project, variables)


def test_the_wheel_has_every_file_of_the_package_and_no_test(wheel: Path, sent: Path) -> None:
    """SQL, guides, sample data and systems are in it; the repository's other folders are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        said = archive.read(entry_points).decode()
    package = (path for path in (sent / "backup_pipelines").rglob("*") if path.is_file())
    files = {str(path.relative_to(sent)) for path in package}
    assert names == files
    assert {
        "backup_pipelines/recovery/guide.md",
        "backup_pipelines/postgres/sql/tables.sql",
    } < names
    assert "backup-pipelines = backup_pipelines.cli.__main__:main" in said
    assert "[dagster_dg_cli.registry_modules]\nbackup_pipelines = backup_pipelines" in said


def test_what_is_installed_is_the_wheel(installed: Installed) -> None:
    """The program runs from the new environment and knows its version."""
    where = installed.run("python", "-c", "import backup_pipelines as b; print(b.__file__)")
    assert where.startswith(str(installed.folder))
    assert installed.run("backup-pipelines", "--version").strip() == "0.1.0"


def test_a_project_lists_the_assets_and_jobs_of_its_system(installed: Installed) -> None:
    """A YAML of our type in another project's `defs/` is all that it takes."""
    module = ("-m", "shop_project.definitions", "-d", str(installed.project / "src"))
    jobs = installed.run("dagster", "job", "list", *module)
    assert {"Job: mydb_backup", "Job: mydb_restore"} <= set(jobs.splitlines())
    assets = installed.run("dagster", "asset", "list", *module).split()
    assert {"mydb/public/orders", "mydb/other", "mydb/schema"} <= set(assets)


def test_a_project_backs_up_and_restores(
    installed: Installed, server: EmbeddedServer, make_database: Callable[[Server], Database]
) -> None:
    """Dagster's own command takes the backup, ours restores it in the same instance."""
    database = make_database(server)
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric)",
        "INSERT INTO orders SELECT i, i / 7.0 FROM generate_series(1, 50) i",
    )
    variables = {"MYDB_DATABASE_URL": database.reader_url, "MYDB_OWNER_URL": database.owner_url}
    with psycopg.connect(database.owner_url) as connection:
        before = connection.execute(_ROWS).fetchall()
    module = ("-m", "shop_project.definitions", "-d", str(installed.project / "src"))
    installed.run("dagster", "job", "execute", *module, "-j", "mydb_backup", **variables)
    [taken] = json.loads(installed.run("backup-pipelines", "list", "mydb", "--json"))
    assert (taken["status"], taken["records_count"]) == ("completed", 50)

    database.run("DELETE FROM orders WHERE id > 10", "UPDATE orders SET total = 0 WHERE id = 1")
    restore = ("restore", "mydb", taken["id"], "--confirm", "CONFIRM", "--json")
    said = json.loads(installed.run("backup-pipelines", *restore, **variables))
    [table] = said["tables"]
    assert (said["verified"], table["insert"], table["update"]) == (True, 40, 1)
    with psycopg.connect(database.owner_url) as connection:
        assert connection.execute(_ROWS).fetchall() == before
    # The run of the command line belongs to the job's page of the project's code location.
    runs = installed.run("python", "-c", _LOCATIONS).splitlines()
    assert "mydb_restore shop" in runs


def test_init_writes_into_the_project(
    installed: Installed, server: EmbeddedServer, make_database: Callable[[Server], Database]
) -> None:
    """A new system of a project that uses the wheel lands in the project, not in the package."""
    database = make_database(server)
    database.run("CREATE TABLE visits (id int PRIMARY KEY)")
    command = ("init", "clinic", "--database-url-env", "CLINIC_DATABASE_URL")
    installed.run("backup-pipelines", *command, CLINIC_DATABASE_URL=database.reader_url)
    folder = installed.project / "src/shop_project/defs/clinic"
    try:
        written = yaml.safe_load((folder / "defs.yaml").read_text())
    finally:
        shutil.rmtree(folder)
    assert written["attributes"]["system"] == "clinic"


def test_a_folder_that_is_no_project_is_refused(installed: Installed, tmp_path: Path) -> None:
    """What BACKUP_PROJECT names is checked before anything is looked up in it."""
    said = installed.run_any("backup-pipelines", "list", "mydb", BACKUP_PROJECT=str(tmp_path))
    assert said.returncode == 2
    assert f"BACKUP_PROJECT={tmp_path} has no pyproject.toml with root_module" in said.stderr
    (tmp_path / "pyproject.toml").write_text("[tool.dg.project\n")
    said = installed.run_any("backup-pipelines", "list", "mydb", BACKUP_PROJECT=str(tmp_path))
    assert said.returncode == 2
    assert "pyproject.toml cannot be read" in said.stderr


def test_without_an_instance_nothing_is_made_where_one_stands(installed: Installed) -> None:
    """A wheel has no `dagster.yaml` of its own: the command says which variable it wants."""
    before = set(installed.project.parent.iterdir())
    said = installed.run_any("backup-pipelines", "backup", "mydb", DAGSTER_HOME="")
    assert said.returncode == 2
    assert "dagster.yaml: set DAGSTER_HOME to the folder of Dagster's instance" in said.stderr
    made = set(installed.project.parent.iterdir()) - before
    # The refusal is on record in the store.
    assert {path.name for path in made} <= {"store"}


def test_dg_scaffolds_a_system_that_loads(installed: Installed) -> None:
    """`dg scaffold defs` writes a YAML that Dagster and the command line take as it is."""
    if not find_spec("dagster_dg_cli"):
        pytest.skip("no dg on this machine: dagster-dg-cli")
    source = str(installed.project / "src")
    scaffold = ["dg", "scaffold", "defs", "backup_pipelines.PostgresBackup", "new-one"]
    command = f"cd '{installed.project}' && exec {' '.join(scaffold)}"
    subprocess.run(
        command,
        shell=True,
        check=True,
        env={**installed.variables, "PYTHONPATH": source},
        capture_output=True,
    )
    folder = installed.project / "src/shop_project/defs/new-one"
    try:
        module = ("-m", "shop_project.definitions", "-d", source)
        assert "Job: new_one_backup" in installed.run("dagster", "job", "list", *module)
        listed = installed.run("backup-pipelines", "list", "new_one", "--json")
    finally:
        shutil.rmtree(folder)
    assert json.loads(listed) == []
