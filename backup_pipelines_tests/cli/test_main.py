"""What all commands share: exit codes, one sentence for every error, the version."""

import os
import signal

import pytest

from backup_pipelines import catalog
from backup_pipelines.errors import Failed
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing command"),
        (("bakup", "crm"), "Did you mean 'backup'"),
        (("list",), "Missing argument 'SYSTEM'"),
        (("list", "crm", "--jsn"), "No such option"),
        (("backup", "crm", "--module"), "requires an argument"),
    ],
)
def test_misuse_is_one_line_on_stderr_and_exit_2(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.rstrip().endswith("--help")
    assert result.err.count("\n") == 1


def test_help_and_version_exit_with_0(cli: Cli) -> None:
    assert "verify" in cli("--help").out
    assert cli("--version").out.strip()
    assert cli("backup", "--help").code == 0


def test_a_store_that_is_none_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_STORE_URL", "ftp://somewhere")
    result = cli("list", "crm")
    assert (result.code, result.out) == (2, "")
    assert "file:///folder or s3://bucket/prefix" in result.err


def test_errors_of_this_project_keep_their_exit_code(
    cli: Cli, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Failed("the store went away")

    monkeypatch.setattr(catalog, "listing", fail)
    result = cli("list", "crm")
    assert (result.code, result.err) == (1, "the store went away\n")


def test_a_surprise_is_one_sentence_and_a_traceback_on_demand(
    cli: Cli, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> None:
        raise RuntimeError("a bug\nin two lines")

    monkeypatch.setattr(catalog, "listing", surprise)
    result = cli("list", "crm")
    assert result.code == 1
    assert result.err == (
        "unexpected RuntimeError: a bug in two lines; run again with --debug for the traceback\n"
    )
    assert "Traceback" in cli("list", "crm", "--debug").err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_sentence_and_exit_130(
    cli: Cli, own_store: Store, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(catalog, "listing", interrupt)
    result = cli("list", "crm")
    assert (result.code, result.out) == (130, "")
    assert result.err.strip().startswith("interrupted")
    assert signal.getsignal(number) == before
