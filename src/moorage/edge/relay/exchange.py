"""One HTTP request whose owner is another node: sent there, and its answer passed on, both as a stream."""

from __future__ import annotations

import asyncio
from typing import Final

from moorage.edge.http.asgi import GoneError, Receive, Scope
from moorage.edge.http.protocol import TURN, Turn
from moorage.edge.http.replies import Send
from moorage.edge.relay.heads import answer_head
from moorage.edge.unconfirmed import TRANSPORT

CHUNK: Final = 64 * 1024
NEXT: Final = b"GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n"
"""A request behind a poll, which the owner answers at once then."""
FAILURES: Final = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class Exchange:
    """A request and its answer over a new TCP connection to the owner."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answering = False

    async def run(self, head: bytes, scope: Scope, receive: Receive, send: Send) -> bool:
        """Send the request, and pass the answer on. False if the owner did not answer. Raises `GoneError` if
        the client did not wait for the answer."""
        turn: Turn = scope["extensions"][TURN]
        self._writer.write(head)
        chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        request = asyncio.ensure_future(self._request(receive, chunked=chunked))
        answer = asyncio.ensure_future(self._answer(send))
        turn.waiter = waiter = _Waiter(request, self._writer if head.startswith(b"GET ") else None)
        if turn.queued:
            waiter.hurry()
        try:
            await asyncio.wait((request, answer), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and (request.cancelled() or request.exception() is None):
                raise GoneError
            # If the owner takes no more of the request, its answer may say why.
            await answer
        except FAILURES:
            if not self._answering:
                return False
            scope["extensions"][TRANSPORT].abort()
        finally:
            turn.waiter = None
            answer.cancel()
            if not request.cancel() and not request.cancelled():
                request.exception()  # marks it as seen: the answer has told the rest
            self._writer.transport.abort()
        return True

    async def _request(self, receive: Receive, *, chunked: bool) -> None:
        """Send the body, then return when the client is gone."""
        writer = self._writer
        more = True
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body = message.get("body", b"")
            if body:
                writer.write(b"%x\r\n%b\r\n" % (len(body), body) if chunked else body)
            if more and not message.get("more_body", False):
                more = False
                if chunked:
                    writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def _answer(self, send: Send) -> None:
        reader = self._reader
        status, headers, left = answer_head(await reader.readuntil(b"\r\n\r\n"))
        self._answering = True
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while left is None or left > 0:
            data = await reader.read(CHUNK if left is None else min(left, CHUNK))
            if not data:
                if left is not None:
                    raise EOFError
                break
            if left is not None:
                left -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Waiter:
    """`edge.http.protocol.Waiter` of a relayed request. `writer` leads to the owner of a request without a
    body."""

    def __init__(self, request: asyncio.Future[None], writer: asyncio.StreamWriter | None) -> None:
        self._request = request
        self._writer = writer

    def hurry(self) -> None:
        """Let another request wait at the owner, too. It has no answer: the connection ends before."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.write(NEXT)

    def lost(self) -> None:
        """The client is gone."""
        self._request.cancel()
