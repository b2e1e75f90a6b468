"""`backup-pipelines serve` on a project whose systems ask for roles, and people who sign in."""

import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import psutil
import psycopg
import pytest
import yaml

from backup_pipelines.access import identity, users
from backup_pipelines.demo.databases import Demo
from backup_pipelines.environment import for_dagster
from backup_pipelines.storage.store import Store
from backup_pipelines_tests import processes

_PROJECT = Path(__file__).resolve().parent.parent

ADMIN, OPERATOR, VIEWER, STRANGER = "ada@example.com", "olga@example.com", "vera", "nora"
"""The admin of both systems; the operator of crm, who only looks at dcim; who looks; nobody."""

ALL = (ADMIN, OPERATOR, VIEWER, STRANGER)
KEY = "a key of these tests only, forty characters"
JWT_SECRET = "the application's own secret, of these tests"

_DEFINITIONS = """
from importlib import import_module

from backup_pipelines.definitions import systems, with_environment

defs = with_environment(systems(import_module("kept.defs")))
"""
_WORKSPACE = """
load_from:
  - python_module:
      module_name: kept.definitions
      location_name: backup_pipelines
      working_directory: {folder}
"""
_PYPROJECT = '[tool.dg.project]\nroot_module = "kept"\ncode_location_name = "backup_pipelines"\n'

_ACCESS: Mapping[str, Mapping[str, Any]] = {
    "crm": {"admins": [ADMIN], "operators": [OPERATOR], "viewers": [VIEWER]},
    "dcim": {
        "admins": [ADMIN],
        "viewers": [OPERATOR],
        "roles_from": {
            "table": "public.user_roles",
            "user_column": "user_id",
            "role_column": "role",
            "admins": ["super_admin"],
            "operators": ["engineer"],
        },
    },
}

_STARTS_SECONDS = 240
_STOPS_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: Sequence[str] = ()

    def json(self) -> Any:
        """The text as JSON."""
        return json.loads(self.text)


