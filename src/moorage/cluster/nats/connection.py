"""One connection to a NATS server: the part of its client protocol that a broker needs.

One connection hands over messages in the order in which the server sent them, whatever their subject. The
broker port promises that order; the usual client library has a queue and a task for each subscription, and
does not keep it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from moorage import logs
from moorage.cluster.nats.login import NatsError

log: Final = logs.get("cluster")

MAX_QUEUED: Final = 64 * 1024 * 1024
"""Bytes that the server may leave unread. Beyond it the connection is given up."""
MAX_LINE: Final = 1024 * 1024
"""Maximum bytes of a line of the server."""
LARGE_READ: Final = 128 * 1024
"""Bytes of a read after which the event loop has its turn. Without this it reads up to 8 MiB in one turn. If
these are large answers of other nodes, they take 0.15 s."""
MAX_SERVERS: Final = 100
"""Number of other servers that a server may tell of."""
_MESSAGE: Final = ord("M")
_FORBIDDEN: Final = "Permissions Violation"


class NatsConnection(asyncio.Protocol):
    """Wait for `greeted`, call `log_in`, and wait for `opened`. `receive` gets each message that begins with
    a zero byte, without that, and `chunk` every other one. Set `ended` once the connection is in use: it is
    called with the reason when the connection is lost."""

    def __init__(self, receive: Callable[[bytes], object], chunk: Callable[[bytes], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self.receive = receive
        self._chunk = chunk
        self.ended: Callable[[str], object] | None = None
        self._transport: asyncio.Transport
        self._rest = b""
        self._out: list[bytes] = []
        self._before: list[Callable[[], object]] = []
        """Calls that are made before what is queued is written."""
        self._due = False
        """True if `flush` is scheduled."""
        self._reason = ""
        self._pongs: deque[asyncio.Future[None]] = deque()
        self.max_payload = 0
        self.servers: tuple[str, ...] = ()
        """Other servers (`host:port`) that the server has told of."""
        self.greeted: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        """The first message of the server, which describes it."""
        self.opened: asyncio.Future[None] = self._loop.create_future()
        """Done when the server has taken the login and the subscriptions."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # -- to the server ----------------------------------------------------------------------------

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt the connection, after `greeted` and before `log_in`."""
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise NatsError("the server closed the connection")
        self._transport = transport

    def log_in(self, login: dict[str, Any], subjects: tuple[str, ...]) -> None:
        """Log in, subscribe, and find out whether this node may send."""
        subscriptions = "".join(f"SUB {each} {at}\r\n" for at, each in enumerate(subjects, 1))
        # Nobody gets it: the first subject is this node's own, and the server does not echo.
        sent = f"PUB {subjects[0]} 0\r\n\r\n"
        self._out.append(f"CONNECT {json.dumps(login)}\r\n{subscriptions}{sent}".encode())
        self.ping().add_done_callback(self._logged_in)
        self.flush()

    def publish(self, head: bytes, mark: bytes, message: bytes) -> None:
        """Queue a message. `head` is `PUB subject `, and `mark` goes in front of the message. Everything
        queued in one turn is written at once."""
        if not self._due:
            self._schedule()
        self._out.append(b"%b%d\r\n%b%b\r\n" % (head, len(mark) + len(message), mark, message))

    def soon(self, call: Callable[[], object]) -> None:
        """Make a call at the end of this turn. Its messages leave together with all others of the turn."""
        self._before.append(call)
        if not self._due:
            self._schedule()

    def _schedule(self) -> None:
        self._due = True
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is queued. It is lost if the connection has ended meanwhile."""
        try:
            if self._before:
                before, self._before = self._before, []
                for call in before:
                    call()
        finally:
            self._due = False
        out, self._out = self._out, []
        if out and not self._transport.is_closing():
            self._transport.write(b"".join(out))
            if self._transport.get_write_buffer_size() > MAX_QUEUED:
                self.abort("the server does not read")

    def ping(self) -> asyncio.Future[None]:
        """Done when the server has answered, so it has taken everything queued before."""
        done = self._loop.create_future()
        self._pongs.append(done)
        if not self._due:
            self._schedule()
        self._out.append(b"PING\r\n")
        return done

    @property
    def pings(self) -> int:
        """Number of pings without an answer."""
        return len(self._pongs)

    def close(self) -> None:
        """Write what is queued, then close."""
        self.ended = None
        self.flush()
        self._transport.close()

    def abort(self, reason: str) -> None:
        """Give the connection up."""
        self._reason = reason
        self._transport.abort()

    # -- from the server: `asyncio.Protocol` ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server speaks first."""
        # No `isinstance`: the transports of uvloop do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand over whole messages, and keep the rest."""
        if len(data) >= LARGE_READ:
            self._transport.pause_reading()
            self._loop.call_soon(self._read_on)
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        # This loop is the cost of a message that arrives: nothing is called by a name that must be looked up.
        find, rfind, receive = data.find, data.rfind, self.receive
        try:
            while (end := find(b"\r\n", at)) >= 0:
                if data[at] != _MESSAGE:
                    self._line(data[at:end])
                    at = end + 2
                    continue
                begin = end + 2
                stop = begin + int(data[rfind(b" ", at, end) + 1 : end])
                if size < stop + 2:
                    break
                at = stop + 2
                # An empty message is followed by the end of its line, which is no mark.
                try:
                    if not data[begin]:
                        receive(data[begin + 1 : stop])
                    else:
                        self._chunk(data[begin:stop])
                except Exception as error:
                    # A defect of ours. It must not end the connection.
                    log.error("message of another node failed", exc_info=error)
            if end < 0 and size - at > MAX_LINE:
                raise ValueError("a line is too long")
        except (ValueError, KeyError, TypeError, AttributeError):
            self.abort("the server does not speak the protocol of NATS")
            return
        self._rest = data[at:]

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that is awaited, and call `ended`."""
        reason = self._reason or str(exc or "the server closed the connection")
        for future in (self.greeted, self.opened):
            if not future.done():
                future.set_exception(NatsError(reason))
                # Only one of them is awaited at a time.
                future.exception()
        for pong in self._pongs:
            pong.cancel()
        self._pongs.clear()
        if not self.closed.done():
            self.closed.set_result(None)
        if self.ended is not None:
            self.ended(reason)

    def _line(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"PING":
            self._transport.write(b"PONG\r\n")
        elif word == b"PONG":
            if self._pongs:
                pong = self._pongs.popleft()
                if not pong.done():
                    pong.set_result(None)
        elif word == b"INFO":
            self._greet(json.loads(rest))
        elif word == b"-ERR":
            self._reason = rest.decode("utf-8", "replace").strip("' ")
            if self._reason.startswith(_FORBIDDEN):
                # The server leaves the connection open, and this node would be alone without knowing why.
                self.abort(self._reason)
        elif word != b"+OK":
            raise ValueError(word)

    def _greet(self, info: dict[str, Any]) -> None:
        self.max_payload = int(info["max_payload"])
        self.servers = tuple(map(str, info.get("connect_urls") or ()))[:MAX_SERVERS]
        if not self.greeted.done():
            self.greeted.set_result(info)
        elif info.get("ldm") and self.servers:
            self.abort("the server is being stopped")

    def _logged_in(self, pong: asyncio.Future[None]) -> None:
        # A server that refuses the subscriptions answers the ping all the same.
        if not pong.cancelled() and not self.opened.done() and not self._transport.is_closing():
            self.opened.set_result(None)
