"""Restoring without this package: an identity in a file, a source and an empty target."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyrage
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.digest import compare
from backup_pipelines.settings_storage import EncryptionSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.fix_backup import whole_system
from backup_pipelines_tests.fix_postgres import Database, Server


@pytest.fixture
def identity_file(tmp_path: Path) -> Path:
    """A new identity, as age-keygen writes it."""
    file = tmp_path / "identity.txt"
    file.write_text(f"# created: today\n{pyrage.x25519.Identity.generate()}\n")
    return file


@pytest.fixture
def pair(
    server: EmbeddedServer, make_database: Callable[[Server], Database]
) -> tuple[Database, Database]:
    """An empty database, and one to fill; the first may come to name owners of the second."""
    return make_database(server), make_database(server)


def recipient(identity_file: Path) -> str:
    """The public key of an identity."""
    identity = pyrage.x25519.Identity.from_str(identity_file.read_text().split()[-1])
    return str(identity.to_public())


def encrypted_to(identity_file: Path) -> System:
    """A system whose backups are encrypted to an identity."""
    encryption = EncryptionSpec(recipients=[recipient(identity_file)])
    return whole_system().model_copy(update={"encryption": encryption})


def folder_of(store: Store) -> Path:
    """The folder of a local store."""
    return Path(unquote(urlsplit(store.url).path))


def assert_equal(url: str, entry: Manifest) -> None:
    """Every table has the digest of the manifest, by the package's own comparison."""
    with connected(url) as connection:
        assert compare(connection, entry.tables) == []


def shell_blocks(page: Path, begin: str, end: str = "\0") -> str:
    """The commands of a page between two headings, in their order."""
    text = page.read_text("utf-8").partition(f"\n{begin}\n")[2].partition(f"\n{end}\n")[0]
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no commands under {begin}"
    return "\n".join(textwrap.dedent(block) for block in found)
