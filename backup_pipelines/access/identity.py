"""Who somebody is, and the signatures by which one process believes another about it.

A signature is a JSON Web Token of our own key, for one purpose: a session of a browser, one
request, or one run, which it names; none of them is good for another.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from backup_pipelines.errors import Refused

BACKUP_ACCESS_KEY = "BACKUP_ACCESS_KEY"

Via = Literal["password", "token", "os", "schedule", "app"]
"""How it is known: signed in here, the application's token, this machine's user, the daemon, or a
signed request of the application."""

_WAYS: Mapping[object, Via] = {via: via for via in get_args(Via)}

SESSION = "session"
REQUEST = "request"

OPERATOR_HEADER = "X-Backup-Pipelines-Operator"
"""How our webserver tells the run coordinator who asks, signed for `REQUEST`."""

OS_PREFIX, APP_PREFIX, SCHEDULE = "os:", "app:", "schedule"
"""What the names of those begin with who did not sign in; nobody can sign in by such a name."""

# RFC 7518, section 3.2: a key for HS256 has at least 256 bits.
_KEY_BYTES = 32
_ALGORITHM = "HS256"


@dataclass(frozen=True)
class Identity:
    """Somebody whose name was proved in one way or another."""

    name: str
    via: Via
    subject: str = ""
    """The user's id in the application, by its token; for a password, which one it was."""


def of_schedule() -> Identity:
    """The daemon, which launches what the YAML has switched on."""
    return Identity(SCHEDULE, "schedule")


def of_app(requested_by: str) -> Identity:
    """Whom a signed request of the application is for."""
    return Identity(APP_PREFIX + requested_by, "app")


def of_os_user() -> Identity:
    """The user of this process; not by its environment, which anybody sets."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        # A container's user may have no name.
        name = str(user)
    return Identity(OS_PREFIX + name, "os")


def is_reserved(name: str) -> bool:
    """Whether nobody can have this name by signing in."""
    said = name.casefold()
    return said == SCHEDULE or said.startswith((OS_PREFIX, APP_PREFIX))


def spelled(name: str) -> str:
    """The name as names are compared: capitals tell nobody apart, look-alikes do.

    Unicode's own folding takes `ß` for `ss` and the Kelvin sign for `k`, which are other people's.
    """
    return name.lower() if name.isascii() else name


def run_purpose(run_id: str) -> str:
    """The purpose of a signature that is good for one run."""
    return f"run {run_id}"


def sign(identity: Identity, purpose: str, lifetime: timedelta | None = None) -> str:
    """The identity, signed for a purpose; raises Refused where there is no key."""
    import jwt

    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        "aud": purpose,
        "iat": now,
        "name": identity.name,
        "via": identity.via,
        "subject": identity.subject,
    }
    if lifetime is not None:
        claims["exp"] = now + lifetime
    return jwt.encode(claims, key(), algorithm=_ALGORITHM)


def read(signature: str, purpose: str) -> Identity:
    """The identity that was signed for a purpose; raises Refused for any other signature."""
    import jwt

    try:
        claims = jwt.decode(
            signature,
            key(),
            algorithms=[_ALGORITHM],
            audience=purpose,
            options={"require": ["aud", "iat"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise Refused("the sign-in has ended: sign in again") from error
    except jwt.InvalidTokenError as error:
        raise Refused(
            f"who asks for this is not signed by {BACKUP_ACCESS_KEY}: sign in, or set the same key "
            "for every process of this installation"
        ) from error
    return _identity(claims)


def _identity(claims: Mapping[str, Any]) -> Identity:
    name, via, subject = (claims.get(field) for field in ("name", "via", "subject"))
    if not isinstance(name, str) or not isinstance(subject, str) or via not in _WAYS:
        raise Refused("the signature names nobody: sign in again")
    return Identity(name, _WAYS[via], subject)


def has_key() -> bool:
    """Whether identities can be signed here."""
    return bool(os.environ.get(BACKUP_ACCESS_KEY))


def key() -> str:
    """The key of BACKUP_ACCESS_KEY; raises Refused when it is missing or too short."""
    found = os.environ.get(BACKUP_ACCESS_KEY, "")
    if len(found.encode()) < _KEY_BYTES:
        state = "too short" if found else "not set"
        raise Refused(
            f"{BACKUP_ACCESS_KEY} is {state}: set the same random text of at least {_KEY_BYTES} "
            "characters (such as `openssl rand -hex 32` prints) for every process of this "
            "installation"
        )
    return found
