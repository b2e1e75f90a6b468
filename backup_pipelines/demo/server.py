"""The embedded PostgreSQL: a real server that comes with its first user and leaves with its last.

What is in its directory:

    lock      held by whoever starts or stops the server
    users     held shared by every process and thread that uses it
    keep      exists while the server is to stay up without users
    server    the server's own folder, private to the OS user it runs as: data, server.log, socket

`server` and `server/socket` are symbolic links to folders under the temp folder where the server's
user could not get at them, or where the path is too long or too odd for a socket.
"""

import fcntl
import hashlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil

from backup_pipelines.demo.binaries import (
    PORT,
    SOCKET_NAME,
    Account,
    own_directory,
    place,
    run_as,
    server_account,
    server_bin_dir,
)
from backup_pipelines.errors import Failed, Refused

# Recovery replays at most max_wal_size (1 GB), a fast shutdown writes at most shared_buffers.
START_TIMEOUT = 120
STOP_TIMEOUT = 60
POLL_SECONDS = 0.02
LOG_LINES_SHOWN = 20
# The clock may have been set between a process's start and ours.
SAME_START_SECONDS = 10

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "max_locks_per_transaction": "256",
    # fsync stays on, so a crash loses at most the last moments of the demo, never its consistency.
    "synchronous_commit": "off",
    # Nothing replicates from the demo, and COPY into a table as new as itself skips the log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# The built-in provider is the same on every machine, whatever locales it has.
_INITDB_OPTIONS = (
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
)


