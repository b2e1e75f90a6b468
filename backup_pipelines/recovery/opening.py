"""What the restore script opens encrypted objects by: pyrage if it is there, or the age tool."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO, Any, cast

from backup_pipelines.errors import Refused

IDENTITY = "BACKUP_AGE_IDENTITY"

_SECRET_KEY = "AGE-SECRET-KEY-1"


def decrypt_file(file: IO[bytes], plain: IO[bytes], name: str) -> None:
    """Decrypt a file into another, by pyrage or by the age tool."""
    keys = _identity()
    try:
        import pyrage as found
    except ImportError:
        _decrypt_by_tool(file, plain, keys, name)
        return
    pyrage = cast(Any, found)
    try:
        identities = [pyrage.x25519.Identity.from_str(key) for key in keys]
        pyrage.decrypt_io(file, plain, identities)
    except (pyrage.DecryptError, pyrage.IdentityError) as error:
        raise Refused(f"{name} cannot be opened: {error}") from error


def _decrypt_by_tool(file: IO[bytes], plain: IO[bytes], keys: list[str], name: str) -> None:
    program = shutil.which("age")
    if program is None:
        raise Refused(f"{name} is encrypted: pip install pyrage, or install the age tool")
    # By a pipe: on a command line or in a file others could read it.
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        pipe.write("\n".join(keys) + "\n")
    command = [program, "--decrypt", "--identity", f"/dev/fd/{read}"]
    with os.fdopen(read, "rb"):
        done = subprocess.run(
            command, stdin=file, stdout=plain, stderr=subprocess.PIPE, pass_fds=[read]
        )
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise Refused(f"{name} cannot be opened: {said}")


def _identity() -> list[str]:
    named = os.environ.get(IDENTITY, "").strip()
    if not named:
        raise Refused(f"the backup is encrypted: name --identity FILE, or set {IDENTITY}")
    text = named
    if _SECRET_KEY not in named:
        try:
            text = Path(named).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused("the identity is no file that can be read") from error
    keys = [word for word in text.split() if word.startswith(_SECRET_KEY)]
    if not keys:
        raise Refused(f"the identity's file has no {_SECRET_KEY}...")
    return keys
