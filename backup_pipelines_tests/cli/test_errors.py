"""Wrong input to every command: exit code 2, one sentence with what to do next, nothing else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest

from backup_pipelines import systems
from backup_pipelines.cli.__main__ import cli as root
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, Result, put_backup

# What each command is given where it needs something and the test is about something else.
_VALUES: Mapping[str, Sequence[str]] = {
    "system": ["crm"],
    "backup": ["latest"],
    "table": ["leads_table"],
    "key": ["1"],
    "sql": ["SELECT 1"],
    "name": ["ann"],
    "file": ["FOLDER/no-such.tar"],
    "to": ["FOLDER/made"],
    "source": ["FOLDER"],
    "reason": ["by a test"],
    "confirm": ["CONFIRM"],
    "database_url_env": ["NO_SUCH_DATABASE_URL"],
    "shell": ["bash"],
}

_UNKNOWN = "20200101T000000Z-manual-000000"

# Before the error: what was being done, and that a refusal has nowhere to be written.
_BEFORE = re.compile(r"crm: |reading |nosuch: |not in the audit trail: ")
# And after it, the run in which it was refused.
_RUN = re.compile(r"\(run [0-9a-f-]{36} of \w+\)")

Path_ = tuple[str, ...]


def leaves(
    command: click.Command = root, path: Path_ = ()
) -> Iterator[tuple[Path_, click.Command]]:
    """Every command with its words."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from leaves(below, (*path, name))
    else:
        yield path, command


LEAVES = dict(leaves())


def words(path: Path_, **given: str) -> list[str]:
    """A command line with all that the command needs, and with what is given by name."""
    options, arguments = list(path), list[str]()
    for parameter in LEAVES[path].params:
        name = str(parameter.name)
        if name not in given and not parameter.required and name != "confirm":
            continue
        value = [given[name]] if name in given else _VALUES[name]
        if isinstance(parameter, click.Option):
            options += [parameter.opts[0], *value]
        else:
            arguments += value
    return [*options, *arguments]


def with_text(name: str, *but: Path_) -> list[Path_]:
    """The commands that take a text of this name."""
    return [
        path
        for path, command in LEAVES.items()
        if path not in but
        if any(one.name == name and one.type.name == "text" for one in command.params)
    ]


@pytest.fixture(autouse=True)
def entry_id(own_store: Store, home: Path) -> str:
    """The id of the one backup that there is."""
    del home
    return put_backup(own_store).id


@pytest.fixture
def refused(cli: Cli, own_store: Store, tmp_path: Path) -> "Refused":
    """Runs a command that must be refused."""
    return Refused(cli, own_store, tmp_path)


class Refused:
    """A command that is refused, with the store and the folder as they were."""

    def __init__(self, cli: Cli, store: Store, folder: Path) -> None:
        self._cli, self._store = cli, store
        self.folder = folder

    def __call__(self, line: Sequence[str], *said: str, code: int = 2) -> None:
        """Run it: each of `said` is in the one sentence, of which the last is what to do."""
        before = self._state()
        result = self._cli(*(word.replace("FOLDER", str(self.folder)) for word in line))
        assert (result.code, result.out) == (code, ""), result.err
        sentence = _sentence(result)
        assert [text for text in said if text not in sentence] == []
        assert "Traceback" not in result.err
        assert "unexpected" not in result.err
        assert self._state() == before

    def _state(self) -> Sequence[object]:
        """Everything but the audit trail, which has a record of each refusal."""
        kept = {
            found.key: found.size_bytes
            for found in self._store.objects("")
            if "/audit/" not in found.key
        }
        store = self.folder / "store"
        files = sorted(p for p in self.folder.rglob("*") if not p.is_relative_to(store))
        return kept, files, systems.known_names()


def _sentence(result: Result) -> str:
    lines = [line for line in result.err.splitlines() if not _RUN.fullmatch(line)]
    titles = [line for line in lines[:-1] if _BEFORE.match(line) is None]
    assert titles == [], result.err
    return lines[-1]


