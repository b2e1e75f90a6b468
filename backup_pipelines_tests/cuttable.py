"""A network that can be cut: a Unix socket before a server's, which drops its connections."""

import contextlib
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_SOCKET = ".s.PGSQL.5432"


class Cuttable:
    """Forwards connections until it is cut; then both ends see theirs closed."""

    def __init__(self, url: str, folder: Path) -> None:
        """Listen in `folder`, whose path must be short, in front of the server of `url`."""
        given = conninfo_to_dict(url)
        self._server = f"{given['host']}/{_SOCKET}"
        self.url = (
            f"postgresql://{given['user']}@/{given['dbname']}"
            f"?host={quote(str(folder), safe='')}&port=5432"
        )
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_cut = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop every connection and take no more."""
        with self._lock:
            self._is_cut = True
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut, and stop listening."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                with self._lock:
                    if self._is_cut:
                        client.close()
                        continue
                    server.connect(self._server)
                    self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cuttable(url: str, folder: Path) -> Generator[Cuttable]:
    """A network in front of a server for the time of the block."""
    network = Cuttable(url, folder)
    try:
        yield network
    finally:
        network.close()
