"""`python -m bench.tester.responder DIRECTORY`: a Socket.IO server that only acknowledges events, for
measuring the load tester itself. DIRECTORY takes the compiled loop (`c/answers.c`), which answers; connects
are handled here, one at a time. There are no heartbeats."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import re
import select
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from bench.compiler import compiled
from bench.errors import BenchError
from bench.frames import server_frame
from bench.servers import HOST

_SOURCE: Final = Path(__file__).parent.parent / "c" / "answers.c"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Of RFC 6455, for the answer to a handshake."""
_OPENED: Final = server_frame(
    b'0{"sid":"a","upgrades":[],"pingInterval":3600000,"pingTimeout":3600000,"maxPayload":1000000}'
)
_JOINED: Final = server_frame(b'40{"sid":"b"}')
_SECONDS: Final = 10.0


def main() -> None:
    """Listen, report the port, and serve until killed."""
    library = ctypes.CDLL(str(compiled(_SOURCE, Path(sys.argv[1]) / "answers.so", "-shared", "-fPIC")))
    ready = select.epoll()
    threading.Thread(target=library.answer_all, args=(ready.fileno(),), daemon=True).start()
    listener = socket.create_server((HOST, 0), backlog=1024)
    print(f'{{"ready":true,"port":{listener.getsockname()[1]}}}', flush=True)
    while True:
        client, _ = listener.accept()
        try:
            _join(client)
        except (OSError, BenchError) as error:
            # Such as the load tester's question whether anybody listens.
            print(f"no client: {error}", file=sys.stderr, flush=True)
            client.close()
            continue
        client.setblocking(False)
        # The loop in C closes the descriptor.
        ready.register(client.detach(), select.EPOLLIN)


def _join(client: socket.socket) -> None:
    """Upgrade to WebSocket and join "/". Raises `OSError` or `BenchError`."""
    client.settimeout(_SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", _until(client, b"\r\n\r\n"))
    if key is None:
        raise BenchError("no WebSocket")
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())  # noqa: S324 - the protocol's choice
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    client.sendall(upgrade + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + _OPENED)
    # CONNECT is the only packet that comes before the answer to it.
    if not client.recv(4096):
        raise BenchError("no CONNECT")
    client.sendall(_JOINED)


def _until(client: socket.socket, end: bytes) -> bytes:
    read = b""
    while not read.endswith(end):
        if not (more := client.recv(4096)):
            raise BenchError("the connection ended")
        read += more
    return read


if __name__ == "__main__":
    main()
