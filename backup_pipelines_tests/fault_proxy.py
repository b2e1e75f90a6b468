"""A proxy in front of an S3 server that fails as networks and servers do, by a seeded schedule."""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backup_pipelines_tests.fix_s3 import S3Server

# What can happen to a request, and how often in proportion to each other.
KINDS = {
    "latency": 3,
    "reset before the body": 2,
    "reset within the body": 2,
    "reset after the body": 2,
    "500": 2,
    "503 SlowDown": 2,
    "200 with an error in it": 1,
    "403 RequestTimeTooSkewed": 1,
    "answer cut off": 3,
    "answer cut off, its length too": 2,
    "byte of the answer changed": 4,
    "byte of the request changed": 2,
    "answer lost": 4,
    "answer late": 1,
    "sent twice": 2,
    "sent again later": 2,
    "outage": 1,
}

_SECONDS = 60
_LATENCY = (0.01, 0.2)
_OUTAGE = (0.1, 1.5)
_AGAIN = (0.05, 0.6)

# Of a socket that is closed with this, the other side sees a reset.
_NO_LINGER = struct.pack("ii", 1, 0)

_ERRORS = {
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503 SlowDown": (503, "SlowDown", "Please reduce your request rate."),
    "200 with an error in it": (200, "InternalError", "We encountered an internal error."),
    "403 RequestTimeTooSkewed": (
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    ),
}


@dataclass
class _Answer:
    status: int
    headers: HTTPMessage | dict[str, str]
    body: bytes


@dataclass
class FaultProxy:
    """A way to a server; faults are on between `begin` and `end` only."""

    server: S3Server
    """As it is seen through the proxy."""
    late_seconds: float
    """How long a late answer takes: longer than the client waits."""
    counts: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0
    pick: Callable[[str, str], str] | None = None
    """What happens to a request by its method and path, in place of the schedule."""
    _chance: random.Random = field(default_factory=random.Random)
    _rate: float = 0.0
    _out_until: float = 0.0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _under_way: list[str] = field(default_factory=list[str])

    @contextmanager
    def faulty(self, seed: int, rate: float) -> Generator[None]:
        """Let this share of requests fail; afterwards nothing is under way any more."""
        with self._lock:
            self._chance, self._rate = random.Random(seed), rate
        try:
            yield
        finally:
            with self._lock:
                self._rate = self._out_until = 0.0
                done = self._lock.wait_for(lambda: not self._under_way, timeout=_SECONDS / 2)
                assert done, list(self._under_way)

    def draw(self, method: str, path: str) -> tuple[str, random.Random]:
        """What happens to the next request, and the chance that its details are drawn from."""
        with self._lock:
            self.requests += 1
            chance = random.Random(self._chance.getrandbits(64))
            if self.pick is not None:
                return self.pick(method, path), chance
            if time.monotonic() < self._out_until:
                return "outage", chance
            if self._chance.random() >= self._rate:
                return "", chance
            [kind] = self._chance.choices(list(KINDS), list(KINDS.values()))
            if kind == "outage":
                self._out_until = time.monotonic() + chance.uniform(*_OUTAGE)
            return kind, chance

    def count(self, kind: str) -> None:
        """Note that this has really happened."""
        with self._lock:
            self.counts[kind] += 1

    @contextmanager
    def under_way(self, what: str) -> Generator[None]:
        """What `faulty` waits for at its end."""
        with self._lock:
            self._under_way.append(what)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(what)
                self._lock.notify_all()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: "socket.socket | tuple[bytes, socket.socket]") -> None:
        # Without the orderly end that would come before a reset.
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        # Clients that give up are what this is about.
        del request, client_address


@contextmanager
def fault_proxy(server: S3Server, late_seconds: float) -> Generator[FaultProxy]:
    """Carry every request to the server, or fail to; signatures hold, as of this host name."""
    proxy = FaultProxy(server, late_seconds)

    class Carrier(_Carrier):
        way, target = proxy, server.endpoint.removeprefix("http://")

    with _Listener(("127.0.0.1", 0), Carrier) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{listener.server_address[1]}"
        proxy.server = replace(server, endpoint=address, _clients={})
        yield proxy
        listener.shutdown()