@dataclass
class Serving:
    """A running server and its project."""

    url: str
    home: Path
    store: Store
    process: subprocess.Popen[bytes]
    log: Path
    variables: Mapping[str, str]
    _cookies: dict[str, str] = field(default_factory=dict)

    @property
    def netloc(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | str = b"",
    ) -> Answer:
        """One request, as it is written here: nothing is added, followed or remembered."""
        connection = http.client.HTTPConnection(self.netloc, timeout=120)
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        data = body.encode() if isinstance(body, str) else body
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in pairs:
                connection.putheader(name, value)
            if data or method not in ("GET", "HEAD"):
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return Answer(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read().decode("utf-8", "replace"),
                answer.headers.get_all("set-cookie") or (),
            )
        finally:
            connection.close()

    def form(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form as a page of this server does; `headers` with _ for -."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        said = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.url, **given}
        return self.ask("POST", path, said, urlencode(fields))

    def sign_in(self, name: str, password: str | None = None) -> Answer:
        """Sign in by the form."""
        typed = password_of(name) if password is None else password
        return self.form("/sign-in", {"name": name, "password": typed, "next": "/"})

    def cookie(self, name: str) -> str:
        """The Cookie header of somebody, who signs in the first time."""
        if name not in self._cookies:
            answer = self.sign_in(name)
            assert answer.status == 303, answer
            [cookie] = answer.cookies
            self._cookies[name] = cookie.partition(";")[0]
        return self._cookies[name]

    def graphql(
        self,
        name: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        **headers: str,
    ) -> Answer:
        """Ask GraphQL as Dagster's own page does, as somebody."""
        said = {
            "Cookie": self.cookie(name),
            "Origin": self.url,
            "Content-Type": "application/json",
            **{each.replace("_", "-"): value for each, value in headers.items()},
        }
        body = json.dumps({"query": query, "variables": variables or {}})
        return self.ask("POST", "/graphql", said, body)

    def runs(self) -> list[Mapping[str, Any]]:
        """All runs there are, with who they say has started them."""
        query = "{ runsOrError { ... on Runs { results { id status jobName tags {key value} } } } }"
        return self.graphql(ADMIN, query).json()["data"]["runsOrError"]["results"]


def password_of(name: str) -> str:
    """The password of somebody in these tests."""
    return f"the long password of {name}"


def token_of(subject: str, **claims: object) -> str:
    """A token of the application for one of its users, good for five minutes."""
    said: dict[str, object] = {
        "sub": subject,
        "aud": "authenticated",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    return jwt.encode({**said, **claims}, JWT_SECRET, algorithm="HS256")


def cookie_of(
    name: str, *, key: str = KEY, lifetime: timedelta = timedelta(hours=1), **others: object
) -> str:
    """A session that was made elsewhere, as the Cookie header."""
    now = datetime.now(UTC)
    claims = {"aud": identity.SESSION, "iat": now, "exp": now + lifetime, "name": name}
    said = {**claims, "via": "password", "subject": "", **others}
    return "backup_pipelines_session=" + jwt.encode(said, key, algorithm="HS256")


@pytest.fixture(scope="session")
def serving(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The server for the whole session, without a daemon: what is launched stays in the queue."""
    home = tmp_path_factory.mktemp("serving")
    made_project(home)
    database = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(demo.server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database} TEMPLATE template0".encode())
    store = Store((home / "store").as_uri())
    variables = {
        "DAGSTER_HOME": str(home),
        "BACKUP_PROJECT": str(home),
        "DAGSTER_POSTGRES_URL": for_dagster(demo.server.url(database)),
        "BACKUP_STORE_URL": store.url,
        "BACKUP_USERS_FILE": str(home / "users.yaml"),
        identity.BACKUP_ACCESS_KEY: KEY,
        "BACKUP_JWT_SECRET": JWT_SECRET,
        "BACKUP_JWT_AUDIENCE": "authenticated",
        "BACKUP_SIGN_IN_ORIGINS": "https://app.example.com",
        "PYTHONPATH": os.pathsep.join((str(_PROJECT), str(home))),
    }
    for system in ("crm", "dcim"):
        demo.ensure_system(system)
        variables[f"{system.upper()}_DATABASE_URL"] = demo.reader_url(system)
    add_users(home / "users.yaml")
    mark = secrets.token_hex(8)
    made = start(home, store, variables, mark, "--no-daemon")
    yield made
    left = stop(made, mark)
    with psycopg.connect(demo.server.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
    assert left == [], made.log.read_text()[-3000:]


def made_project(home: Path) -> None:
    """A project with the demo's systems, whose YAML says who may do what."""
    (home / "dagster.yaml").write_text((_PROJECT / "dagster.yaml").read_text())
    (home / "workspace.yaml").write_text(_WORKSPACE.format(folder=json.dumps(str(home))))
    (home / "pyproject.toml").write_text(_PYPROJECT)
    kept = home / "kept"
    for system, access in _ACCESS.items():
        folder = kept / "defs" / system
        folder.mkdir(parents=True)
        own = yaml.safe_load(
            (_PROJECT / "backup_pipelines" / "defs" / system / "defs.yaml").read_text()
        )
        own["attributes"] |= {"access": "enforced", **access}
        (folder / "defs.yaml").write_text(yaml.safe_dump(own))
    for package in (kept, kept / "defs"):
        (package / "__init__.py").write_text("")
    (kept / "definitions.py").write_text(_DEFINITIONS)


def add_users(file: Path) -> None:
    """The people of these tests, by the function that the command line has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(users.BACKUP_USERS_FILE, str(file))
        for name in ALL:
            users.add(name, password_of(name))


def start(
    home: Path, store: Store, variables: Mapping[str, str], mark: str, *options: str
) -> Serving:
    """Start `serve` on a free port, and wait until it answers."""
    log = home / "serve.log"
    process = processes.start(
        [sys.executable, "-m", "backup_pipelines.cli", "serve", "--port", "0", *options],
        folder=home,
        log=log,
        mark=mark,
        environment=variables,
    )
    deadline = time.monotonic() + _STARTS_SECONDS
    while not (found := re.search(r"The UI is at (\S+);", log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"serve does not start:\n{log.read_text()[-5000:]}")
        time.sleep(0.1)
    return Serving(found[1], home, store, process, log, variables)


def stop(made: Serving, mark: str) -> list[str]:
    """End it as Ctrl-C does; returns what had to be killed."""
    with suppress(ProcessLookupError):
        os.killpg(made.process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        made.process.wait(_STOPS_SECONDS)
    deadline = time.monotonic() + _STOPS_SECONDS
    while processes.marked(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    left: list[str] = []
    for survivor in processes.marked(mark):
        with suppress(psutil.Error):
            left.append(" ".join(survivor.cmdline()))
            survivor.kill()
    return left
