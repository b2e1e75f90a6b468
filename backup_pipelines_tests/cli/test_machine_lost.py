"""The machine is lost: a bucket and an identity are left, and there are three ways back."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from backup_pipelines import layout, systems
from backup_pipelines.demo.binaries import bin_dir
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.seed import create_database
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_backup import back_up
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_recovery import assert_equal, encrypted_to, shell_blocks
from backup_pipelines_tests.fix_s3 import S3Server

PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Left:
    """What is left: a bucket with one encrypted backup, and the identity; and what was lost."""

    server: S3Server
    bucket: str
    identity: Path
    entry: Manifest
    lost: Mapping[str, list[bytes]]

    @property
    def url(self) -> str:
        """The store."""
        return f"s3://{self.bucket}/prefix"

    def download(self, to: Path) -> Path:
        """The backup's folder by another client than ours, under the keys of the store."""
        client, prefix = self.server.client(), layout.backup_prefix("crm", self.entry.id)
        for key in self.server.stored(self.bucket):
            if key.startswith(f"prefix/{prefix}"):
                path = to / key.removeprefix("prefix/")
                path.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(self.bucket, key, str(path))
        return to / prefix


@pytest.fixture
def left(
    demo: Demo,
    moto_server: S3Server,
    identity_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Left]:
    """The sample CRM, backed up on a host that has the public key only; then it is dropped."""
    name, bucket = f"t_{secrets.token_hex(6)}", moto_server.bucket()
    create_database(demo.server.url, "crm", scale=0.05, database=name)
    url = demo.server.url(name, "crm_owner")
    with monkeypatch.context() as backup_host:
        moto_server.use(backup_host)
        encryption = {"encryption": encrypted_to(identity_file).encryption}
        system = systems.load_system("crm").model_copy(update=encryption)
        entry = back_up(url, Store(f"s3://{bucket}/prefix"), system)
    lost = contents(url)
    with psycopg.connect(demo.admin_url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    yield Left(moto_server, bucket, identity_file, entry, lost)


@pytest.fixture
def make_empty(demo: Demo, make_database: Callable[[Server], Database]) -> Callable[[], Database]:
    """Makes an empty database on a new server, as which the tests' own will do."""
    return lambda: make_database(demo.server)


@pytest.fixture
def new_home(tmp_path: Path) -> Path:
    """The DAGSTER_HOME of the new machine, which knows of nothing."""
    folder = tmp_path / "new_home"
    folder.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder / name)
    return folder


def type_in(folder: Path, text: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Type commands into a shell that finds the tool and its Python; any that fails ends it."""
    path = os.pathsep.join([str(bin_dir()), str(Path(sys.executable).parent), os.environ["PATH"]])
    clean = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(PROJECT)}
    # A command line is not that long.
    (folder / "typed").write_text(text)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "typed"],
        cwd=folder,
        env=clean | variables,
        capture_output=True,
        text=True,
    )


def test_the_machine_is_lost_and_everything_comes_back(
    left: Left,
    make_empty: Callable[[], Database],
    new_home: Path,
    identity_file: Path,
    tmp_path: Path,
) -> None:
    """With the tool, as the backup's RECOVERY.md says: catalog, list and rows, proved equal.

    Then by the script beside it, and by hand, from a copy of the folder, with nothing of ours.
    """
    folder = left.download(tmp_path / "copy")
    recovery = folder / "RECOVERY.md"
    by_tool, by_script, by_hand, runs = (make_empty() for _ in range(4))

    typed = shell_blocks(recovery, "## With backup_pipelines", "## By the script")
    page = shell_blocks(PROJECT / "docs/recovery.md", "### With this tool", "### By the script")
    said = [line for line in page.splitlines() if line.startswith("backup-pipelines ")]
    for line in said:
        # What the page says of any backup, RECOVERY.md says of this one.
        if " show " not in line:
            assert line.replace("crm latest", f"crm {left.entry.id}") in typed
    done = type_in(
        new_home,
        "\n".join([typed, *(line for line in said if " show " in line)]),
        **left.server.environment(),
        DAGSTER_HOME=str(new_home),
        DAGSTER_POSTGRES_URL=runs.owner_url,
        BACKUP_STORE_URL=left.url,
        BACKUP_AGE_IDENTITY=str(identity_file),
        CRM_DATABASE_URL="postgresql://nobody@127.0.0.1:1/lost",
        TARGET_DATABASE_URL=by_tool.admin_url,
    )
    assert done.returncode == 0, done.stderr
    assert left.entry.id in done.stdout
    assert_equal(by_tool.admin_url, left.entry)
    assert contents(by_tool.admin_url) == left.lost

    identity = {"IDENTITY": str(identity_file)}
    typed = shell_blocks(recovery, "## By the script", "## By hand")
    done = type_in(tmp_path / "copy", typed, TARGET_DATABASE_URL=by_script.admin_url, **identity)
    assert done.returncode == 0, done.stderr
    assert_equal(by_script.admin_url, left.entry)
    assert contents(by_script.admin_url) == left.lost

    if shutil.which("age") is None or find_spec("duckdb") is None:
        pytest.skip("by hand it takes the age tool and DuckDB, which are not on this machine")
    typed = shell_blocks(recovery, "## By hand")
    done = type_in(tmp_path / "copy", typed, URL=by_hand.admin_url, **identity)
    assert done.returncode == 0, done.stderr
    assert_equal(by_hand.admin_url, left.entry)
    assert contents(by_hand.admin_url) == left.lost