@pytest.mark.parametrize("path", with_text("system"), ids=" ".join)
def test_an_unknown_system(refused: Refused, path: Path_) -> None:
    """With those that there are, and how one is added; of a database, with its variable."""
    if path == ("init",):
        refused(words(path, system="nosuch"), "NO_SUCH_DATABASE_URL is not set: set it to the URL")
    else:
        more = {"backup": _UNKNOWN} if path == ("delete",) else {}
        refused(
            words(path, system="nosuch", **more),
            "there is no system nosuch; there are crm, dcim",
            "add one with backup-pipelines init nosuch --database-url-env VARIABLE",
        )


@pytest.mark.parametrize("path", with_text("backup"), ids=" ".join)
def test_a_backup_that_is_not_there(refused: Refused, path: Path_) -> None:
    """With the command that shows those that are."""
    line = words(path, backup=_UNKNOWN)
    refused(line, f"crm has no backup {_UNKNOWN}", "`backup-pipelines list crm` shows them")


@pytest.mark.parametrize("path", with_text("backup"), ids=" ".join)
def test_what_is_no_backup_id(refused: Refused, path: Path_) -> None:
    """With one that is, and never a way out of the store's folders."""
    refused(words(path, backup="../../etc"), "20" if path != ("query",) else "such as 2026-01-31")


@pytest.mark.parametrize("path", with_text("modules"), ids=" ".join)
def test_an_unknown_module(refused: Refused, path: Path_) -> None:
    """With those that there are."""
    refused.folder.joinpath("leads.csv").write_text("id\n1\n")
    refused(words(path, modules="nosuch"), "no module nosuch", "its modules are ", "leads")


@pytest.mark.parametrize("path", [*with_text("tables"), ("history",)], ids=" ".join)
def test_an_unknown_table(refused: Refused, path: Path_) -> None:
    """With those that there are."""
    refused.folder.joinpath("leads.csv").write_text("id\n1\n")
    line = words(path, **{"table" if path == ("history",) else "tables": "nosuch"})
    refused(line, "table public.nosuch", "public.leads")


def _misuses() -> list[tuple[Path_, list[str], str]]:
    """A word that no command knows, and for each value that is a choice or a number a wrong one."""
    found: list[tuple[Path_, list[str], str]] = []
    for path, command in LEAVES.items():
        found.append((path, [*words(path), "--nosuch"], "No such option"))
        needed = [one for one in command.params if one.required]
        if needed:
            found.append((path, list(path), "Missing "))
        for one in command.params:
            if isinstance(one.type, click.Choice | click.IntRange):
                line = words(path, **{str(one.name): "nosuch"})
                found.append((path, line, "Invalid value for "))
    return found


