"""Roles on the command line: who somebody is, what the role allows, and the word of a refusal."""

import os
import pwd
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml

from backup_pipelines import environment
from backup_pipelines.access.identity import BACKUP_ACCESS_KEY
from backup_pipelines.access.tokens import (
    BACKUP_ACCESS_TOKEN,
    BACKUP_JWT_AUDIENCE,
    BACKUP_JWT_SECRET,
)
from backup_pipelines.demo.databases import Demo
from backup_pipelines.project import BACKUP_PROJECT
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.cli.conftest import Cli, put_backup, run_process

OS_USER = "os:" + pwd.getpwuid(os.getuid()).pw_name
SECRET = secrets.token_hex(32)

_SETTINGS = '[tool.dg.project]\nroot_module = "office"\n'
_DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Crm":
    """A project with the sample CRM, whose access is enforced, and a key to sign by."""
    package = tmp_path / "project" / "office"
    (package / "defs" / "crm").mkdir(parents=True)
    (package.parent / "pyproject.toml").write_text(_SETTINGS)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(_DEFINITIONS)
    shipped = yaml.safe_load((environment.defs_folder() / "crm" / "defs.yaml").read_text())
    monkeypatch.setenv(BACKUP_PROJECT, str(package.parent))
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    return Crm(package / "defs" / "crm" / "defs.yaml", shipped)


class Crm:
    """The YAML of the system crm, in which people get roles."""

    def __init__(self, path: Path, shipped: Mapping[str, Any]) -> None:
        self._path = path
        self._shipped = shipped
        self.write()

    def write(self, **attributes: object) -> None:
        """Enforce access; `boss@example.com` is the admin where nobody else is named."""
        access = {"access": "enforced", "admins": ["boss@example.com"], **attributes}
        document = {**self._shipped, "attributes": {**self._shipped["attributes"], **access}}
        self._path.write_text(yaml.safe_dump(document))


def token(email: str, **claims: object) -> str:
    """A token of the application for somebody."""
    made = {"sub": "1", "email": email, "aud": "authenticated", "exp": time.time() + 60}
    return jwt.encode({**made, **claims}, SECRET, algorithm="HS256")


def sign_in(monkeypatch: pytest.MonkeyPatch, email: str) -> None:
    """Hold the application's token of somebody."""
    monkeypatch.setenv(BACKUP_JWT_SECRET, SECRET)
    monkeypatch.setenv(BACKUP_JWT_AUDIENCE, "authenticated")
    monkeypatch.setenv(BACKUP_ACCESS_TOKEN, token(email))


SHOW_ROWS = (
    ("query", "crm", "latest", "SELECT 1"),
    ("history", "crm", "leads_table", "1"),
    ("diff", "crm", "latest", "latest"),
    ("download", "crm", "latest", "--to", "somewhere.tar"),
    ("link", "crm", "latest"),
    ("csv", "export", "crm", "--module", "leads", "--to", "somewhere"),
)


