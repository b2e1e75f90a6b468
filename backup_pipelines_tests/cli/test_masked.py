"""`restore --masked` and `csv export --masked`: what they print, refuse and leave in the trail."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import yaml

from backup_pipelines import environment
from backup_pipelines.demo.databases import Demo
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, Live, Result
from backup_pipelines_tests.cli.test_csv import last_record
from backup_pipelines_tests.fix_masking import KEY, crm_rules
from backup_pipelines_tests.fix_postgres import Database

Make = Callable[..., Database]

# The command line with another folder of systems, for Dagster's definitions as well.
_WITH_SYSTEMS = """
import sys
from pathlib import Path
import backup_pipelines.defs
from backup_pipelines import environment
from backup_pipelines.cli.__main__ import main
folder = sys.argv[1]
backup_pipelines.defs.__path__ = [folder]
environment.defs_folder = lambda: Path(folder)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of systems with the CRM and its rules."""
    made = tmp_path / "defs"
    document = yaml.safe_load((environment.defs_folder() / "crm" / "defs.yaml").read_text())
    document["attributes"]["masking"] = {"tables": crm_rules()}
    (made / "crm").mkdir(parents=True)
    (made / "crm" / "defs.yaml").write_text(yaml.safe_dump(document))
    return made


def run(folder: Path, *arguments: str) -> Result:
    """Run a command with the systems of a folder."""
    command = [sys.executable, "-c", _WITH_SYSTEMS, str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return Result(done.returncode, done.stdout, done.stderr)


def emails(url: str) -> set[str]:
    """The addresses of the contacts."""
    with psycopg.connect(url) as connection:
        return {text for (text,) in connection.execute("SELECT email FROM contacts").fetchall()}


def test_a_masked_copy_is_made(
    folder: Path,
    demo: Demo,
    live: Live,
    own_store: Store,
    make_database: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The columns with their masks, for people and as JSON; the trail says that it was masked, and
    has the digests of the other tables only."""
    first, second = make_database(demo.server).admin_url, make_database(demo.server).admin_url
    monkeypatch.setenv("BACKUP_MASKING_KEY", KEY)
    monkeypatch.setenv("FIRST_URL", first)
    monkeypatch.setenv("SECOND_URL", second)
    arguments = ("restore", "crm", "latest", "--masked", "--confirm", "CONFIRM", "--into")
    done = run(folder, *arguments, "FIRST_URL", "--as", "ada")
    assert done.code == 0, done.err
    assert "public.contacts.email" in done.out and "fake email" in done.out
    assert f"{live.backup_id}: " in done.out and "copied into FIRST_URL" in done.out
    assert "other columns kept, since the YAML says nothing of them" in done.out
    noted = last_record(own_store, "crm")
    assert (noted.operation, noted.outcome, noted.operator) == ("restore_into", "done", "ada")
    assert noted.details["masked"] is True
    assert noted.message.startswith("a masked copy: public.account_addresses.id (hash), ")
    assert "public.products" in noted.digests_after
    assert "public.contacts" not in noted.digests_after
    assert not emails(first) & emails(live.url)

    again = run(folder, *arguments, "SECOND_URL", "--json")
    assert again.code == 0, again.err
    found = again.document
    assert (found["backup"], found["into"], found["verified"]) == (
        *(live.backup_id, "SECOND_URL", True),
    )
    masks = {one["column"]: one["how"] for one in found["masked"]}
    assert masks["public.users.id"] == "hash" and found["undecided"] > 10
    assert emails(first) == emails(second)

    filled = run(folder, *arguments, "SECOND_URL")
    assert (filled.code, filled.out) == (2, "")
    assert "a masked copy is made in an empty one, and SECOND_URL leads to one with" in filled.err

    monkeypatch.setenv("THIRD_URL", make_database(demo.server).admin_url)
    monkeypatch.delenv("BACKUP_MASKING_KEY")
    keyless = run(folder, *arguments, "THIRD_URL")
    assert (keyless.code, keyless.out) == (2, "")
    assert "BACKUP_MASKING_KEY is not set" in keyless.err
    assert last_record(own_store, "crm").outcome == "refused"


def test_the_live_database_is_never_masked(cli: Cli, live: Live, own_store: Store) -> None:
    """Without --into it is refused before a run begins, and the trail says so."""
    before = emails(live.url)
    result = cli("restore", "crm", "latest", "--masked", "--confirm", "CONFIRM")
    assert (result.code, result.out) == (2, "")
    assert "never goes into the live database of crm: add --into VAR" in result.err
    assert last_record(own_store, "crm").outcome == "refused"
    assert emails(live.url) == before


def test_masked_files(
    cli: Cli,
    folder: Path,
    live: Live,
    own_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the live database and from a backup the same; the note and the trail say masked."""
    arguments = ("csv", "export", "crm", "--module", "contacts", "--masked", "--to")
    refused = cli(*arguments, str(tmp_path / "none"))
    assert (refused.code, (tmp_path / "none").exists()) == (2, False)
    assert "crm has no rules for masked copies: write them under masking in" in refused.err

    monkeypatch.setattr(environment, "defs_folder", lambda: folder)
    keyless = cli(*arguments, str(tmp_path / "none"))
    assert (keyless.code, (tmp_path / "none").exists()) == (2, False)
    assert "BACKUP_MASKING_KEY is not set" in keyless.err

    monkeypatch.setenv("BACKUP_MASKING_KEY", KEY)
    done = cli(*arguments, str(tmp_path / "live"), "--json")
    assert done.code == 0, done.err
    assert done.document["masked"] is True
    assert last_record(own_store, "crm").message.endswith(", masked")
    kept = cli(*arguments, str(tmp_path / "kept"), "--backup", "latest")
    assert kept.code == 0, kept.err
    for name in ("contacts.csv", "contact_emails.csv"):
        found = (tmp_path / "live" / name).read_text()
        assert found == (tmp_path / "kept" / name).read_text()
        assert not [email for email in emails(live.url) if email in found]