class _Carrier(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    way: FaultProxy
    target: str

    def _handle(self) -> None:
        kind, chance = self.way.draw(self.command, self.path)
        with self.way.under_way(f"{self.command} {self.path}: {kind}"):
            if kind.startswith("reset") or kind == "outage":
                self.way.count(kind)
                self._reset(kind, chance)
                return
            body = self.rfile.read(self._length())
            if len(body) < self._length():
                # The client has given up.
                self.close_connection = True
                return
            answer = self._answered(kind, chance, body)
            if answer is not None:
                self._send(kind, chance, answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _length(self) -> int:
        return int(self.headers.get("Content-Length", 0))

    def _reset(self, kind: str, chance: random.Random) -> None:
        if kind == "reset within the body":
            self.rfile.read(chance.randint(0, self._length()))
        elif kind == "reset after the body":
            self.rfile.read(self._length())
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.close_connection = True

    def _answered(self, kind: str, chance: random.Random, body: bytes) -> _Answer | None:
        """The server's answer, or one that is not; none where it gets lost."""
        if kind == "200 with an error in it" and self.command != "POST":
            kind = ""
        if kind in _ERRORS:
            self.way.count(kind)
            return _error(*_ERRORS[kind])
        if kind == "byte of the request changed" and body:
            self.way.count(kind)
            body = _changed(body, chance)
        if kind == "latency":
            self.way.count(kind)
            time.sleep(chance.uniform(*_LATENCY))
        answer = self._carry(body)
        if kind == "sent twice":
            self.way.count(kind)
            answer = self._carry(body)
        elif kind == "sent again later":
            self.way.count(kind)
            self._carry_later(body, chance.uniform(*_AGAIN))
        elif kind == "answer late":
            self.way.count(kind)
            time.sleep(self.way.late_seconds)
        elif kind == "answer lost":
            self.way.count(kind)
            self._reset(kind, chance)
            return None
        return answer

    def _send(self, kind: str, chance: random.Random, answer: _Answer) -> None:
        body = answer.body
        hurt = answer.status in (200, 206) and self.command != "HEAD" and body
        if hurt and kind == "byte of the answer changed":
            self.way.count(kind)
            body = _changed(body, chance)
        if hurt and kind == "answer cut off, its length too":
            self.way.count(kind)
            body = body[: chance.randrange(len(body))]
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        if self.command == "HEAD" and not body:
            length = answer.headers.get("Content-Length")
        else:
            length = None if answer.status == 204 else str(len(body))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        if hurt and kind == "answer cut off":
            self.way.count(kind)
            self.wfile.write(body[: chance.randrange(len(body))])
            self._reset(kind, chance)
            return
        if self.command != "HEAD":
            self.wfile.write(body)

    def _carry(self, body: bytes) -> _Answer:
        return _carried(self.target, self.command, self.path, self.headers, body)

    def _carry_later(self, body: bytes, seconds: float) -> None:
        held = ExitStack()
        # Before the thread has begun: `faulty` must not end between the two.
        held.enter_context(self.way.under_way(f"{self.command} {self.path} again"))

        # By then the connection may be about another request.
        asked = (self.target, self.command, self.path, self.headers, body)

        def again() -> None:
            with held, suppress(OSError, HTTPException):
                time.sleep(seconds)
                _carried(*asked)

        threading.Thread(target=again, daemon=True).start()


def _carried(target: str, method: str, path: str, headers: HTTPMessage, body: bytes) -> _Answer:
    there = HTTPConnection(target, timeout=_SECONDS)
    try:
        there.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            there.putheader(name, value)
        there.endheaders(body)
        answer = there.getresponse()
        return _Answer(answer.status, answer.headers, answer.read())
    finally:
        there.close()


def _changed(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body))
    return body[:at] + bytes([body[at] ^ (1 << chance.randrange(8))]) + body[at + 1 :]


def _error(status: int, code: str, message: str) -> _Answer:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return _Answer(status, {"Content-Type": "application/xml"}, body.encode())
