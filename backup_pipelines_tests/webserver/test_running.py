"""The server as a process: with its daemon, with TLS, and how both end."""

import os
import secrets
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.environment import for_dagster
from backup_pipelines.storage.store import Store
from backup_pipelines_tests import fix_serve, processes
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_serve import KEY, Serving

Start = Callable[..., Serving]


@pytest.fixture
def start_serving(
    server: EmbeddedServer, make_database: Callable[[Server], Database], tmp_path: Path
) -> Iterator[Start]:
    """Starts a server of the test's own; afterwards nothing of it survives."""
    home, mark = tmp_path / "home", secrets.token_hex(8)
    started: list[Serving] = []

    def start(*options: str) -> Serving:
        home.mkdir()
        fix_serve.made_project(home)
        fix_serve.add_users(home / "users.yaml")
        store = Store((home / "store").as_uri())
        variables = {
            "DAGSTER_HOME": str(home),
            "BACKUP_PROJECT": str(home),
            "DAGSTER_POSTGRES_URL": for_dagster(make_database(server).owner_url),
            "BACKUP_STORE_URL": store.url,
            "BACKUP_ACCESS_KEY": KEY,
            "PYTHONPATH": os.environ["PYTHONPATH"] + os.pathsep + str(home),
        }
        started.append(fix_serve.start(home, store, variables, mark, *options))
        return started[-1]

    yield start
    for one in started:
        assert fix_serve.stop(one, mark) == []


def daemons(serving: Serving) -> list[psutil.Process]:
    """The daemon that the server has started."""
    children = psutil.Process(serving.process.pid).children()
    return [one for one in children if "dagster._daemon" in one.cmdline()]


def test_the_daemon_starts_and_ends_with_the_server(start_serving: Start) -> None:
    """Told to end, the server ends both, and says so by its exit code 0."""
    serving = start_serving()
    text = serving.log.read_text()
    assert "May sign in: ada@example.com, nora, olga@example.com, vera, by password." in text
    assert "Roles are asked for in: crm, dcim." in text
    [daemon] = daemons(serving)
    os.kill(serving.process.pid, signal.SIGTERM)
    assert serving.process.wait(90) == 0, serving.log.read_text()[-3000:]
    assert not daemon.is_running()


def test_the_server_does_not_go_on_without_its_daemon(start_serving: Start) -> None:
    """Nothing would be queued or scheduled; whoever watches it starts both again."""
    serving = start_serving()
    [daemon] = daemons(serving)
    daemon.kill()
    assert serving.process.wait(60) == 1
    assert "Dagster's daemon has ended by itself" in serving.log.read_text()


def test_with_a_certificate_it_speaks_tls_and_the_cookie_goes_by_it_alone(
    start_serving: Start, tmp_path: Path
) -> None:
    """The cookie is one that browsers give to nobody else."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    serving = start_serving("--no-daemon", *options)
    assert serving.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate))
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect())
    form = f"name=vera&password={fix_serve.password_of('vera').replace(' ', '+')}".encode()
    request = urllib.request.Request(serving.url + "/sign-in", form, {"Origin": serving.url})
    with pytest.raises(urllib.error.HTTPError) as answer:
        opener.open(request, timeout=60)
    assert answer.value.code == 303
    cookie = answer.value.headers["set-cookie"]
    assert cookie.startswith("__Host-backup_pipelines=")
    assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirections to the test."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def test_another_run_coordinator_is_refused(
    server: EmbeddedServer, make_database: Callable[[Server], Database], tmp_path: Path
) -> None:
    """Launches would be queued that nobody has judged."""
    home = tmp_path / "home"
    home.mkdir()
    fix_serve.made_project(home)
    fix_serve.add_users(home / "users.yaml")
    plain = (home / "dagster.yaml").read_text()
    plain = plain.replace("backup_pipelines.dagster_layer.access_coordinator", "dagster")
    plain = plain.replace("dagster\n  class: AccessRun", "dagster.core.run_coordinator\n  class: ")
    plain = plain.replace("class: Coordinator", "class: QueuedRunCoordinator")
    (home / "dagster.yaml").write_text(plain)
    log = home / "serve.log"
    process = processes.start(
        ["backup-pipelines", "serve", "--port", "0", "--no-daemon"],
        folder=home,
        log=log,
        mark=secrets.token_hex(8),
        environment={
            "DAGSTER_HOME": str(home),
            "BACKUP_PROJECT": str(home),
            "DAGSTER_POSTGRES_URL": for_dagster(make_database(server).owner_url),
            "BACKUP_ACCESS_KEY": KEY,
            "PATH": f"{Path(os.sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert process.poll() == 2, log.read_text()[-3000:]
    assert "has another run coordinator: write run_coordinator" in log.read_text()
