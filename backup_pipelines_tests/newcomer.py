"""Somebody who has a machine, the files of this repository, its pages, and nothing else.

What they type stands in the pages' blocks, in that order; of it only placeholders are replaced.
"""

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

_BLOCK = re.compile(r"^```(sh|text|sql)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What only this repository's own people have set.
_OURS = ("BACKUP_", "DAGSTER_", "AWS_", "PG", "PYTHON", "PYTEST_", "VIRTUAL_ENV", "MAKE", "MFLAGS")

_COMMAND = """\
import sys

from backup_pipelines.cli.__main__ import main

sys.exit(main())
"""


def blocks(page: str, heading: str) -> list[tuple[str, str]]:
    """The language and the text of each block below a heading of a page, up to the next one."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    found = re.search(rf"^(?:#+ |\*\*){re.escape(heading)}.*?(?=^## |\Z)", text, re.M | re.S)
    assert found, f"{page} has no {heading}"
    return _BLOCK.findall(found[0])


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands(page: str, heading: str) -> list[str]:
    """The command lines in these blocks, in their order, without what they printed."""
    found: list[str] = []
    for language, text in blocks(page, heading):
        lines = text.splitlines()
        if language == "sh":
            found += lines
        elif language == "text":
            found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return found


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    out: str
    err: str

    def line(self, start: str) -> str:
        """The rest of the one line of the output that begins so."""
        [found] = [line for line in self.out.splitlines() if line.startswith(start)]
        return found.removeprefix(start)


@dataclass
class Newcomer:
    """A shell in a fresh copy of the repository, and how long each step took in it."""

    folder: Path
    home: Path
    placeholders: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict[str, str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    worked: dict[str, float] = field(default_factory=dict[str, float])
    """Of these seconds those of a processor: the others were waited, on a busy machine for it."""

    def arrive(self) -> None:
        """Make the folder, of the files that git knows, and a home with nothing of ours in it."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        try:
            listed = subprocess.run(
                command, cwd=PROJECT, check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("not a git checkout")
        for name in listed.stdout.split("\0"):
            if name and (PROJECT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, self.folder / name)
        self.home.mkdir()
        # The way to a package index is the machine's.
        for settings in (".config/pip", ".pip"):
            if (Path.home() / settings).is_dir():
                shutil.copytree(Path.home() / settings, self.home / settings)
        ours = str(Path(sys.executable).parent)
        path = [entry for entry in os.environ["PATH"].split(os.pathsep) if entry != ours]
        kept = {n: v for n, v in os.environ.items() if not n.startswith(_OURS)}
        kept = {n: v for n, v in kept.items() if not n.endswith("DATABASE_URL")}
        self.variables = {
            **kept,
            "HOME": str(self.home),
            "PATH": os.pathsep.join(path),
            "PYTHON": sys.executable,  # Of make, for machines whose python3 is too old.
        }

    def borrow_packages(self) -> None:
        """Have a `.venv` with the packages of the tests, so that `make setup` has nothing to do."""
        where = self.folder / ".venv"
        venv.create(where)
        [packages] = where.glob("lib/python*/site-packages")
        borrowed = [str(self.folder), *(path for path in sys.path if "site-packages" in path)]
        (packages / "borrowed.pth").write_text("".join(f"{path}\n" for path in borrowed))
        program = where / "bin" / "backup-pipelines"
        program.write_text(f"#!{where}/bin/python\n{_COMMAND}")
        program.chmod(0o755)
        (where / ".ready").touch()

    def fill_in(self, command: str) -> str:
        """The command with the newcomer's own names in place of the page's."""
        # In one pass: what is filled in may hold another placeholder by chance.
        known = "|".join(map(re.escape, sorted(self.placeholders, key=len, reverse=True)))
        command = re.sub(known, lambda found: self.placeholders[found[0]], command)
        assert "..." not in command, f"nobody can know what to type for {command}"
        return command

    def type(self, step: str, command: str, *exit_codes: int) -> Said:
        """Type one line of a page, and wait; what it exports stays in the shell.

        It must end with 0, or as it may.
        """
        typed, kept = self.fill_in(command), self.home / ".variables"
        started, before = time.monotonic(), _processor_seconds()
        done = subprocess.run(
            ["bash", "-c", f"{typed}\ncode=$?; env -0 > {shlex.quote(str(kept))}; exit $code"],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self.seconds[step] = self.seconds.get(step, 0) + time.monotonic() - started
        self.worked[step] = self.worked.get(step, 0) + _processor_seconds() - before
        assert done.returncode in (0, *exit_codes), f"{typed}\n{done.stdout}\n{done.stderr}"
        pairs = (pair.partition("=") for pair in kept.read_text().split("\0") if pair)
        self.variables = {name: value for name, _, value in pairs}
        return Said(done.stdout, done.stderr)

    def report(self) -> str:
        """How long each step took, on one line."""
        return ", ".join(
            f"{step} {seconds:.1f} s ({self.worked[step]:.1f} s of a processor)"
            for step, seconds in self.seconds.items()
        )

    def follow(self, step: str, page: str, heading: str) -> list[Said]:
        """Type all lines below a heading, one after the other."""
        return [self.type(step, line) for line in commands(page, heading)]
