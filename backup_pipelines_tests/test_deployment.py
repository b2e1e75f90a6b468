"""The files of docs/deployment: each is what its program takes, and their commands run.

There is no container engine here: what the images run is started as processes of this machine.
"""

import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
import yaml

from backup_pipelines import catalog
from backup_pipelines.demo.databases import Demo
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.environment import for_dagster
from backup_pipelines.storage.store import Store
from backup_pipelines_tests import processes
from backup_pipelines_tests.fix_postgres import Database, Server

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "docs" / "deployment"
UNITS = sorted((FOLDER / "systemd").glob("*.service"))
BIN = "/opt/backup_pipelines/bin/"

_PASSWORD = "the long password of ada"

_STARTS_SECONDS = 120
_STOPS_SECONDS = 60


def read(name: str) -> Any:
    """A YAML file of the folder."""
    return yaml.safe_load((FOLDER / name).read_text())


def unit(path: Path) -> Mapping[str, list[str]]:
    """The settings of a unit, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if re.match(r"\w+=", line):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def unit_command(service: str) -> list[str]:
    """What the unit of a service runs, without the folder of the program."""
    [command] = unit(FOLDER / f"systemd/backup-pipelines-{service}.service")["ExecStart"]
    return shlex.split(command.removeprefix(BIN))


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if line[:1] != "#"]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.partition(" ") for line in text.splitlines() if line]
    return [(word, rest) for word, _, rest in found]


def test_the_instance_has_all_that_the_project_s_own_has() -> None:
    """Production adds settings to dagster.yaml and changes none."""
    own = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    deployed = read("dagster.yaml")
    added = {"sensors", "schedules"}
    assert deployed.pop("concurrency") == {
        **own.pop("concurrency"),
        "runs": {"max_concurrent_runs": 5},
    }
    assert {name: value for name, value in deployed.items() if name not in added} == own


def test_compose_and_units_run_the_same_commands() -> None:
    """A service is one command, wherever it runs; only what it listens on differs."""

    def plain(command: Sequence[str]) -> list[str]:
        return [c.replace("0.0.0.0", "127.0.0.1") for c in command]

    services = read("compose.yaml")["services"]
    ours = {name: plain(s["command"]) for name, s in services.items() if name != "database"}
    assert ours == {
        path.stem.removeprefix("backup-pipelines-"): plain(
            unit_command(path.stem.removeprefix("backup-pipelines-"))
        )
        for path in UNITS
    }
    # The image alone is a code server, as the chart wants it.
    [command] = [rest for word, rest in instructions() if word == "CMD"]
    assert plain(json.loads(command)) == ours["code"]
    [deployment] = read("helm-values.yaml")["dagster-user-deployments"]["deployments"]
    chart = ["dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(deployment["port"])]
    assert chart + deployment["dagsterApiGrpcArgs"] == ours["code"]


def test_the_image_is_built_of_the_wheel_and_the_pinned_versions() -> None:
    """The steps are those of test_wheel.py, by a user without rights, from a base with a tag."""
    steps = instructions()
    bases = [rest.split()[0] for word, rest in steps if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-[\w-]+", base) for base in bases)
    run = [rest for word, rest in steps if word == "RUN"]
    assert "python -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist ." in run
    install = f"{BIN}python -m pip install --no-cache-dir --constraint constraints.txt /dist/*.whl"
    assert install in run
    [user] = [rest for word, rest in steps if word == "USER"]
    assert user.isdigit()
    assert any(f"--uid {user} " in step for step in run)
    assert run.index(install) < next(i for i, step in enumerate(run) if "useradd" in step)
    shown = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in shown if line.startswith("!")}
    assert all((PROJECT / name).exists() for name in sent)
    assert sent == {"backup_pipelines", "constraints.txt", "pyproject.toml", "README.md"}


def test_compose_gives_secrets_to_the_code_server_alone_and_publishes_on_loopback() -> None:
    """Whoever breaks into the web server finds no database of yours."""
    services = read("compose.yaml")["services"]
    with_secrets = [n for n, s in services.items() if "backup.env" in s["env_file"]]
    assert with_secrets == ["code"]
    ports = [port for s in services.values() for port in s.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000"]
    for name, service in services.items():
        if name != "database":
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (
                (FOLDER / source).is_file() if source[0] == "." else source in ("home", "database")
            )
        for other in service.get("depends_on", {}):
            assert other in services


def test_units_are_complete() -> None:
    """Each runs as a user of its own, and only the code server reads the secrets."""
    target = unit(FOLDER / "systemd/backup-pipelines.target")
    assert {f"{path.stem}.service" for path in UNITS} == {
        *target["Wants"][0].split(),
        "backup-pipelines-instance.service",
    }
    for path in UNITS:
        said = unit(path)
        assert (said["User"], said["ProtectSystem"]) == (["backup_pipelines"], ["strict"]), path
        has_secrets = "/etc/backup_pipelines/backup.env" in said["EnvironmentFile"]
        assert has_secrets == ("-code" in path.stem), path


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """systemd-analyze finds nothing wrong with them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze on this machine")
    for path in (FOLDER / "systemd").iterdir():
        # Programs and user exist where it is installed.
        text = re.sub(rf"{BIN}\S+", "/bin/true", path.read_text())
        text = text.replace("=backup_pipelines\n", "=root\n", 2)
        (tmp_path / path.name).write_text(text)
    units = [str(path) for path in tmp_path.iterdir()]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "backup-pipelines" in line]
    assert ours == []


