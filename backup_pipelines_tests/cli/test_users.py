"""The verbs about who signs in by a password, and what `serve` refuses before it starts."""

import io
import os
import pty
import select
import socket
import subprocess
from pathlib import Path

import pytest

from backup_pipelines.access import identity, tokens, users
from backup_pipelines_tests.cli.conftest import Cli, command

_PASSWORD = "a long password of somebody"


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of users of the test's own, and no other way in."""
    monkeypatch.setenv(users.BACKUP_USERS_FILE, str(tmp_path / "users.yaml"))
    monkeypatch.setenv(identity.BACKUP_ACCESS_KEY, "k" * 32)
    for name in (tokens.BACKUP_JWT_SECRET, tokens.BACKUP_JWKS_URL, tokens.BACKUP_JWT_AUDIENCE):
        monkeypatch.delenv(name, raising=False)


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What a pipe gives the next command."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_user_is_added_changed_listed_and_removed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is the first line of stdin, and appears nowhere."""
    assert "nobody is in" in cli("users", "list").out
    typed(monkeypatch, f"{_PASSWORD}\r\nanother line\n")
    added = cli("users", "add", "ada@example.com")
    assert added.code == 0
    assert added.out == "ada@example.com may sign in now\n  crm: open to all\n  dcim: open to all\n"
    assert users.check("ada@example.com", _PASSWORD) is not None
    typed(monkeypatch, "another long password")
    again = cli("users", "add", "ada@example.com", "--json").document
    assert (again["name"], again["new"]) == ("ada@example.com", False)
    assert users.check("ada@example.com", _PASSWORD) is None
    listed = cli("users", "list", "--json").document
    assert listed == [
        {"name": "ada@example.com", "roles": {"crm": "open to all", "dcim": "open to all"}}
    ]
    assert "ada@example.com" in cli("users", "list").out
    assert cli("users", "remove", "ada@example.com", "--json").document["removed"]
    gone = cli("users", "remove", "ada@example.com")
    assert (gone.code, gone.err.strip()) == (
        2,
        "there is no user ada@example.com; there are none",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "there is no password on stdin"), ("\n", "there is no password"), ("short\n", "15")],
)
def test_a_password_that_is_none_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """In one sentence, and nobody is added."""
    typed(monkeypatch, text)
    result = cli("users", "add", "ada")
    assert result.code == 2
    assert said in result.err
    assert users.names() == []


def test_on_a_terminal_the_password_is_typed_twice_and_not_shown() -> None:
    """As everywhere else; two that differ are asked for again."""
    ours, theirs = pty.openpty()
    arguments = command("users", "add", "ada")
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        for asked, answer in (
            (b"Password of ada: ", _PASSWORD),
            (b"confirmation: ", "something else that is long"),
            (b"Password of ada: ", _PASSWORD),
            (b"confirmation: ", _PASSWORD),
        ):
            shown += _until(ours, asked)
            os.write(ours, answer.encode() + b"\n")
        shown += _until(ours, b"may sign in now")
        assert process.wait(60) == 0
    os.close(ours)
    assert _PASSWORD.encode() not in shown
    assert users.check("ada", _PASSWORD) is not None


def _until(terminal: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, shown
        shown += os.read(terminal, 4096)
    return shown


def refused(cli: Cli, *options: str) -> str:
    """The one sentence by which `serve` refuses to start."""
    result = cli("serve", "--no-daemon", *options)
    assert result.code == 2
    assert result.out == ""
    assert len(result.err.strip().splitlines()) == 1
    return result.err


def test_serve_starts_only_where_somebody_can_sign_in(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And be believed after that."""
    assert "nobody could sign in: add somebody with backup-pipelines users add" in refused(cli)
    monkeypatch.setenv(tokens.BACKUP_JWT_SECRET, "s" * 32)
    assert "BACKUP_JWT_AUDIENCE is not set" in refused(cli)
    monkeypatch.setenv(identity.BACKUP_ACCESS_KEY, "short")
    assert "BACKUP_ACCESS_KEY is too short" in refused(cli)
    monkeypatch.delenv(identity.BACKUP_ACCESS_KEY)
    assert "BACKUP_ACCESS_KEY is not set" in refused(cli)


def test_serve_sends_no_password_over_a_network_in_plain(cli: Cli, tmp_path: Path) -> None:
    """Another host than this one wants TLS, here or in front."""
    users.add("ada", _PASSWORD)
    pem = tmp_path / "a.pem"
    pem.write_text("")
    for host in ("0.0.0.0", "::", "10.0.0.1", "backups.example.com"):
        assert "passwords would go there in plain" in refused(cli, "--host", host)
    assert "give both" in refused(cli, "--tls-key", str(pem))
    both = ("--tls-certificate", str(pem), "--tls-key", str(pem))
    assert "not both" in refused(cli, *both, "--behind-tls")


def test_serve_says_which_port_is_taken(cli: Cli) -> None:
    """Before it loads anything."""
    users.add("ada", _PASSWORD)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(cli, "--port", port)
    assert f"nothing can listen on 127.0.0.1:{port}" in said
    assert "give another --port" in said
