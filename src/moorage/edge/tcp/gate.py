"""Accepts the TCP connections of a port that has TLS, takes PROXY headers, or limits connections. What comes
first on a connection is the PROXY header, then the TLS handshake, then HTTP. Other ports have no gate: the
event loop accepts their connections itself, which costs less."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from moorage.edge.http.forwarded import TrustedProxies
from moorage.edge.http.refusals import plain_response
from moorage.edge.limits.networks import counted_address
from moorage.edge.tcp.counted import AddressLimit, CountedSocket
from moorage.edge.tcp.crowd import Crowd, Queue
from moorage.edge.tcp.files import LACKS, Files
from moorage.edge.tcp.header import SIGNATURE, ProxyHeader, Source
from moorage.edge.tcp.narrow import secured
from moorage.edge.tcp.tls import Tls
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_PROXY_HEADER, HEADER_TIMEOUT, PROXY_REFUSED, TLS_HANDSHAKE

MAX_TURN: Final = 16
"""Maximum number of handshakes that begin in one turn of the event loop. A handshake takes about half a
millisecond, so a flood of them does not delay others for long."""
MAX_ACCEPTS: Final = 64
"""Maximum number of connections that are admitted in one turn, about 5 ms of work. It is more than
`MAX_TURN`, because the operating system's queue has no fairness: a new client must not wait there."""
MAX_CLOSED: Final = 512
"""Maximum number of connections of a flood that are closed in one turn, right after they are accepted, which
takes about 5 ms. A flood that is faster than the service accepts would keep new clients out of that queue."""
MAX_PENDING: Final = 4096
"""Maximum number of connections whose handshake has not begun."""
MAX_HANDSHAKES: Final = 4096
"""Maximum number of handshakes under way. Each takes 60 to 150 KB, until the client has answered. The service
does 2,000 a second, so clients that need two seconds for an answer are still admitted at its full speed. With
1,024, most of 4,000 clients of one busy process were refused that had begun together."""
WAIT_SECONDS: Final = 1.0
"""Time without accepting when the process has no file descriptors left."""
CROWDED: Final = "too many handshakes wait or are not finished"
LEFT: Final = 64 * 1024
"""Maximum bytes of a refused client that are read before the connection is closed."""
SHUTDOWN_SECONDS: Final = 5.0
"""Time for the client's answer to the end of TLS."""


class Refused(Protocol):
    """Called for each connection that is refused before any request."""

    def __call__(self, error: PeerError) -> None: ...