_VERSION = {"docker compose": "version", "hadolint": "--version"}


@pytest.mark.parametrize("program", sorted(_VERSION))
def test_other_checkers_take_the_files(program: str, tmp_path: Path) -> None:
    """Compose and hadolint find nothing wrong, where they are installed."""
    words = program.split()
    known = shutil.which(words[0]) and subprocess.run(
        [*words, _VERSION[program]], capture_output=True
    )
    if not known or known.returncode:
        pytest.skip(f"no {program} on this machine")
    copy = shutil.copytree(FOLDER, tmp_path / "deployment")
    for name in ("dagster.env", "backup.env"):
        shutil.copy(copy / f"{name}.example", copy / name)
    file = "compose.yaml" if words[0] == "docker" else "Dockerfile"
    arguments = ["-f", str(copy / file), "config", "--quiet"] if words[0] == "docker" else [file]
    subprocess.run([*words, *arguments], cwd=copy, check=True)


def test_examples_of_environments_have_no_secret() -> None:
    """They name variables that exist, with values to be filled in."""
    readme = (PROJECT / "README.md").read_text()
    page = (PROJECT / "docs" / "deployment.md").read_text()
    for path in FOLDER.glob("*.env.example"):
        for line in path.read_text().splitlines():
            if line[:1] != "#":
                name, _, value = line.partition("=")
                assert f"`{name}`" in readme + page, name
                assert not re.search("PASSWORD|SECRET|KEY_ID|DATABASE_URL", name) or value in (
                    "",
                    "CHANGE_ME",
                )


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Deployed:
    """The services of the units, as processes of this machine."""

    home: Path
    store: Store
    mark: str
    ports: Mapping[str, str]
    variables: Mapping[str, str]
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def words(self, command: Sequence[str]) -> list[str]:
        """A command with this test's ports, and the program of this environment."""
        program, *rest = (self.ports.get(word, word) for word in command)
        return [str(Path(sys.executable).parent / program), *rest]

    def start(self, service: str) -> None:
        """Start a service by the command of its unit."""
        self.started[service] = processes.start(
            self.words(unit_command(service)),
            folder=self.home,
            log=self.home / f"{service}.log",
            mark=self.mark,
            environment=self.variables,
        )

    def succeeds(self, command: Sequence[str]) -> bool:
        """Whether a command of this environment exits with 0."""
        done = subprocess.run(
            self.words(command),
            cwd=self.home,
            env={**os.environ, **self.variables},
            capture_output=True,
        )
        return done.returncode == 0

    def is_healthy(self, service: str) -> bool:
        """Whether the health check of compose.yaml passes."""
        _, *check = read("compose.yaml")["services"][service]["healthcheck"]["test"]
        return self.succeeds([word.replace(":3000", f":{self.ports['3000']}") for word in check])

    def post(self, path: str, kind: str, body: str, **headers: str) -> tuple[int, str, str]:
        """What the web server says to a page of its own, as the proxy hands it on."""
        place = f"127.0.0.1:{self.ports['3000']}"
        connection = http.client.HTTPConnection(place, timeout=60)
        said = {"Origin": f"https://{place}", "Content-Type": kind, **headers}
        connection.request("POST", path, body, said)
        answer = connection.getresponse()
        cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer.status, answer.read().decode(), cookie

    def sign_in(self) -> str:
        """The cookie of somebody who has signed in."""
        form = urlencode({"name": "ada", "password": _PASSWORD})
        status, _, cookie = self.post("/sign-in", "application/x-www-form-urlencoded", form)
        assert status == 303
        return cookie

    def ask(self, query: str, cookie: str) -> str:
        """The answer of the web server's GraphQL."""
        body = json.dumps({"query": query})
        return self.post("/graphql", "application/json", body, Cookie=cookie)[1]

    def wait(self, what: Callable[[], bool], service: str) -> None:
        """Return when something is so; fails with the log of a service that does not get there."""
        deadline = time.monotonic() + _STARTS_SECONDS
        while not what():
            if time.monotonic() > deadline or self.started[service].poll() is not None:
                pytest.fail(f"{service}:\n{(self.home / f'{service}.log').read_text()[-5000:]}")
            time.sleep(0.5)

    def stop(self) -> list[psutil.Process]:
        """Stop the services as systemd does, the last first; returns what is left of them."""
        for process in reversed(list(self.started.values())):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOPS_SECONDS)
        _, left = psutil.wait_procs(processes.marked(self.mark), timeout=10)
        for survivor in left:
            with suppress(psutil.Error):
                survivor.kill()
        return left


