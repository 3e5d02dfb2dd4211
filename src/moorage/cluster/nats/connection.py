"""One connection to a NATS server: the part of its client protocol that a broker needs.

One connection hands over messages in the order in which the server sent them, whatever their subject. The
broker port promises that order; the usual client library has a queue and a task for each subscription, and
does not keep it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import SplitResult, unquote

MAX_QUEUED: Final = 64 * 1024 * 1024
"""Bytes that the server may leave unread. Beyond it the connection is given up."""


class NatsError(Exception):
    """The server refused the connection, or is no NATS server."""


class NatsConnection(asyncio.Protocol):
    """`receive` gets each message. Set `ended` once the connection is in use: it is called with the reason
    when the connection is lost."""

    def __init__(
        self,
        url: SplitResult,
        name: str,
        subjects: tuple[str, ...],
        *,
        receive: Callable[[bytes], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._url = url
        self._name = name
        self._subjects = subjects
        self._receive = receive
        self.ended: Callable[[str], object] | None = None
        self._transport: asyncio.Transport
        self._rest = b""
        self._out: list[bytes] = []
        self._reason = ""
        self._pongs: deque[asyncio.Future[None]] = deque()
        self.max_payload = 0
        self.opened: asyncio.Future[None] = self._loop.create_future()
        """Done when the server has taken the login and the subscriptions."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # -- to the server ----------------------------------------------------------------------------

    def publish(self, head: bytes, frame: bytes) -> None:
        """Queue a message. `head` is `PUB subject `; everything queued in one turn is written at once."""
        out = self._out
        if not out:
            self._loop.call_soon(self.flush)
        out += (head, b"%d\r\n" % len(frame), frame, b"\r\n")

    def flush(self) -> None:
        """Write what is queued. It is lost if the connection has ended meanwhile."""
        out, self._out = self._out, []
        if out and not self._transport.is_closing():
            self._transport.write(b"".join(out))
            if self._transport.get_write_buffer_size() > MAX_QUEUED:
                self._fail("the server does not read")

    def ping(self) -> asyncio.Future[None]:
        """Done when the server has answered, so it has taken everything queued before."""
        done = self._loop.create_future()
        self._pongs.append(done)
        if not self._out:
            self._loop.call_soon(self.flush)
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
        self._fail(reason)

    # -- from the server: `asyncio.Protocol` ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The login follows the server's first line."""
        # No `isinstance`: the transports of uvloop do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand over whole messages, and keep the rest."""
        if self._rest:
            data = self._rest + data
        at = 0
        try:
            while (end := data.find(b"\r\n", at)) >= 0:
                if not data.startswith(b"MSG ", at):
                    self._line(data[at:end])
                    at = end + 2
                    continue
                stop = end + 2 + int(data[data.rfind(b" ", at, end) + 1 : end])
                if len(data) < stop + 2:
                    break
                at = stop + 2
                self._receive(data[end + 2 : stop])
        except (ValueError, KeyError, TypeError):
            self._fail("the server does not speak the protocol of NATS")
            return
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        """End `opened`, all pings and `closed`, and call `ended`."""
        reason = self._reason or str(exc or "the server closed the connection")
        if not self.opened.done():
            self.opened.set_exception(NatsError(reason))
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
        elif word != b"+OK":
            raise ValueError(word)

    def _greet(self, info: dict[str, Any]) -> None:
        first = not self.max_payload
        self.max_payload = int(info["max_payload"])
        if not first:
            return
        if info.get("tls_required"):
            self._fail("the server requires TLS, which is not supported yet")
            return
        login = {"verbose": False, "pedantic": False, "echo": False, "name": self._name, "lang": "python"}
        login |= {"version": "0", "protocol": 1, "headers": False, **self._secrets()}
        subscriptions = "".join(f"SUB {each} {at}\r\n" for at, each in enumerate(self._subjects, 1))
        self._out.append(f"CONNECT {json.dumps(login)}\r\n{subscriptions}".encode())
        self.ping().add_done_callback(self._greeted)
        self.flush()

    def _greeted(self, pong: asyncio.Future[None]) -> None:
        if not pong.cancelled() and not self.opened.done():
            self.opened.set_result(None)

    def _secrets(self) -> dict[str, str]:
        url = self._url
        if url.password is not None:
            return {"user": unquote(url.username or ""), "pass": unquote(url.password)}
        return {"auth_token": unquote(url.username)} if url.username else {}

    def _fail(self, reason: str) -> None:
        self._reason = reason
        self._transport.abort()
