"""A TCP proxy between an app server and the service that can lose data and break connections."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from tests.support.programs import free_port
from tests.support.service import MoorageProcess

# With this option a close sends a reset.
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Use as a context manager. It runs in threads, because the test's thread waits for the app server."""

    def __init__(self, service: MoorageProcess) -> None:
        self._key = service.key
        self.target = service
        """Where new connections go."""
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._swallowing = False
        self._listener: socket.socket
        # The system gives none of these to an outgoing connection while the proxy does not listen.
        self.port = free_port()
        self._listen(self.port)

    @property
    def connection_string(self) -> str:
        """The address of the service through the proxy."""
        return f"Endpoint=http://127.0.0.1:{self.port};AccessKey={self._key};Version=1.0;"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def swallow(self) -> None:
        """Lose all data from now on, in both directions, while the connections stay open."""
        self._swallowing = True

    def cut(self) -> None:
        """Break all connections, and accept none until `restore`."""
        # `shutdown` wakes the accepting thread; `close` alone does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _reset(each)

    def restore(self) -> None:
        """Accept connections again, at the same address."""
        self._swallowing = False
        self._listen(self.port)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                at = urlsplit(self.target.link_url or self.target.url)
                try:
                    far = socket.create_connection((at.hostname, at.port))
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._sockets |= {near, far}
                for ends in ((near, far), (far, near)):
                    for end in ends:
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._swallowing:
                    sink.sendall(data)
        for each in (source, sink):
            _reset(each)


def _reset(each: socket.socket) -> None:
    with suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Wake the thread that reads from it.
        each.shutdown(socket.SHUT_RDWR)
    each.close()
