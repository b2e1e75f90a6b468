"""Completion in the shell: what Tab gives, in a real bash, and in others where they are there."""

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from backup_pipelines.environment import BACKUP_STORE_URL
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, put_backup

_BASH = """
source <(backup-pipelines completion bash)
ask() {
    COMP_WORDS=(backup-pipelines "$@")
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    COMPREPLY=()
    _backup_pipelines_completion backup-pipelines
    printf '%s,' "${COMPREPLY[@]}"
    echo
}
"""

Ask = Callable[..., list[str]]


def environment(**more: str) -> Mapping[str, str]:
    """The test's environment, with the command that is installed beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **more}


@pytest.fixture
def ids(own_store: Store, home: Path) -> list[str]:
    """The ids of three backups, newest first."""
    del home
    return [put_backup(own_store, hours_old=hours).id for hours in (1, 30, 60)]


def asked(*words: str, shell: str = "bash", **more: str) -> subprocess.CompletedProcess[str]:
    """What the command answers to a shell's question about the last of some words."""
    question = {
        "_BACKUP_PIPELINES_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(("backup-pipelines", *words)),
        # Fish gives the word itself.
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    return subprocess.run(
        ["backup-pipelines"], env=environment(**question, **more), capture_output=True, text=True
    )


def test_bash_completes_commands_and_what_they_are_about(ids: list[str]) -> None:
    """Systems of the files, backups of the store with the newest first, modules, tables."""
    questions: list[tuple[list[str], list[str]]] = [
        (["li"], ["list", "link"]),
        (["csv", ""], ["export", "import", "plan", "template"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["list", ""], ["crm", "dcim"]),
        (["list", "d"], ["dcim"]),
        (["show", "crm", ""], ["latest", *ids]),
        (["show", "crm", ids[1][:10]], [one for one in ids if one.startswith(ids[1][:10])]),
        (["delete", "crm", ""], ids),
        (["query", "crm", "a"], ["all"]),
        (["diff", "crm", "latest", "l"], ["live", "latest"]),
        (["backup", "crm", "--module", "l"], ["leads"]),
        (["backup", "crm", "--module", "leads", "--module", "d"], ["deals"]),
        (["plan", "crm", "latest", "--table", ""], ["deals_table", "leads_table"]),
        (["history", "crm", "l"], ["leads_table"]),
        (["list", "crm", "--store", ""], ["first", "second"]),
        (["restore", "crm", "latest", "--into", "TARGET"], ["TARGET_DATABASE_URL"]),
        (["show", "nosuch", ""], ["latest"]),
        (["backup", "nosuch", "--module", ""], []),
    ]
    lines = "".join(
        "ask " + " ".join(f"'{word}'" for word in words) + "\n" for words, _ in questions
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", _BASH + lines],
        env=environment(TARGET_DATABASE_URL="postgresql://x/y"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [sorted(filter(None, line.split(","))) for line in done.stdout.splitlines()]
    assert answers == [sorted(expected) for _, expected in questions]
    shown = done.stdout.splitlines()[5].split(",")
    assert shown[:4] == ["latest", *ids]


def test_tab_completes_in_an_interactive_bash(ids: list[str], tmp_path: Path) -> None:
    """A person presses the key; files are completed by the shell itself."""
    del ids
    (tmp_path / "archive-of-crm.tar").write_bytes(b"")
    ours, theirs = pty.openpty()
    env = environment(PS1="$ ", TERM="xterm", INPUTRC="/dev/null")
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        env=env,
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as bash:
        os.close(theirs)
        os.write(ours, b"source <(backup-pipelines completion bash); echo re''ady\n")
        _until(ours, "ready")
        os.write(ours, b"backup-pipelines prefl\t")
        _until(ours, "preflight ")
        os.write(ours, b"dc\t")
        _until(ours, "dcim ")
        os.write(ours, b"\x15backup-pipelines upload crm arch\t")
        _until(ours, "archive-of-crm.tar ")
        os.write(ours, b"\x15exit\n")
        bash.wait(30)
    os.close(ours)


@pytest.mark.parametrize(
    ("shell", "line"),
    [("zsh", r"(?m)^plain\nlist\n"), ("fish", r"(?m)^plain,list\tList the backups of SYSTEM")],
)
def test_zsh_and_fish_get_the_same_with_a_word_about_it(home: Path, shell: str, line: str) -> None:
    """In their own forms."""
    del home
    done = asked("li", shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(line, done.stdout)


@pytest.mark.parametrize(
    ("shell", "check"),
    [
        ("zsh", "autoload -Uz compinit; compinit -D; {}; print -r -- $_comps[backup-pipelines]"),
        ("fish", "{}; complete -C 'backup-pipelines prefl'"),
    ],
)
def test_the_script_is_one_of_its_shell(home: Path, tmp_path: Path, shell: str, check: str) -> None:
    """It is sourced there; without the shell on this machine the test is skipped."""
    del home
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    made = subprocess.run(
        ["backup-pipelines", "completion", shell], env=environment(), capture_output=True
    )
    script.write_bytes(made.stdout)
    done = subprocess.run(
        [shell, "-c", check.format(f"source {script}")],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "_backup_pipelines_completion" in done.stdout or "preflight" in done.stdout


def test_a_shell_that_is_none_is_misuse(cli: Cli) -> None:
    """With those that there are."""
    result = cli("completion", "tcsh")
    assert (result.code, result.out) == (2, "")
    assert "'bash', 'zsh', 'fish'" in result.err


@pytest.mark.parametrize(
    "wrong",
    [
        {BACKUP_STORE_URL: "ftp://nowhere"},
        {BACKUP_STORE_URL: "s3://no-such-bucket", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        {"BACKUP_PROJECT": "/nowhere"},
    ],
)
def test_what_goes_wrong_says_nothing(home: Path, wrong: Mapping[str, str]) -> None:
    """Whoever presses Tab wants no error."""
    del home
    done = asked("show", "crm", "2", **wrong)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_store_that_does_not_answer_costs_no_more_than_a_moment(home: Path) -> None:
    """Its requests are tried for minutes elsewhere."""
    del home
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.monotonic()
        done = asked(
            "show",
            "crm",
            "",
            BACKUP_STORE_URL="s3://bucket/prefix",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{mute.getsockname()[1]}",
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="y",
        )
        seconds = time.monotonic() - started
    assert (done.stdout, done.stderr) == ("", "")
    # A second and a half, and what a busy machine takes to start Python.
    assert seconds < 15


def test_an_answer_imports_neither_dagster_nor_a_driver(ids: list[str]) -> None:
    """Each takes longer than all the rest."""
    done = asked("show", "crm", "", PYTHONPROFILEIMPORTTIME="1")
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.split("\n")
    }
    assert ids[0] in done.stdout
    assert not imported & {"dagster", "psycopg", "pyarrow", "pandas", "duckdb", "rich"}
    assert "obstore" in imported


def _until(terminal: int, text: str) -> None:
    """Read what a terminal shows until a text has come; fails when it does not."""
    shown = ""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, f"no {text!r} in {shown!r}"
        shown += os.read(terminal, 10_000).decode()