class Gate:
    """The listening sockets of one port. `make` makes the protocol of a connection; it gets the client that a
    PROXY header names. Without `tls` the connections are plain; without `proxies` no PROXY header is read."""

    def __init__(
        self,
        sockets: list[socket.socket],
        make: Callable[[Source | None], asyncio.Protocol],
        *,
        tls: Tls | None,
        proxies: TrustedProxies | None,
        refused: Refused,
        files: Files,
        timeout: float,
        limit: AddressLimit | None = None,
    ) -> None:
        self.sockets = sockets
        self._make = make
        self._tls = tls
        self._proxies = proxies
        self._refused = refused
        self._files = files
        self._timeout = timeout
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 0
        """Number of handshakes that have begun in this turn of the event loop."""
        self._waiting: Queue[asyncio.Future[None]] = Queue()
        """Handshakes that begin in later turns."""
        self._pending: Crowd[asyncio.Task[None]] = Crowd(MAX_PENDING)
        self._handshakes: Crowd[asyncio.Task[None]] = Crowd(MAX_HANDSHAKES)
        for sock in sockets:
            self._loop.add_reader(sock, self._readable, sock)

    def close(self) -> None:
        """Accept no more. Connections that are accepted already go on."""
        sockets, self.sockets = self.sockets, []
        for sock in sockets:
            self._loop.remove_reader(sock)
            sock.close()

    def abort(self) -> None:
        """End the connections that have not come to HTTP yet."""
        for task in tuple(self._tasks):
            task.cancel()

    def _readable(self, sock: socket.socket) -> None:
        admitted = closed = 0
        while admitted < MAX_ACCEPTS and closed < MAX_CLOSED:
            try:
                made, address = sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                self._not_accepted(sock, error)
                return
            if admitted >= MAX_TURN and self._is_flood(address[0]):
                made.close()
                self._refused(PeerError(TLS_HANDSHAKE, CROWDED))
                closed += 1
                continue
            made.setblocking(False)
            self._accepted(made, address[0])
            admitted += 1

    def _not_accepted(self, sock: socket.socket, error: OSError) -> None:
        if error.errno not in LACKS:
            raise error
        self._files.lack(error)
        crowd = self._pending or self._handshakes
        if crowd:
            # A flood may hold the descriptors. This one is free in the next turn.
            self._end_oldest(crowd)
            return
        self._loop.remove_reader(sock)
        self._loop.call_later(WAIT_SECONDS, self._again, sock)

    def _is_flood(self, peer: str) -> bool:
        """True if no more connections can wait, and many of those that wait are of this address."""
        if not self._pending.is_full or (self._proxies is not None and self._proxies.trusts(peer)):
            return False
        return self._pending.number(counted_address(peer)) > MAX_PENDING // 16

    def _accepted(self, made: socket.socket, peer: str) -> None:
        if self._limit is not None:
            made = CountedSocket(made, self._limit)
            try:
                self._limit.count(made, peer)
            except PeerError as error:
                self._refuse(made, error)
                made.close()
                return
        task = self._loop.create_task(self._begin(made, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _again(self, sock: socket.socket) -> None:
        if sock in self.sockets:
            self._loop.add_reader(sock, self._readable, sock)

    async def _begin(self, sock: socket.socket, peer: str) -> None:
        given = False
        address = peer
        try:
            source = await self._source(sock, peer)
            if source is not None:
                address = source.address
            if source is not None and isinstance(sock, CountedSocket):
                sock.limit.count(sock, source.address)
            if self._tls is None:
                given = True
                await self._loop.connect_accepted_socket(lambda: self._make(source), sock)
                return
            counted = counted_address(address)
            with self._among(self._pending, counted):
                await self._hello(sock, counted)
            given = True
            with self._among(self._handshakes, counted):
                await self._open(self._tls, sock, source)
        except PeerError as error:
            # Only here is it known whose proxy, app server or client is set up wrongly.
            detail = f"{address}: {error.detail}" if error.detail else address
            self._refuse(sock, PeerError(error.reason, detail))
        except TimeoutError:
            self._refuse(sock, PeerError(HEADER_TIMEOUT, address))
        except OSError:
            # The client is gone.
            pass
        finally:
            if not given:
                sock.close()

    @contextmanager
    def _among(self, crowd: Crowd[asyncio.Task[None]], address: str) -> Iterator[None]:
        """The current task's connection is in the crowd within the block. The task is cancelled if the
        connection has to leave for a newer one."""
        task = asyncio.current_task()
        assert task is not None
        if crowd.is_full:
            self._end_oldest(crowd)
        crowd.add(address, task)
        try:
            yield
        finally:
            crowd.discard(address, task)

    def _end_oldest(self, crowd: Crowd[asyncio.Task[None]]) -> None:
        crowd.take_oldest().cancel()
        self._refused(PeerError(TLS_HANDSHAKE, CROWDED))

    async def _open(self, tls: Tls, sock: socket.socket, source: Source | None) -> None:
        """Go on with TLS. The event loop owns the socket from here on. Raises `PeerError` (tls-handshake) and
        `OSError`."""
        protocol, context = self._make(source), tls.context
        make, done = secured(protocol, context, handshake=self._timeout, shutdown=SHUTDOWN_SECONDS)
        tcp, _ = await self._loop.connect_accepted_socket(make, sock)
        try:
            await done
        except (ssl.SSLError, ConnectionError) as error:
            tcp.abort()
            raise PeerError(TLS_HANDSHAKE, _why(error)) from None
        except BaseException:
            tcp.abort()
            raise

    async def _source(self, sock: socket.socket, peer: str) -> Source | None:
        """The client that a PROXY header names. Raises `PeerError`, `TimeoutError` and `OSError`."""
        if self._proxies is None:
            return None
        async with asyncio.timeout(self._timeout):
            if not self._proxies.trusts(peer):
                await self._refuse_header(sock)
                return None
            header = ProxyHeader()
            while header.wanted:
                await self._until_readable(sock)
                # Exactly the header: what follows it is read by TLS or HTTP.
                data = sock.recv(header.wanted)
                if not data:
                    raise PeerError(BAD_PROXY_HEADER, "the connection ended")
                header.feed(data)
            return header.source

    async def _refuse_header(self, sock: socket.socket) -> None:
        """Only proxies may name a client. Neither HTTP nor TLS begins as the header does."""
        await self._until_readable(sock)
        if sock.recv(1, socket.MSG_PEEK) == SIGNATURE[:1]:
            raise PeerError(PROXY_REFUSED)

    async def _hello(self, sock: socket.socket, address: str) -> None:
        """Wait for the first bytes of the handshake, and for its turn. TLS needs 60 KB for a connection, and
        a client that sends nothing should cost nothing. Raises `PeerError` (tls-handshake), `OSError`."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._until_readable(sock)
                await self._turn(address)
                if not sock.recv(1, socket.MSG_PEEK):
                    raise PeerError(TLS_HANDSHAKE, "the client closed the connection before it")
        except TimeoutError:
            raise PeerError(TLS_HANDSHAKE, "the client sent nothing") from None

    async def _turn(self, address: str) -> None:
        """Strangers can hold many connections, and begin all handshakes or close all at once. The service
        handles a few in one turn of the event loop, of each address in turn."""
        if self._begun >= MAX_TURN or self._waiting:
            waiting = self._loop.create_future()
            self._waiting.add(address, waiting)
            await waiting
            return
        if not self._begun:
            self._loop.call_soon(self._next_turn)
        self._begun += 1

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < MAX_TURN:
            waiting = self._waiting.take()
            if not waiting.done():
                waiting.set_result(None)
                self._begun += 1
        if self._begun:
            self._loop.call_soon(self._next_turn)

    async def _until_readable(self, sock: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(sock, _set, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock)

    def _refuse(self, sock: socket.socket, error: PeerError) -> None:
        """Answer in plain HTTP where the client can read it, and close."""
        self._refused(error)
        if self._tls is None and sock.fileno() >= 0:
            try:
                sock.send(plain_response(error))
                sock.shutdown(socket.SHUT_WR)
                sock.recv(LEFT)
            except OSError:
                pass


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")[:128]
    return "the client closed the connection, which it does if it does not trust the certificate"


def listening(host: str, port: int, *, backlog: int, shared: bool) -> list[socket.socket]:
    """Sockets that listen on all addresses of `host`. Port 0 chooses a free one. Raises `OSError`."""
    made: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            made.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            port = port or (made[0].getsockname()[1] if len(made) > 1 else 0)
            sock.bind((address[0], port, *address[2:]))
            sock.listen(backlog)
    except OSError:
        for sock in made:
            sock.close()
        raise
    return made
