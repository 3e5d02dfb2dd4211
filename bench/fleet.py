"""Many Socket.IO clients in one thread, with non-blocking sockets and epoll.

An event loop with a protocol object per client would cost more per delivery than the servers it
measures; here a delivery is one `recv_into` and one `bytearray.count` (about 2 microseconds).
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Iterable

from bench.errors import BenchError
from bench.frames import client_frame, split_frames, upgrade_request
from bench.servers import HOST, Address

CONNECTING, UPGRADING, OPENING, JOINING, READY = range(5)

_JOIN = client_frame(b"40")
_PONG = client_frame(b"3")
_BUFFER = 256 * 1024
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Client:
    """One connection. `hello` is its handshake, `sid` the server's id for it, `pending` a part of a frame.
    `got` and `sent_at` belong to the load."""

    __slots__ = ("got", "hello", "pending", "sent_at", "sid", "socket", "state")

    def __init__(self, connection: socket.socket, hello: bytes) -> None:
        self.socket = connection
        self.hello = hello
        self.sid = ""
        self.state = CONNECTING
        self.pending = b""
        self.got = 0
        self.sent_at = 0


class Fleet:
    """Clients of one server. A context manager: leaving it closes them all.

    `narrow` clients announce a small window and small segments, so that a server's kernel buffers
    little for one that does not read: on loopback that would be megabytes, unlike on a network.
    `headers` are added to every handshake. `source` is the address that the clients have: a loopback address
    has some 28,000 ports for one server.
    """

    def __init__(
        self, address: Address, *, narrow: bool = False, headers: tuple[str, ...] = (), source: str = ""
    ) -> None:
        self.clients: list[Client] = []
        self.buffer = bytearray(_BUFFER)
        self._narrow = narrow
        self._source = source
        self._headers = headers
        self._hello = b""
        self.aim(address)
        self._view = memoryview(self.buffer)
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._epoll.close()

    def aim(self, address: Address) -> None:
        """Connect the following clients to another address."""
        self._address = address
        headers = (*address.headers, *self._headers)
        self._hello = upgrade_request(HOST, address.port, address.path, headers)

    def open(self, count: int, *, parallel: int = 50, seconds: float = 60.0) -> float:
        """Connect `count` more clients to the first namespace, at most `parallel` at a time.

        Returns the seconds it took. Raises `BenchError` when one is refused or time is up.
        """
        began = time.perf_counter()
        target = len(self.clients) + count
        opening: set[Client] = set()
        while len(self.clients) < target or opening:
            while len(opening) < parallel and len(self.clients) < target:
                opening.add(self.dial())
            if time.perf_counter() - began > seconds:
                raise BenchError(f"{target - len(opening)} of {target} clients connected in {seconds:.0f} s")
            for client in self.ready():
                self.advance(client)
                if client.state == READY:
                    opening.discard(client)
        return time.perf_counter() - began

    def ready(self, timeout: float = 1.0) -> Iterable[Client]:
        """The clients that are ready, within `timeout` seconds."""
        by_fd = self._by_fd
        return [by_fd[fd] for fd, _ in self._epoll.poll(timeout)]

    def receive(self, client: Client) -> int:
        """Read into `buffer`; returns the number of bytes. A closed connection raises `BenchError`."""
        try:
            count = client.socket.recv_into(self._view)
        except OSError as error:
            raise BenchError(f"a client lost its connection: {error}") from error
        if count == 0:
            raise BenchError("the server closed a client's connection")
        return count

    def packets(self, client: Client, count: int) -> list[bytes]:
        """The Engine.IO packets that `count` new bytes in `buffer` complete. Pings are answered."""
        payloads, client.pending = split_frames(client.pending + bytes(self._view[:count]))
        if b"2" in payloads:
            client.socket.send(_PONG)
            payloads = [payload for payload in payloads if payload != b"2"]
        return payloads

    def close(self) -> None:
        """Reset all connections; 10,000 ports in TIME_WAIT would affect the next round."""
        for client in self.clients:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.socket.close()
        self.clients.clear()
        self._by_fd.clear()

    def dial(self) -> Client:
        """Begin to connect one more client."""
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._narrow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        if self._source:
            # The port is chosen at the connect, when the server's address is known.
            connection.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            connection.bind((self._source, 0))
        connection.connect_ex((HOST, self._address.port))
        client = Client(connection, self._hello)
        self.clients.append(client)
        self._by_fd[connection.fileno()] = client
        self._epoll.register(connection, select.EPOLLOUT)
        return client

    def forget(self, client: Client) -> None:
        """Close a connection that has broken."""
        del self._by_fd[client.socket.fileno()]
        client.socket.close()
        self.clients.remove(client)

    def advance(self, client: Client) -> None:
        """One step of a connect to the first namespace. Like a stock client it waits for each answer."""
        if client.state == CONNECTING:
            self._connected(client)
            return
        count = self.receive(client)
        if client.state == UPGRADING:
            count = self._upgraded(client, count)
        if client.state > UPGRADING:
            for packet in self.packets(client, count):
                _greet(client, packet)

    def _connected(self, client: Client) -> None:
        if error := client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise BenchError(f"connection refused (errno {error})")
        self._epoll.modify(client.socket, select.EPOLLIN)
        if self._address.path:
            client.socket.send(client.hello)
            client.state = UPGRADING
        else:
            client.state = READY

    def _upgraded(self, client: Client, count: int) -> int:
        """Check the 101 response and leave the bytes after it in `buffer`. Returns their number."""
        answer = client.pending + bytes(self._view[:count])
        head, separator, rest = answer.partition(b"\r\n\r\n")
        if not separator:
            client.pending = answer
            return 0
        if not head.startswith(b"HTTP/1.1 101"):
            raise BenchError(f"the handshake was refused: {answer[:200]!r}")
        client.pending, client.state = b"", OPENING
        self.buffer[: len(rest)] = rest
        return len(rest)


def _greet(client: Client, packet: bytes) -> None:
    if client.state == OPENING and packet.startswith(b"0{"):
        client.sid = str(json.loads(packet[1:])["sid"])
        client.socket.send(_JOIN)
        client.state = JOINING
    elif client.state == JOINING and packet.startswith(b"40{"):
        client.state = READY
    else:
        raise BenchError(f"unexpected packet while connecting: {packet[:80]!r}")