class EmbeddedServer:
    """A PostgreSQL server of our own, on a Unix socket only, with its files in one directory."""

    def __init__(self, directory: Path, programs: Path | None = None) -> None:
        """Name the directory; it is made when the server is first needed.

        `programs` is the folder of another PostgreSQL than the wheel's, which the user that the
        server runs as must be able to run.
        """
        self._programs = programs
        self.directory = Path(os.path.realpath(directory))
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        # Names its folders under the temp folder and, as cluster_name, all its processes.
        self._name = f"bp-{digest}"
        self._home = self.directory / "server"
        self._data = self._home / "data"
        self._log = self._home / "server.log"
        self._keep = self.directory / "keep"

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the libpq URL of one of its databases; it stays the same over stops and starts."""
        with self._locked():
            folder = place(self.directory, self._name)
        host = quote(str(folder), safe="")
        name, role = quote(database, safe=""), quote(user, safe="")
        return f"postgresql://{role}@/{name}?host={host}&port={PORT}"

    def is_running(self) -> bool:
        """Tell whether somebody listens on its socket; it may still be starting."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(os.path.realpath(self._home / "socket" / SOCKET_NAME))
            except OSError:
                return False
        return True

    def start(self) -> None:
        """Have it accept connections; cheap when it already does."""
        with self._locked():
            self._start()

    def stop(self) -> None:
        """Shut it down, whoever uses it, and forget that it was to be kept."""
        if not self.directory.is_dir():
            return
        with self._locked():
            self._keep.unlink(missing_ok=True)
            self._stop()

    def keep(self) -> None:
        """Have it stay up when its users leave, until `stop`. Call it before they can leave."""
        with self._locked():
            self._keep.touch()

    def remove(self) -> None:
        """Stop it and delete its databases, wherever they are."""
        if not self.directory.is_dir():
            return
        with self._locked():
            self._keep.unlink(missing_ok=True)
            self._stop()
            for folder in (self._home / "socket", self._home):
                shutil.rmtree(os.path.realpath(folder), ignore_errors=True)
            if self._home.is_symlink():
                self._home.unlink()

    @contextmanager
    def running(self) -> Generator["EmbeddedServer"]:
        """Use it: start it when needed, and stop it after its last user unless it is kept."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            # Held before starting, so that nobody's leaving stops what we have just started.
            with _flock(self.directory / "users", fcntl.LOCK_SH):
                self.start()
                yield self
        finally:
            self._leave()

    def _leave(self) -> None:
        if not self.directory.is_dir():
            return
        with self._locked():
            if self._keep.exists():
                return
            try:
                # Newcomers wait here until the server is down, and then start it.
                with _flock(self.directory / "users", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    if self._server() is not None:
                        self._stop()
            except BlockingIOError:
                return

    @contextmanager
    def _locked(self) -> Generator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with _flock(self.directory / "lock", fcntl.LOCK_EX):
            yield

    # What follows is called with the lock held.

    def _start(self) -> None:
        socket_folder = place(self.directory, self._name)
        if self._wait_until_settled():
            return
        self._clear_remains()
        account = server_account(self._home)
        own_directory(socket_folder, account)
        programs = self._programs or server_bin_dir(account)
        if not (self._data / "PG_VERSION").exists():
            self._initialize(account, programs)
        log_start = self._log.stat().st_size if self._log.exists() else 0
        settings = _SETTINGS | {
            "cluster_name": self._name,
            "unix_socket_directories": str(socket_folder),
        }
        options = shlex.join(part for item in settings.items() for part in ("-c", "=".join(item)))
        # pg_ctl puts its paths in double quotes into a shell command; relative ones are safe there.
        command = [programs / "pg_ctl", "start", "--silent", "--wait", f"--timeout={START_TIMEOUT}"]
        command += ["--pgdata=data", "--log=server.log", f"--options={options}"]
        result = run_as(account, command, cwd=self._home)
        if result.returncode != 0 or not self._is_ready():
            raise Failed(
                f"the embedded PostgreSQL in {self._home} did not start: {result.stderr.strip()}\n"
                f"{self._log_since(log_start)}"
            )

    def _stop(self) -> None:
        server = self._server()
        if server is None:
            if self.is_running():
                raise Refused(f"{self.directory} is served from another container: stop it there")
            return
        # Fast first; immediate costs a recovery at the next start, nothing else.
        for number, seconds in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGQUIT, 10)):
            with suppress(psutil.NoSuchProcess):
                server.send_signal(number)
            if _wait_for(lambda: _has_ended(server), seconds):
                return
        raise Failed(f"the embedded PostgreSQL, process {server.pid}, does not stop")

    def _initialize(self, account: Account, programs: Path) -> None:
        for left in self._home.glob("data-*"):
            shutil.rmtree(left, ignore_errors=True)
        # Never the same name twice: an initdb whose parent was killed may still be writing.
        aside = f"data-{secrets.token_hex(4)}"
        command = [programs / "initdb", f"--pgdata={aside}", *_INITDB_OPTIONS]
        result = run_as(account, command, cwd=self._home)
        if result.returncode != 0:
            raise Failed(f"initdb failed in {self._home}:\n{result.stderr.strip()}")
        (self._home / aside).rename(self._data)

    def _wait_until_settled(self) -> bool:
        """Let a server finish starting or stopping; returns whether there is one then."""

        def settled() -> bool:
            return self._is_ready() or (self._server() is None and not self.is_running())

        # Up, but its socket is not where this directory has it: it was started before a move.
        if self._claims_ready() and self._server() is not None and not self.is_running():
            self._stop()
        if not _wait_for(settled, START_TIMEOUT):
            raise Failed(f"the embedded PostgreSQL neither comes up nor ends; see {self._log}")
        return self._is_ready()

    def _clear_remains(self) -> None:
        """Remove what a killed server left behind and PostgreSQL would stumble over."""
        remains = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in remains:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if not _wait_for(lambda: all(map(_has_ended, remains)), STOP_TIMEOUT):
            raise Failed(f"what a killed server left does not end: {remains}")
        pid = self._lock_file_line(0)
        # A zombie or a stranger with that pid keeps PostgreSQL from starting. With no such process
        # it removes the file itself, after better checks than ours.
        if not pid.isdecimal() or psutil.pid_exists(int(pid)):
            (self._data / "postmaster.pid").unlink(missing_ok=True)
        (self._home / "socket" / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _server(self) -> psutil.Process | None:
        """Find the server's main process, if it is alive."""
        pid, started = self._lock_file_line(0), self._lock_file_line(2)
        if not pid.isdecimal() or not started.isdecimal():
            return None
        with suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if self._is_ours(process):
                return process
            # Started under this directory's former name; if that still exists, ours is a copy.
            moved = not os.path.exists(self._lock_file_line(1))
            same_start = abs(process.create_time() - int(started)) < SAME_START_SECONDS
            if moved and same_start and process.name() == "postgres" and not _has_ended(process):
                return process
        return None

    def _is_ours(self, process: psutil.Process) -> bool:
        # By title, since a container hides from root what else would tell.
        with suppress(psutil.Error):
            return (
                process.name() == "postgres"
                and any(self._name in part for part in process.cmdline())
                and not _has_ended(process)
            )
        return False

    def _is_ready(self) -> bool:
        return self._claims_ready() and self.is_running()

    def _claims_ready(self) -> bool:
        return self._lock_file_line(7) == "ready"

    def _lock_file_line(self, index: int) -> str:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[index].strip() if index < len(lines) else ""

    def _log_since(self, offset: int) -> str:
        if not self._log.exists():
            return ""
        text = self._log.read_bytes()[offset:].decode(errors="replace")
        return "\n".join(text.splitlines()[-LOG_LINES_SHOWN:])


@contextmanager
def _flock(path: Path, operation: int) -> Generator[None]:
    try:
        # Root must not be led by a user's link to give that user another file.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError as error:
        raise Refused(f"{path.parent} belongs to another user: {error}") from error
    try:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        fcntl.flock(handle, operation)
        try:
            yield
        finally:
            # Closing alone would leave it with a child forked meanwhile.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _has_ended(process: psutil.Process) -> bool:
    try:
        # Where process 1 reaps nobody, the dead stay as zombies.
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
