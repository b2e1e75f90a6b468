"""Who runs a command, and whether the role allows it.

A command that has a run only signs for it: the op asks for the role, and leaves word of a refusal.
"""

import getpass
import os

from backup_pipelines import systems
from backup_pipelines.access import deciding, tokens
from backup_pipelines.access.identity import Identity, of_os_user
from backup_pipelines.access.tokens import BACKUP_ACCESS_TOKEN
from backup_pipelines.errors import Refused
from backup_pipelines.system import System


def proved(system: System, said: str | None) -> Identity | None:
    """Who it is, beyond what anybody may claim; None where that is all that is known.

    `said` is the value of --as. Raises Refused for a token that is not good, and for a claim where
    access is enforced.
    """
    token = os.environ.get(BACKUP_ACCESS_TOKEN)
    if said and (token or system.access == "enforced"):
        reason = f"{BACKUP_ACCESS_TOKEN} says" if token else f"{system.system} asks for proof of"
        raise Refused(f"--as is not believed here, since {reason} who you are: leave it out")
    if token:
        return tokens.verify(token)
    return of_os_user() if system.access == "enforced" else None


def name(system: str, said: str | None) -> str:
    """What records of a command call whoever runs it, a refused one too."""
    try:
        known = proved(systems.load_system(system), None)
    except Refused:
        # What is wrong with the YAML or the token is said by whoever needs it.
        known = of_os_user()
    return known.name if known else said or os_user()


def require(system: str, operation: str, said: str | None) -> None:
    """Raise NotAllowed unless whoever runs the command may do the operation."""
    loaded = systems.load_system(system)
    deciding.require(loaded, operation, proved(loaded, said))


def os_user() -> str:
    """The name of the user of this process, as the environment tells it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container's user may have no name.
        return f"uid {os.getuid()}"