@pytest.mark.parametrize("arguments", SHOW_ROWS, ids=lambda given: given[0])
def test_an_operator_is_shown_no_rows(
    cli: Cli,
    crm: Crm,
    own_store: Store,
    tmp_path: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What shows rows, or takes them elsewhere, needs an admin; who asked is in the trail."""
    put_backup(own_store)
    monkeypatch.chdir(tmp_path)
    crm.write(operators=[OS_USER])
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert f"{OS_USER} is an operator of crm" in result.err
    assert "needs an admin: ask boss@example.com" in result.err
    assert not list(tmp_path.glob("somewhere*"))
    [record] = audit.records(own_store, "crm", last=10)
    name = "csv_export" if arguments[0] == "csv" else arguments[0]
    assert (record.operation, record.outcome, record.operator) == (name, "refused", OS_USER)
    assert "needs an admin" in record.message


@pytest.mark.parametrize(
    "arguments",
    [
        ("modules", "crm"),
        ("plan", "crm", "latest"),
        ("csv", "template", "crm", "--module", "leads"),
    ],
    ids=lambda given: given[0],
)
def test_a_viewer_only_looks(
    cli: Cli, crm: Crm, own_store: Store, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """The catalog is for everybody; what works with the database needs an operator."""
    put_backup(own_store)
    to = ("--to", str(tmp_path / "made")) if arguments[0] == "csv" else ()
    result = cli(*arguments, *to)
    assert result.code == 2
    assert f"{OS_USER} is a viewer of crm" in result.err
    assert "needs an operator" in result.err
    assert cli("list", "crm").code == 0
    assert cli("show", "crm", "latest").code == 0


def test_as_is_not_believed_where_access_is_enforced(cli: Cli, crm: Crm, own_store: Store) -> None:
    """Whoever types an admin's name behind --as is none, and is named in the trail as who it is."""
    put_backup(own_store)
    result = cli("query", "crm", "latest", "SELECT 1", "--as", "boss@example.com")
    assert result.code == 2
    assert "--as is not believed here" in result.err
    [record] = audit.records(own_store, "crm", last=10)
    assert (record.outcome, record.operator) == ("refused", OS_USER)
    assert cli("backup", "crm", "--as", "boss@example.com").code == 2


def test_the_environment_does_not_say_who_one_is(
    cli: Cli, crm: Crm, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LOGNAME and USER make nobody another user."""
    put_backup(own_store)
    crm.write(admins=["os:boss"])
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "boss")
    result = cli("query", "crm", "latest", "SELECT 1")
    assert result.code == 2
    assert OS_USER in result.err


def test_a_token_of_the_application_says_who_one_is(
    cli: Cli, crm: Crm, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder has the roles of its name, whoever the user of the machine is."""
    put_backup(own_store)
    crm.write(admins=["Boss@example.com", OS_USER])
    sign_in(monkeypatch, "someone@example.com")
    result = cli("query", "crm", "latest", "SELECT 1")
    assert result.code == 2
    assert "someone@example.com is a viewer of crm" in result.err
    sign_in(monkeypatch, "boss@example.com")
    result = cli("query", "crm", "latest", "SELECT 1 AS one", "--json")
    assert result.code == 0, result.err
    operators = [record.operator for record in audit.records(own_store, "crm", last=10)]
    assert sorted(operators) == ["boss@example.com", "someone@example.com"]
    expired = token("boss@example.com", exp=time.time() - 3600)
    monkeypatch.setenv(BACKUP_ACCESS_TOKEN, expired)
    result = cli("query", "crm", "latest", "SELECT 1")
    assert result.code == 2
    assert "the token has expired" in result.err
    result = cli("restore", "crm", "latest", "--confirm", "CONFIRM")
    assert result.code == 2
    assert "the token has expired" in result.err
    records = audit.records(own_store, "crm", last=10)
    assert ("restore", "refused") in [(one.operation, one.outcome) for one in records]


def test_a_run_is_signed_for_and_its_op_refuses(demo: Demo, crm: Crm, own_store: Store) -> None:
    """A viewer gets no backup, an operator does and is named in it; only an admin restores it."""
    refused = run_process("backup", "crm")
    assert refused.code == 2, refused.err
    assert f"{OS_USER} is a viewer of crm, and backup needs an operator" in refused.err
    assert run_process("list", "crm", "--json").document == []

    crm.write(operators=[OS_USER])
    taken = run_process("backup", "crm", "--module", "leads", "--json")
    assert taken.code == 0, taken.err
    assert taken.document["created_by"] == OS_USER
    backup = str(taken.document["id"])
    refused = run_process("restore", "crm", backup, "--confirm", "CONFIRM")
    assert refused.code == 2, refused.err
    assert f"{OS_USER} is an operator of crm, and restore needs an admin" in refused.err
    crm.write(admins=[OS_USER])
    restored = run_process("restore", "crm", backup, "--confirm", "CONFIRM", "--json")
    assert restored.code == 0, restored.err
    records = audit.records(own_store, "crm", last=20)
    outcomes = [(r.operation, r.outcome) for r in records if r.operation in ("backup", "restore")]
    assert sorted(outcomes) == [
        ("backup", "done"),
        ("backup", "refused"),
        ("restore", "done"),
        ("restore", "refused"),
    ]
    assert {record.operator for record in records} == {OS_USER}


def test_without_a_key_nothing_is_launched(
    demo: Demo, cli: Cli, crm: Crm, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can sign, an admin is refused too, and told what to set."""
    crm.write(admins=[OS_USER])
    monkeypatch.delenv(BACKUP_ACCESS_KEY)
    result = cli("backup", "crm")
    assert result.code == 2
    assert f"{BACKUP_ACCESS_KEY} is not set: set the same random text" in result.err


def test_an_open_system_believes_what_is_said(cli: Cli, crm: Crm, own_store: Store) -> None:
    """Where access is open, everybody may do everything, and --as names them."""
    put_backup(own_store)
    crm.write(access="open")
    assert cli("query", "crm", "latest", "SELECT 1", "--as", "ada").code == 0
    [record] = audit.records(own_store, "crm", last=10)
    assert (record.outcome, record.operator) == ("done", "ada")
