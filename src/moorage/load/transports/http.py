"""A way for HTTP/1.1 requests, one at a time, over connections that are kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools

from moorage.load.transports.target import Target, reset_on_close

Answered = Callable[[int, bytes], None]
"""Called with the status and the body."""
NO_ANSWER: Final = 0
"""The status if the connection could not be opened, or broke before the answer; the body then has the
reason."""


class HttpChannel:
    """Sends requests and passes the answers on. It connects when there is a request and no connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: _Connection | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._request = b""
        self._answered: Answered | None = None

    def request(self, method: str, where: str, body: bytes | None, answered: Answered) -> None:
        """Send a request. The one before has been answered."""
        headers = {"Host": self._target.host, **self._target.headers}
        if body is not None:
            headers |= {"Content-Type": "text/plain;charset=UTF-8", "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = f"{method} {where} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")
        self._answered = answered
        self._send()

    def abort(self, *, reset: bool) -> None:
        """End the connection, without an answer to the request under way. With `reset`, packets under way are
        lost."""
        self._answered = None
        if self._dialing is not None:
            self._dialing.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort(reset=reset)

    def answer(self, connection: _Connection, status: int, body: bytes, *, keeps: bool) -> None:
        """An answer has come. With `keeps`, the connection may carry another one."""
        if connection is self._connection:
            if not keeps:
                self._connection = None
            self._answer(status, body)

    def lost(self, connection: _Connection) -> None:
        """A connection is gone. As a browser does, a request on a kept connection is sent once more if no
        answer had begun."""
        if connection is not self._connection:
            return
        self._connection = None
        if self._answered is not None and connection.may_have_been_closed():
            self._send()
        else:
            self._answer(NO_ANSWER, b"the connection broke")

    def _send(self) -> None:
        if self._connection is not None:
            self._connection.write(self._request)
        else:
            self._dialing = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connected = await self._target.connect()
            tls = self._target.ssl
            hostname = self._target.name if tls else None
            _, self._connection = await loop.create_connection(
                lambda: _Connection(self), sock=connected, ssl=tls, server_hostname=hostname
            )
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            self._answer(NO_ANSWER, b"connection refused" if refused else str(error).encode())
        else:
            self._connection.write(self._request)

    def _answer(self, status: int, body: bytes) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status, body)


class _Connection(asyncio.Protocol):
    def __init__(self, channel: HttpChannel) -> None:
        self._channel = channel
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answers = 0
        self._begun = False

    def write(self, request: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._begun = False
        self._transport.write(request)

    def may_have_been_closed(self) -> bool:
        """True if the server may have closed the connection before it got the request."""
        return self._answers > 0 and not self._begun

    def abort(self, *, reset: bool) -> None:
        """End it now."""
        assert self._transport is not None
        found = self._transport.get_extra_info("socket")
        if reset and found is not None:
            reset_on_close(found)
        self._transport.abort()

    # -- asyncio ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abort(reset=False)
            self._channel.answer(self, NO_ANSWER, f"not an HTTP answer: {error}".encode(), keeps=False)

    def connection_lost(self, error: Exception | None) -> None:
        """Gone."""
        self._channel.lost(self)

    # -- httptools --------------------------------------------------------------------------------------

    def on_body(self, data: bytes) -> None:
        """A part of a body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        body, self._body = b"".join(self._body), []
        self._answers += 1
        status, keeps = self._parser.get_status_code(), self._parser.should_keep_alive()
        # In the next turn: the parser must not be used again from within one of its calls.
        asyncio.get_running_loop().call_soon(self._tell, status, body, keeps)

    def _tell(self, status: int, body: bytes, keeps: bool) -> None:
        self._channel.answer(self, status, body, keeps=keeps)
        if not keeps and self._transport is not None:
            self._transport.close()
