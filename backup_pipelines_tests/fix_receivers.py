"""Real receivers of messages on loopback: HTTP servers and a mail server, each on a free port."""

import email
import email.policy
import json
import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# `drip` sends a byte now and then, which no timeout of a single read ever notices.
Behaviour = Literal["answer", "hang", "drip", "close"]

_DRIP_SECONDS = 0.1


@dataclass(frozen=True)
class Received:
    """One HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class HttpReceiver:
    """An HTTP server that keeps what it was sent, and behaves as it is told."""

    port: int
    received: list[Received] = field(default_factory=list)
    behaviour: Behaviour = "answer"
    status: int = 200
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, scheme: str = "http", path: str = "") -> str:
        """A URL of this server."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    receiver: HttpReceiver

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def _take(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode()
        self.receiver.received.append(
            Received(self.command, self.path, dict(self.headers.items()), body)
        )
        behaviour = self.receiver.behaviour
        if behaviour == "hang":
            self.receiver.released.wait()
        elif behaviour == "drip":
            self._drip()
        if behaviour == "answer":
            self.send_response(self.receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.close_connection = True

    def _drip(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.receiver.released.wait(_DRIP_SECONDS):
                self.wfile.write(b"x")
        except OSError:
            # The other side gave up, as it should.
            return

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def http_receivers() -> Generator["HttpReceivers"]:
    """Starts HTTP receivers, and stops them at the end of the test."""
    made = HttpReceivers()
    yield made
    made.stop()


@pytest.fixture
def http_receiver(http_receivers: "HttpReceivers") -> HttpReceiver:
    """One HTTP receiver that answers 200."""
    return http_receivers.start()


class HttpReceivers:
    """The HTTP receivers of a test."""

    def __init__(self) -> None:
        self._running: list[tuple[ThreadingHTTPServer, HttpReceiver]] = []

    def start(self, behaviour: Behaviour = "answer", status: int = 200) -> HttpReceiver:
        """A server of its own."""
        handler = type("Handler", (_Handler,), {})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        receiver = HttpReceiver(server.server_port, behaviour=behaviour, status=status)
        handler.receiver = receiver
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._running.append((server, receiver))
        return receiver

    def stop(self) -> None:
        """Let go what hangs, and close every port."""
        for server, receiver in self._running:
            receiver.released.set()
            server.shutdown()
            server.server_close()


@dataclass
class SmtpReceiver:
    """A mail server that keeps what it was sent; it wants a user and a password."""

    port: int
    user: str = "mailer"
    password: str = "correct-horse-5"
    received: list[EmailMessage] = field(default_factory=list)

    def url(self, password: str = "") -> str:
        """The Apprise URL by which mail goes here."""
        query = {
            "smtp": "127.0.0.1",
            "mode": "insecure",
            "from": "backups@example.com",
            "to": "oncall@example.com",
        }
        secret = password or self.password
        return f"mailto://{self.user}:{secret}@127.0.0.1:{self.port}?{urlencode(query)}"

    def text(self, number: int = -1) -> str:
        """The text of a mail, whatever its parts."""
        body = self.received[number].get_body(("plain", "html"))
        assert body is not None
        return body.get_content()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail (aiosmtpd calls this)."""
        del server, session
        content = envelope.content
        assert isinstance(content, bytes)
        self.received.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 kept"

    def authenticate(self, *arguments: object) -> AuthResult:
        """Whether a log-in is right (aiosmtpd calls this)."""
        given = arguments[-1]
        right = LoginPassword(self.user.encode(), self.password.encode())
        return AuthResult(success=given == right, handled=False)


@pytest.fixture
def smtp_receiver() -> Generator[SmtpReceiver]:
    """One mail server."""
    receiver = SmtpReceiver(free_port())
    controller = Controller(
        receiver,
        hostname="127.0.0.1",
        port=receiver.port,
        authenticator=receiver.authenticate,
        auth_required=True,
        auth_require_tls=False,
    )
    controller.start()
    yield receiver
    controller.stop()


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
