"""A proxy in front of an S3 server that remembers requests and loses answers."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from backup_pipelines_tests.fix_s3 import S3Server

_SECONDS = 60
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Not allowed.</Message></Error>"


@dataclass
class Proxy:
    """A way to a server that remembers what passed, and loses answers."""

    server: S3Server
    lost: list[str]
    """Methods whose next answer gets lost, each as often as it is here."""
    refused: list[str]
    """Method and a part of the address of what is not allowed, such as `PUT ?retention`."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list[float])
    """When each of the requests came, by the monotonic clock."""


@contextmanager
def proxied(
    server: S3Server, lost: Sequence[str] = (), refused: Sequence[str] = ()
) -> Generator[Proxy]:
    """Carry every request to the server; signatures hold, since they are of this host name.

    What is `refused`, a method and a part of the address, is answered as by a policy.
    """
    proxy = Proxy(server, list(lost), list(refused))

    class Carrier(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _carry(self) -> None:
            sent = {name.lower(): value for name, value in self.headers.items()}
            proxy.moments.append(time.monotonic())
            proxy.requests.append((self.command, self.path, sent))
            if any(_is(one, self) for one in proxy.refused):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response_only(403)
                self.send_header("Content-Length", str(len(_DENIED)))
                self.end_headers()
                self.wfile.write(_DENIED)
                return
            answer, data = _carried(server, self)
            if self.command in proxy.lost:
                proxy.lost.remove(self.command)
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None:
                # It came in chunks, as listings of rclone do.
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _carry

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Carrier) as listener:
        Thread(target=listener.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{listener.server_address[1]}"
        proxy.server = replace(server, endpoint=address, _clients={})
        yield proxy
        listener.shutdown()


def _is(one: str, asked: BaseHTTPRequestHandler) -> bool:
    method, _, part = one.partition(" ")
    return asked.command == method and part in asked.path


def _carried(server: S3Server, asked: BaseHTTPRequestHandler) -> tuple[HTTPResponse, bytes]:
    body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
    there = HTTPConnection(server.endpoint.removeprefix("http://"), timeout=_SECONDS)
    try:
        there.putrequest(asked.command, asked.path, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.headers.items():
            there.putheader(name, value)
        there.endheaders(body)
        answer = there.getresponse()
        return answer, answer.read()
    finally:
        there.close()