@pytest.fixture
def deployed(
    demo: Demo,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    store: Store,
    tmp_path: Path,
) -> Iterator[Deployed]:
    """The production instance in a folder, on a database of its own."""
    home, ports = tmp_path / "home", {p: str(free_port()) for p in ("3000", "4000")}
    home.mkdir()
    shutil.copy(FOLDER / "dagster.yaml", home)
    workspace = (FOLDER / "workspace.yaml").read_text()
    (home / "workspace.yaml").write_text(workspace.replace("4000", ports["4000"]))
    variables = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_CODE_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_URL": for_dagster(make_database(server).owner_url),
        "BACKUP_STORE_URL": store.url,
        "BACKUP_ACCESS_KEY": secrets.token_hex(32),
        "PYTHONPATH": str(PROJECT),
    }
    for system in ("crm", "dcim"):
        demo.ensure_system(system)
        variables[f"{system.upper()}_DATABASE_URL"] = demo.reader_url(system)
    made = Deployed(home, store, secrets.token_hex(8), ports, variables)
    yield made
    made.stop()


def test_the_services_run_back_up_and_stop(deployed: Deployed) -> None:
    """Code server, web server and daemon start in their order; the first backup runs by itself."""
    assert deployed.succeeds(unit_command("instance"))
    deployed.start("code")
    deployed.wait(lambda: deployed.is_healthy("code"), "code")
    command = deployed.words(["backup-pipelines", "users", "add", "ada"])
    added = subprocess.run(
        command,
        cwd=deployed.home,
        env={**os.environ, **deployed.variables},
        input=_PASSWORD.encode(),
        capture_output=True,
    )
    assert added.returncode == 0, added.stderr
    deployed.start("webserver")
    deployed.wait(lambda: deployed.is_healthy("webserver"), "webserver")
    locations = (
        "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus"
        " locationOrLoadError { __typename } } } } }"
    )
    cookie = deployed.sign_in()
    said = json.loads(deployed.ask(locations, cookie))["data"]["workspaceOrError"]
    assert said["locationEntries"] == [
        {
            "name": "backup_pipelines",
            "loadStatus": "LOADED",
            "locationOrLoadError": {"__typename": "RepositoryLocation"},
        }
    ]
    # Not without having signed in.
    change = 'mutation { setConcurrencyLimit(concurrencyKey: "nobody", limit: 2) }'
    assert "nobody is signed in" in deployed.ask(change, "")
    assert _data(deployed.ask(change, cookie)) == {"setConcurrencyLimit": True}

    deployed.start("daemon")
    deployed.wait(lambda: bool(catalog.listing(deployed.store, "crm").backups), "daemon")
    [first] = catalog.listing(deployed.store, "crm").backups
    assert first.type == "scheduled"
    deployed.wait(lambda: deployed.is_healthy("daemon"), "daemon")
    assert deployed.stop() == []


def _data(answer: str) -> Any:
    return json.loads(answer).get("data")
