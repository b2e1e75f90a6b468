"""Completion in the shell: the script to source, and what stands for SYSTEM, BACKUP and the others.

Click makes the script and asks here for values. Whatever goes wrong or takes long means no values:
whoever presses Tab wants no error, and not to wait.
"""

import io
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, suppress

import click
from click.shell_completion import CompletionItem, get_completion_class
from click.types import StringParamType

from backup_pipelines import catalog, environment, systems
from backup_pipelines.cli.jobs import store_named
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store

_SECONDS = 1.5

_SHELLS = ("bash", "zsh", "fish")

# Names that need no quotes in a shell.
_URL_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_URL")

# What a BACKUP may be beside an id; a delete names its backup.
_BESIDE_IDS = {
    "delete": (),
    "diff": (catalog.LATEST,),
    "query": (catalog.LATEST, "all"),
    "reencrypt": (catalog.LATEST, "all"),
}

Find = Callable[[click.Context], Iterable[str]]


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, systems, backups, modules and tables.

    SHELL is bash, zsh or fish. For now only: source <(backup-pipelines completion bash)
    """
    root = context.find_root()
    made = get_completion_class(shell)
    if made is None:
        raise Refused(f"there is no completion for {shell}: there is for {', '.join(_SHELLS)}")
    name = root.info_name or "backup-pipelines"
    variable = f"_{name}_COMPLETE".replace("-", "_").upper()
    print(made(root.command, {}, name, variable).source())


def attach(command: click.Command) -> None:
    """Let the arguments and options of a command, and of all below it, complete by their names."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            attach(below)
    for parameter in command.params:
        # Choices and numbers complete themselves, or not at all.
        if parameter.type is click.STRING and parameter.name in _FILES:
            parameter.type = _Files()
        elif parameter.type is click.STRING and parameter.name in _FINDERS:
            parameter.type = _Values(_FINDERS[parameter.name])


class _Values(StringParamType):
    """A text that completes to what is found."""

    def __init__(self, find: Find) -> None:
        self._find = find

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The values that begin as what was typed."""
        del param
        found = _in_time(lambda: list(self._find(ctx)))
        return [CompletionItem(value) for value in found if value.startswith(incomplete)]


class _Files(StringParamType):
    """A text that completes to files."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The shell's own completion of files."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


def _in_time(find: Callable[[], list[str]]) -> list[str]:
    found: list[str] = []

    def look() -> None:
        with suppress(Exception), redirect_stderr(io.StringIO()):
            found.extend(find())

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(_SECONDS)
    if looking.is_alive():
        # A request that hangs would keep Python from ending, and the shell from its prompt.
        os._exit(0)
    return found


def _given(context: click.Context, name: str) -> str:
    """What was typed for an argument; empty if nothing was."""
    if context.params.get(name):
        return str(context.params[name])
    # An option that still lacks its value keeps click from telling which argument is which.
    arguments = (one.name for one in context.command.params if isinstance(one, click.Argument))
    return dict(zip(arguments, context.args, strict=False)).get(name, "")


def _system(context: click.Context) -> str:
    return _given(context, "system")


def _store(context: click.Context) -> Store:
    return store_named(_system(context), context.params.get("which") or "first")


def _systems(context: click.Context) -> Iterable[str]:
    del context
    return systems.known_names()


def _backups(context: click.Context) -> Iterator[str]:
    yield from _BESIDE_IDS.get(context.info_name or "", (catalog.LATEST,))
    yield from sorted(catalog.ids(_store(context), _system(context)), reverse=True)


def _others(context: click.Context) -> Iterator[str]:
    """What a backup may be compared with."""
    yield "live"
    yield from _backups(context)


def _modules(context: click.Context) -> Iterable[str]:
    return systems.load_system(_system(context)).modules


def _tables(context: click.Context) -> Iterable[str]:
    """The tables of the backup that is named, or of the last one."""
    entry = _named(context)
    names = (table.qualified for table in entry.tables if table.partition_of is None)
    # People leave out what they need not say.
    return sorted(name.removeprefix("public.") for name in names)


def _named(context: click.Context) -> Manifest:
    backup = _given(context, "backup") or catalog.LATEST
    return catalog.find(_store(context), _system(context), backup)


def _variables(context: click.Context) -> Iterable[str]:
    del context
    taken = (environment.BACKUP_STORE_URL, environment.DAGSTER_POSTGRES_URL)
    return sorted(n for n in os.environ if _URL_VARIABLE.fullmatch(n) and n not in taken)


_FINDERS: dict[str | None, Find] = {
    "system": _systems,
    "backup": _backups,
    "other": _others,
    "modules": _modules,
    "tables": _tables,
    "table": _tables,
    "into": _variables,
    "database_url_env": _variables,
}

_FILES = frozenset(("file", "problems", "source", "to"))
