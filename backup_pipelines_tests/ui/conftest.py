"""`make dev` as a person has it: the UI, the daemon and the code server, and a real browser."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from backup_pipelines.demo.databases import Demo
from backup_pipelines_tests import processes
from backup_pipelines_tests.ui.screens import Screens

_PROJECT = Path(__file__).resolve().parent.parent.parent

_START_SECONDS = 400
_STOP_SECONDS = 60
_POLL_SECONDS = 0.2
_PAGE_SECONDS = 60

# The browser asks nobody but the page.
_CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_LOCATIONS = """
    { workspaceOrError { ... on Workspace { locationEntries { loadStatus
        locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""

_AUTOMATIONS = """
    { repositoryOrError(repositorySelector: {
        repositoryName: "__repository__", repositoryLocationName: "backup_pipelines"
    }) { ... on Repository {
        stopRunningSchedule: schedules { id state: scheduleState { ticks(limit: 1) { status } } }
        stopSensor: sensors { id state: sensorState { ticks(limit: 1) { status } } }
    } } }
"""
_STOP = 'mutation { %s(id: "%s") { __typename } }'
_STOPPED = ("ScheduleStateResult", "StopSensorMutationResult")

_UNFINISHED = """
    { runsOrError(filter: { statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING] }) {
        ... on Runs { count } } }
"""


@dataclass(frozen=True)
class Dev:
    """A running `make dev`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, query: str) -> Mapping[str, Any]:
        """The answer of the UI's own GraphQL server."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Whether the UI answers and has loaded the code location."""
        if self.process.poll() is not None:
            pytest.fail(f"make dev ended with {self.process.returncode}:\n{self.log.read_text()}")
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            said = json.dumps(self.ask(_LOCATIONS))
            if "PythonError" in said:
                pytest.fail(f"the code location does not load: {said}")
            return '"LOADED"' in said
        return False

    def stop_automations(self) -> None:
        """Turn all schedules and sensors off, lest their runs come between those of the tests."""
        for mutation, found in self.ask(_AUTOMATIONS)["repositoryOrError"].items():
            for automation in found:
                answer = self.ask(_STOP % (mutation, automation["id"]))
                assert answer[mutation]["__typename"] in _STOPPED, answer

    def is_quiet(self) -> bool:
        """Whether everything that schedules and sensors have begun is done."""
        if '"STARTED"' in json.dumps(self.ask(_AUTOMATIONS)):
            return False
        return self.ask(_UNFINISHED) == {"runsOrError": {"count": 0}}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the machine's browser; skips where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="session")
def mark() -> str:
    """What tells the processes of this session's UI tests from all others."""
    return secrets.token_hex(8)


@pytest.fixture(scope="module")
def dev_environment() -> Mapping[str, str]:
    """What else `make dev` finds in its environment; modules with a world of their own say it."""
    return {}


# `chromium` comes first: without a browser there is nothing to start.
@pytest.fixture(scope="module")
def dev(
    chromium: str, demo: Demo, home: Path, mark: str, dev_environment: Mapping[str, str]
) -> Iterator[Dev]:
    """`make dev` on a free port; when it is interrupted, nothing that it started survives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "dev.log"
    process = processes.start(
        [sys.executable, "-m", "backup_pipelines.dev"],
        folder=_PROJECT,
        log=log,
        mark=mark,
        environment={**dev_environment, "PORT": str(port)},
    )
    made = Dev(f"http://127.0.0.1:{port}", process, log)
    try:
        if not _wait_for(made.is_ready, _START_SECONDS):
            pytest.fail(f"make dev is not ready in {_START_SECONDS} s:\n{log.read_text()}")
        made.stop_automations()
        if not _wait_for(made.is_quiet, _START_SECONDS):
            pytest.fail(f"make dev still works after {_START_SECONDS} s:\n{log.read_text()}")
        yield made
    finally:
        # As Ctrl-C in a terminal: the whole foreground group gets it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        survivors = _end_marked(process, mark)
    assert not survivors, f"{_STOP_SECONDS} s after Ctrl-C: {survivors}\n{log.read_text()[-4000:]}"


@pytest.fixture(scope="module")
def browser(chromium: str, mark: str) -> Iterator[Browser]:
    """A headless browser with a profile of its own."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium,
            args=_CHROMIUM_OPTIONS,
            env={**os.environ, processes.MARK: mark},
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def open_screens(
    dev: Dev, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Screens]]:
    """Opens tabs; pictures go to docs/images where UPDATE_SCREENSHOTS=1 asks for new ones."""
    update = os.environ.get("UPDATE_SCREENSHOTS") == "1"
    folder = _PROJECT / "docs" / "images" if update else tmp_path_factory.mktemp("images")
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=_PAGE_SECONDS * 1000)
    contexts: list[BrowserContext] = []

    def opened() -> Screens:
        # Each has a profile of its own: the launchpad keeps what was typed into it.
        context = browser.new_context(
            viewport={"width": 1440, "height": 900}, timezone_id="UTC", locale="en-GB"
        )
        context.set_default_timeout(_PAGE_SECONDS * 1000)
        contexts.append(context)
        return Screens(context.new_page(), dev.url, folder)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def screens(open_screens: Callable[[], Screens]) -> Iterator[Screens]:
    """A tab of the test's own."""
    opened = open_screens()
    yield opened
    opened.page.close()


def _end_marked(process: subprocess.Popen[bytes], mark: str) -> list[str]:
    """Wait for all marked processes to end and kill the rest; returns what had to be killed."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    _wait_for(lambda: not processes.marked(mark), _STOP_SECONDS)
    survivors = processes.marked(mark)
    commands = []
    for survivor in survivors:
        with suppress(psutil.Error):
            commands.append(" ".join(survivor.cmdline()))
            survivor.kill()
    psutil.wait_procs(survivors, timeout=10)
    return commands


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
