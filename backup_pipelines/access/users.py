"""The file of those who sign in here by a password: names and hashes (Argon2id), nothing else.

What each of them may do stands in the YAML of each system.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup_pipelines import environment
from backup_pipelines.access.identity import Identity, is_reserved, spelled
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.settings_access import EVERYONE

if TYPE_CHECKING:
    from argon2 import PasswordHasher

BACKUP_USERS_FILE = "BACKUP_USERS_FILE"

# NIST SP 800-63B-4, section 3.1.1.2: fifteen where the password is all that is asked for.
_SHORTEST = 15
# Longer ones cost time before they are refused.
LONGEST_PASSWORD = 1000
_LONGEST_NAME = 200


def path() -> Path:
    """Where the file is: BACKUP_USERS_FILE, or users.yaml beside dagster.yaml."""
    named = os.environ.get(BACKUP_USERS_FILE)
    return Path(named) if named else environment.home() / "users.yaml"


def names() -> list[str]:
    """Everybody in the file, in order; raises Refused when it cannot be read."""
    return sorted(_load())


def add(name: str, password: str) -> bool:
    """Let somebody sign in by this password; says whether the name is new."""
    if (
        not name.strip()
        or name != name.strip()
        or len(name) > _LONGEST_NAME
        or not name.isprintable()
        or is_reserved(name)
        or name == EVERYONE
    ):
        raise Refused(f"{name!r} is no name to sign in by: take an e-mail address or a short name")
    if not _SHORTEST <= len(password) <= LONGEST_PASSWORD:
        raise Refused(
            f"a password has at least {_SHORTEST} characters, and at most {LONGEST_PASSWORD}"
        )
    known = dict(_load())
    same = _spelled(known, name)
    if same is not None and same != name:
        raise Refused(f"there is {same} already, which differs in capitals only: take that name")
    is_new = same is None
    known[name] = _hasher().hash(password)
    _write(known)
    return is_new


def remove(name: str) -> None:
    """End somebody's sign-in, of open sessions too; raises NotFound."""
    known = dict(_load())
    if name not in known:
        raise NotFound(
            f"there is no user {name}; there are " + (", ".join(sorted(known)) or "none")
        )
    del known[name]
    _write(known)


def check(name: str, password: str) -> Identity | None:
    """Who signs in by this name and password; None when they do not fit.

    It takes as long for a name that is not there.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > LONGEST_PASSWORD:
        return None
    known = _load()
    spelled = _spelled(known, name)
    try:
        _hasher().verify(known[spelled] if spelled else _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return None
    return Identity(spelled, "password", _fingerprint(known[spelled])) if spelled else None


def is_current(identity: Identity) -> bool:
    """Whether somebody who signed in by a password is still a user, and by the same password."""
    found = _load().get(identity.name)
    return found is not None and _fingerprint(found) == identity.subject


def _spelled(known: Mapping[str, str], name: str) -> str | None:
    """The name as the file has it; capitals do not tell people apart."""
    return next((one for one in known if spelled(one) == spelled(name)), None)


def _fingerprint(hashed: str) -> str:
    """What changes with the password, so that sessions end with it."""
    return hashlib.sha256(hashed.encode()).hexdigest()[:16]


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    # The library's own choice is RFC 9106's for servers with less memory.
    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    return _hasher().hash("nobody has this password")


def _load() -> Mapping[str, str]:
    file = path()
    try:
        state = file.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    # A web server asks at each request, and YAML takes its time.
    return _read(file, (state.st_ino, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=2)
def _read(file: Path, state: tuple[int, int, int]) -> Mapping[str, str]:
    """What the file says in this state of it."""
    import yaml

    del state
    try:
        found: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{file} is no YAML: put it back from a copy, or remove it") from error
    users = found.get("users") if isinstance(found, dict) else None
    if users is None and not found:
        return {}
    if not isinstance(users, dict) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in users.items()
    ):
        raise Refused(f"{file} is no file of users: put it back from a copy, or remove it")
    return users


def _write(known: Mapping[str, str]) -> None:
    import yaml

    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    # Nobody else may ever read it, not even for a moment.
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write("# Made by `backup-pipelines users`; passwords are Argon2id hashes.\n")
        yaml.safe_dump({"users": dict(sorted(known.items()))}, out)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)
