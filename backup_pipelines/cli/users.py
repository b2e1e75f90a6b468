"""The verbs about those who sign in to `serve` by a password."""

import sys
from collections.abc import Mapping

import click

from backup_pipelines import systems
from backup_pipelines.access import deciding, users
from backup_pipelines.access.identity import Identity
from backup_pipelines.cli.jobs import json_option
from backup_pipelines.cli.output import print_json, print_table, tell
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.system import System
from backup_pipelines.wording import clean

_LONGEST_LINE = 4096


@click.group("users")
def users_group() -> None:
    """Manage who signs in to `serve` by a password; roles stand in the YAML."""


@users_group.command("add")
@click.argument("name")
@json_option
def add(name: str, as_json: bool) -> None:
    """Let NAME sign in, or give NAME a new password; it is asked for, or read from stdin."""
    is_new = users.add(name, _password(name))
    roles = _roles(_systems(), name)
    if as_json:
        print_json({"name": name, "new": is_new, "roles": roles, "file": str(users.path())})
        return
    print(f"{clean(name)} {'may sign in now' if is_new else 'has a new password'}")
    for system, role in roles.items():
        print(f"  {system}: {role}")
    if not is_new:
        tell("sessions by the old password have ended")


@users_group.command("remove")
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Let NAME sign in no longer; open sessions end at once."""
    users.remove(name)
    if as_json:
        print_json({"name": name, "removed": True, "file": str(users.path())})
        return
    print(f"{clean(name)} can no longer sign in; names in the YAML stay as they are")


@users_group.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List who can sign in by a password, with the roles that the YAML gives."""
    known = _systems()
    found = [(name, _roles(known, name)) for name in users.names()]
    if as_json:
        print_json([{"name": name, "roles": roles} for name, roles in found])
    elif not found:
        print(f"nobody is in {users.path()}; add somebody: backup-pipelines users add NAME")
    else:
        print_table(
            ("name", "roles"),
            [
                (name, ", ".join(f"{system}: {role}" for system, role in roles.items()))
                for name, roles in found
            ],
        )


def _password(name: str) -> str:
    """The password, typed twice unseen, or the first line of stdin where it is no terminal."""
    if sys.stdin.isatty():
        return click.prompt(f"Password of {clean(name)}", hide_input=True, confirmation_prompt=True)
    line = sys.stdin.readline(_LONGEST_LINE)
    password = line.removesuffix("\n").removesuffix("\r")
    if not password:
        raise Refused("there is no password on stdin: give it as the first line")
    return password


def _systems() -> Mapping[str, System]:
    """All systems; none, and a word of it, where their YAML cannot be read."""
    try:
        return systems.load_systems()
    except BackupError as error:
        tell(f"roles are not shown: {clean(error)}")
        return {}


def _roles(known: Mapping[str, System], name: str) -> dict[str, str]:
    """The role in each system."""
    somebody = Identity(name, "password")
    return {
        system: "open to all" if one.access == "open" else str(deciding.role_of(one, somebody))
        for system, one in known.items()
    }