@pytest.mark.parametrize(
    ("path", "line", "said"), _misuses(), ids=[" ".join(line) for _, line, _ in _misuses()]
)
def test_misuse_of_any_command(refused: Refused, path: Path_, line: list[str], said: str) -> None:
    """With the help to look at."""
    refused(line, said, f"see backup-pipelines {' '.join(path)} --help")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["backup", "crm", "--modul", "x"], ["Did you mean"]),
        (["nosuch"], ["No such command 'nosuch'", "see backup-pipelines --help"]),
        (["csv", "nosuch"], ["No such command 'nosuch'", "see backup-pipelines csv --help"]),
        (["restore", "crm", "latest"], ["the live database of crm", "add --confirm CONFIRM"]),
        (["restore", "crm", "latest", "--confirm", "yes"], ["add --confirm CONFIRM"]),
        (["undo", "crm"], ["add --confirm CONFIRM"]),
        (["delete", "crm", _UNKNOWN], ["will be removed: add --confirm CONFIRM"]),
        (["delete", "crm", "latest", "--confirm", "CONFIRM"], ["give the id of the backup"]),
        (["reencrypt", "crm", "all"], ["add --confirm CONFIRM"]),
        (["csv", "import", "crm", "--from", "FOLDER"], ["add --confirm CONFIRM"]),
        (["reconcile", "crm", "--repair"], ["add --confirm CONFIRM"]),
        (
            ["restore", "crm", "latest", "--confirm", "CONFIRM", "--skip-safety"],
            ["--skip-safety needs --reason TEXT"],
        ),
        (
            ["restore", "crm", "latest", "--confirm", "CONFIRM", "--masked"],
            ["never goes into the live database", "add --into VAR"],
        ),
        (
            ["restore", "crm", "latest", "--confirm", "CONFIRM", "--into", "postgresql://a:b@c/d"],
            ["--into takes the name of an environment variable such as TARGET_DATABASE_URL"],
        ),
        (["plan", "crm", "latest", "--into", "NO_SUCH_URL"], ["is not set: set it to the URL"]),
        (["upload", "crm", "FOLDER/no-such.tar"], ["no file: give one that `download` has made"]),
        (["csv", "plan", "crm", "--from", "FOLDER/nosuch"], ["nosuch"]),
        (
            ["csv", "import", "crm", "--from", "x", "--confirm", "CONFIRM", "--map", "x"],
            ["--map takes NAME=COLUMN"],
        ),
        (["csv", "export", "crm", "--to", "FOLDER/made"], ["name at least one module or table"]),
        (["download", "crm", "latest", "--to", "FOLDER/no/such/b.tar"], ["cannot be written"]),
        (["download", "crm", "latest", "--to", "FOLDER/store"], ["exists: remove it, or choose"]),
        (["diff", "crm", "latest", "latest", "--to", "FOLDER/store"], ["exists"]),
        (
            ["query", "crm", "latest", "SELECT 1", "--csv", "--json"],
            ["give either --csv or --json"],
        ),
        (["status", "--json", "--metrics"], ["give either --json or --metrics"]),
        (["audit", "crm", "--since", "soon"], ["is no date: write 2026-01-31"]),
        (["audit", "crm", "--verify", "--operator", "ann"], ["give it without filters"]),
        (["link", "crm", "latest", "--expires", "soon"], ["write a number and s, m, h or d"]),
        (["list", "crm", "--store", "second"], ["crm has no second store: name one under"]),
        (["copy", "crm"], ["no second store: name one under second_store"]),
        (["demo", "--print-url", "nosuch"], ["it has crm, dcim"]),
        (
            ["init", "shop", "--database-url-env", "postgresql://a:b@c/d"],
            ["takes the name of an environment variable"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) > 1 else None,
)
def test_wrong_values(refused: Refused, line: list[str], said: list[str]) -> None:
    """Each with what is right; a URL that was given by mistake is not shown."""
    refused(line, *said)


@pytest.mark.parametrize("command", ["list", "show", "query", "plan", "download", "verify"])
@pytest.mark.parametrize(
    ("variables", "said", "code"),
    [
        ({"BACKUP_STORE_URL": "ftp://x"}, "file:///folder or s3://bucket/prefix", 2),
        (
            {
                "BACKUP_STORE_URL": "s3://bucket/prefix",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "y",
            },
            "cannot be reached (Connection refused): check AWS_ENDPOINT_URL",
            1,
        ),
    ],
)
def test_a_store_that_is_none_and_one_that_does_not_answer(
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    variables: Mapping[str, str],
    said: str,
    code: int,
) -> None:
    """The first is a mistake, exit code 2; the second may be there again in a minute: 1."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused(words((command,)), said, code=code)


@pytest.mark.parametrize(
    "path", [("csv", "plan"), ("csv", "export"), ("csv", "template")], ids=" ".join
)
def test_a_database_that_does_not_answer(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, path: Path_
) -> None:
    """It may be there again in a minute: exit code 1, and what to look at."""
    monkeypatch.setenv("CRM_DATABASE_URL", "postgresql://ann:secret@127.0.0.1:9/crm")
    refused(
        words(path, modules="leads"),
        "cannot connect to the database of crm",
        "see that the server is up and its URL is right",
        code=1,
    )


@pytest.mark.parametrize("path", [("list",), ("show",), ("backup",), ("csv", "plan")], ids=" ".join)
def test_with_json_an_error_is_the_same_sentence_and_no_document(
    refused: Refused, path: Path_
) -> None:
    """A program reads stdout only when the exit code says that there is something."""
    refused([*words(path, system="nosuch"), "--json"], "there is no system nosuch")
