"""A proxy in front of an S3 server that remembers requests and loses answers."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from backup_pipelines_tests.fix_s3 import S3Server

_SECONDS = 60


@dataclass
class Proxy:
    """A way to a server that remembers what passed, and loses answers."""

    server: S3Server
    lost: list[str]
    """Methods whose next answer gets lost, each as often as it is here."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def proxied(server: S3Server, lost: Sequence[str] = ()) -> Generator[Proxy]:
    """Carry every request to the server; signatures hold, since they are of this host name."""
    proxy = Proxy(server, list(lost))

    class Carrier(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _carry(self) -> None:
            sent = {name.lower(): value for name, value in self.headers.items()}
            proxy.requests.append((self.command, self.path, sent))
            answer, data = _carried(server, self)
            if self.command in proxy.lost:
                proxy.lost.remove(self.command)
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
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
