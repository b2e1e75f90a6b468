"""Runs the server and, beside it, Dagster's daemon, until somebody ends them."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from backup_pipelines import environment
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.webserver.people import People
from backup_pipelines.webserver.server import WORKSPACE, ready

FORWARDED_ALLOW_IPS = "FORWARDED_ALLOW_IPS"
"""Addresses of proxies, as uvicorn calls it."""

_LOOPBACK = "127.0.0.1"

_DAEMON_STOPS_SECONDS = 60
_CONNECTIONS_END_SECONDS = 5
_REFUSALS_SECONDS = 10

_log = logging.getLogger("backup_pipelines.webserver")


@dataclass(frozen=True)
class Listening:
    """Where the server listens, and how browsers get there."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    is_behind_tls: bool = False

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by TLS, to us or to a proxy in front."""
        return self.certificate is not None or self.is_behind_tls

    def address(self, port: int) -> str:
        """The address of the first page."""
        scheme = "https" if self.certificate is not None else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{port}"


def run(
    people: People, listening: Listening, *, with_daemon: bool, started: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; `started` gets the address.

    Raises Refused where the port is taken, and Failed when the daemon ends by itself.
    """
    _log_to_stderr()
    with _bound(listening) as bound, ready(people, secure=listening.is_secure) as made:
        server = uvicorn.Server(_settings(made.app, listening))
        with _daemon(with_daemon, server) as daemon:
            started(listening.address(bound.getsockname()[1]))
            # By an interrupt uvicorn hands on the signal that ended it.
            with suppress(KeyboardInterrupt):
                server.run(sockets=[bound])
            made.webserver.refusals.wait(_REFUSALS_SECONDS)
            code = daemon.poll() if daemon is not None else None
        if code is not None:
            raise Failed(f"Dagster's daemon has ended by itself (exit code {code}); see above")


def _settings(app: ASGIApp, listening: Listening) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="warning",
        proxy_headers=listening.is_behind_tls,
        # Whom to believe about X-Forwarded-For.
        forwarded_allow_ips=os.environ.get(FORWARDED_ALLOW_IPS) or _LOOPBACK,
        server_header=False,
        ssl_certfile=listening.certificate,
        ssl_keyfile=listening.key,
        timeout_graceful_shutdown=_CONNECTIONS_END_SECONDS,
    )


@contextmanager
def _bound(listening: Listening) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        made = socket.create_server((listening.host, listening.port), family=family, backlog=128)
    except OSError as error:
        raise Refused(
            f"nothing can listen on {listening.host}:{listening.port} ({error.strerror}): "
            "give another --port"
        ) from error
    with made:
        yield made


@contextmanager
def _daemon(wanted: bool, server: uvicorn.Server) -> Generator[subprocess.Popen[bytes] | None]:
    """The daemon for the time of the block; if it ends before that, so does the server."""
    if not wanted:
        yield None
        return
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", WORKSPACE]
    # Ctrl-C in a terminal goes to all of its group: the daemon is ended by us, once.
    with subprocess.Popen(command, cwd=environment.home(), start_new_session=True) as process:

        def watch() -> None:
            process.wait()
            server.should_exit = True

        threading.Thread(target=watch, name="daemon", daemon=True).start()
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_DAEMON_STOPS_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()


def _log_to_stderr() -> None:
    if _log.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
