"""Clients over HTTP long-polling, as a plain ASGI application.

The session outlives each request. A GET waits until the outbox has something, a POST brings
packets in; both find the session by its id, so nothing here depends on which TCP connection,
or later which node, a request comes by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeVar

from moorage.edge.clients import ClientDoor
from moorage.edge.upgrade import error_body, parse_query
from moorage.engine.upgrade import State, Step
from moorage.hub.connection import Connection
from moorage.wire import engineio
from moorage.wire.errors import PeerError
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import (
    ALREADY_UPGRADED,
    BAD_METHOD,
    CLIENT_CLOSED,
    DUPLICATE_POLL,
    DUPLICATE_POST,
    PAYLOAD_TOO_LARGE,
    SLOW_CLIENT,
    TRANSPORT_LOST,
    UNKNOWN_SID,
    WRONG_CONTENT_TYPE,
    Reason,
)

LINGER_SECONDS: Final = 30.0
"""A closed session waits this long for the poll that takes its last words."""

MAX_PACKETS: Final = 16
"""Packets in the answer to one poll: python-engineio gives a session up over a larger payload."""

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class PollingSession:
    """One client's polls; `hub.ports.ClientSink` while the session is on polling."""

    __slots__ = (
        "_door",
        "_last_words",
        "_left",
        "_poll",
        "_resumed",
        "connection",
        "dead_at",
        "ended",
        "posting",
    )

    framed = False
    transport = "polling"
    send = None

    def __init__(self, door: PollingDoor, connection: Connection) -> None:
        self.connection = connection
        self.posting = False
        self.dead_at: float | None = None
        """Set when the session has ended: it lingers until then for its last poll."""
        self.ended: Reason | None = None
        """Why it has."""
        self._door = door
        self._poll: asyncio.Future[bytes] | None = None
        self._left = b""
        """What did not fit into the last answer."""
        self._resumed: asyncio.Future[None] | None = None
        """While POSTs are held back."""
        self._last_words: list[bytes] = []

    def poll(self) -> asyncio.Future[bytes]:
        """A GET came: what it is answered with. Raises `PeerError` (duplicate-poll)."""
        if self._poll is not None:
            raise PeerError(DUPLICATE_POLL)
        future = asyncio.get_running_loop().create_future()
        if self.dead_at is not None:
            future.set_result(self._last_words.pop(0) if self._last_words else engineio.NOOP_CLOSE)
            if not self._last_words:
                self._door.forget(self)
            return future
        if self._left:
            data, self._left = _split(self._left)
            self._door.node.metrics.bytes_sent_polling += len(data)
            future.set_result(data)
            return future
        self._poll = future
        self.connection.outbox.unblock()
        if self.connection.session.state == State.PROBING:
            # Polls are answered at once while an upgrade is under way: it waits for them.
            self.release()
        return future

    @property
    def left(self) -> bytes:
        """A payload that no poll has fetched yet, of packets older than any in the outbox."""
        return self._left

    def release(self) -> None:
        """Answer a waiting poll now."""
        if self._poll is not None:
            self.write(engineio.NOOP)

    def abandoned(self, future: asyncio.Future[bytes]) -> None:
        """The poll's connection broke before its answer was out."""
        if self._poll is future:
            self._poll = None
            self.connection.outbox.ready = False
        elif future.result() == engineio.NOOP:
            return
        self._door.node.disconnect(self.connection, TRANSPORT_LOST, who="client")

    # -- hub.ports.ClientSink -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Answer the waiting poll; the outbox gathers until the next."""
        poll, self._poll = self._poll, None
        self.connection.outbox.ready = False
        data, self._left = _split(data)
        if poll is not None and not poll.done():
            self._door.node.metrics.bytes_sent_polling += len(data)
            poll.set_result(data)

    def close(self, reason: Reason, rest: bytes) -> None:
        """The exact answers that Socket.IO's own tests expect: a poll gets what is queued, if
        anything, and the next one `6` `1`. Not both in one: the client handles Socket.IO packets a
        tick later than a close, and would report `transport close` for a disconnect."""
        self.ended = reason
        self.resume_reading()
        if reason is CLIENT_CLOSED:
            # The client has said goodbye: a noop lets its last poll go, and nobody will come again.
            self.release()
            self._door.forget(self)
            return
        if reason not in (SLOW_CLIENT, TRANSPORT_LOST):
            for waiting in (self._left, rest):
                words, more = _split(waiting)
                while words:
                    self._last_words.append(words)
                    words, more = _split(more)
        self._last_words.append(engineio.NOOP_CLOSE)
        if self._poll is not None:
            self.write(self._last_words.pop(0))
            if not self._last_words:
                self._door.forget(self)
                return
        self.dead_at = self._door.clock() + LINGER_SECONDS

    @property
    def unsaid(self) -> bytes:
        """After the end: a payload of the packets that no poll has fetched."""
        return engineio.RS.join(self._last_words[:-1])

    def pause_reading(self) -> None:
        """The next POST waits with its body unread."""
        if self._resumed is None:
            self._resumed = asyncio.get_running_loop().create_future()

    def resume_reading(self) -> None:
        """A POST that waits goes on."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    async def readable(self) -> None:
        """Return when POSTs are not held back."""
        while self._resumed is not None:
            await self._resumed


class PollingDoor:
    """The ASGI application of the client paths."""

    def __init__(self, door: ClientDoor, *, clock: Callable[[], float]) -> None:
        self.node = door.node
        self.clock = clock
        self._door = door
        self._sessions: dict[str, PollingSession] = {}

    def forget(self, session: PollingSession) -> None:
        """The session has left polling, or has had its last words."""
        self._sessions.pop(session.connection.id, None)

    def release_poll(self, connection: Connection) -> None:
        """For an upgrade under way."""
        session = self._sessions.get(connection.id)
        if session is not None:
            session.release()

    def upgraded(self, connection: Connection) -> bytes:
        """The upgrade is done; what must be written before all that waits in the outbox."""
        session = self._sessions.pop(connection.id, None)
        if session is None:
            return b""
        session.release()
        session.resume_reading()
        return session.left

    def farewell(self, connection: Connection) -> tuple[Reason, bytes]:
        """The session ended during its upgrade, and the client polls no more: why it ended, and the
        payload that the client has not got yet."""
        session = self._sessions.pop(connection.id, None)
        if session is None or session.ended is None:
            # The polls have fetched everything, the end included.
            return CLIENT_CLOSED, b""
        return session.ended, session.unsaid

    def tick(self, now: float) -> None:
        """Give up on ended sessions whose last poll never came."""
        for session in [s for s in self._sessions.values() if s.dead_at is not None and s.dead_at <= now]:
            self.forget(session)

    # -- requests -----------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request to a client path."""
        headers = {name: value for name, value in reversed(scope["headers"])}
        cors = self._door.cors_headers(headers.get(b"origin", b"").decode("latin-1"))
        try:
            hub = self._door.hub_of(scope["path"])
            if scope["method"] == "OPTIONS":
                await _preflight(send, cors, headers)
                return
            query = parse_query(scope["query_string"].decode("latin-1"))
            sid = self._door.check_query(query, "polling")
            body = await self._answer(scope, receive, headers, hub, query, sid)
            await _respond(send, 200, b"text/plain; charset=UTF-8", body, cors)
        except PeerError as error:
            self._door.log.refused("client", error, scope["path"])
            await _respond(send, error.reason.http, b"application/json", error_body(error), cors)
        except _GoneError:
            return

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        headers: dict[bytes, bytes],
        hub: str,
        query: dict[str, list[str]],
        sid: str | None,
    ) -> bytes:
        if sid is None:
            if scope["method"] != "GET":
                raise PeerError(BAD_METHOD)
            return await self._open(scope, receive, hub, query)
        session = self._find(hub, sid)
        if scope["method"] == "GET":
            return await self._poll(session, receive)
        if scope["method"] == "POST":
            return await self._post(session, receive, headers)
        raise PeerError(BAD_METHOD)

    def _find(self, hub_name: str, sid: str) -> PollingSession:
        session = self._sessions.get(sid)
        if session is not None and session.connection.hub.name.casefold() == hub_name.casefold():
            return session
        hub = self.node.hub(hub_name)
        if hub is not None and sid in hub.directory.connections:
            raise PeerError(ALREADY_UPGRADED)
        raise PeerError(UNKNOWN_SID)

    async def _open(self, scope: Scope, receive: Receive, hub: str, query: dict[str, list[str]]) -> bytes:
        path, asked = scope["path"], scope["query_string"].decode("latin-1")
        handshake = self._door.handshake(
            hub,
            scope["scheme"],
            query,
            scope["headers"],
            target=f"{path}?{asked}" if asked else path,
            address=lambda: scope["client"][0] if scope["client"] else "",
        )
        opening = _Opening()
        connection = self.node.connect(hub, handshake, opening)
        info = await _unless_gone(opening.answer, receive)
        if info is None:
            self.node.abandon(connection)
            if opening.answer.done() and opening.answer.exception() is None:
                self.node.disconnect(connection, TRANSPORT_LOST, who="client")
            raise _GoneError
        if connection.session.state == State.CLOSED:
            raise PeerError(UNKNOWN_SID, "closed while it was opening")
        session = PollingSession(self, connection)
        self._sessions[connection.id] = session
        self._door.log.opened(connection, "polling")
        connection.outbox.attach(session, ready=False)
        return engineio.open_packet(
            connection.id,
            upgrades=True,
            ping_interval=info.ping_interval,
            ping_timeout=info.ping_timeout,
            max_payload=info.max_payload,
        )

    async def _poll(self, session: PollingSession, receive: Receive) -> bytes:
        try:
            future = session.poll()
        except PeerError as error:
            # engine.io's rule: two polls at once end the session, both are told.
            self.node.disconnect(session.connection, error.reason, who="service")
            raise
        data = await _unless_gone(future, receive)
        if data is None:
            session.abandoned(future)
            raise _GoneError
        return data

    async def _post(self, session: PollingSession, receive: Receive, headers: dict[bytes, bytes]) -> bytes:
        connection = session.connection
        content_type = headers.get(b"content-type", b"text/plain").partition(b";")[0].strip().lower()
        if content_type != b"text/plain":
            raise PeerError(WRONG_CONTENT_TYPE, "text/plain is expected")
        limit = connection.session.max_payload
        if int(headers.get(b"content-length", b"0")) > limit:
            raise PeerError(PAYLOAD_TOO_LARGE, f"at most {limit} bytes")
        if session.posting:
            self.node.disconnect(connection, DUPLICATE_POST, who="service")
            raise PeerError(DUPLICATE_POST)
        session.posting = True
        try:
            await session.readable()
            body = await _read_body(receive, limit)
            self._packets(connection, body)
            await self._taken(connection)
        finally:
            session.posting = False
        return b"ok"

    def _packets(self, connection: Connection, body: bytes) -> None:
        metrics = self.node.metrics
        metrics.bytes_received_polling += len(body)
        try:
            packets = engineio.split_payload(body, self.node.limits.max_packets_per_payload)
        except PeerError as error:
            self.node.disconnect(connection, error.reason, who="service", detail=error.detail)
            raise
        for packet in packets:
            if connection.session.state == State.CLOSED:
                break
            metrics.received_polling += 1
            self.node.receive(connection, packet)

    async def _taken(self, connection: Connection) -> None:
        """Wait until the app server has taken the packets, a second at most. It slows a client
        down to the app's pace, and lets a protocol violation close the session before the next."""
        taken = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not taken.done():
                taken.set_result(None)

        connection.server.link.drained(connection, done)
        await asyncio.wait((taken,), timeout=self._door.server.post_wait)


class _Opening:
    """`hub.ports.Opening` of a polling client."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[OpenInfo] = asyncio.get_running_loop().create_future()

    def accepted(self, connection: Connection, info: OpenInfo) -> None:
        connection.session.step(Step.OPENED_POLLING)
        if not self.answer.done():
            self.answer.set_result(info)

    def refused(self, reason: Reason, detail: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(PeerError(reason, detail))


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """As much of a payload as one answer may hold, and the rest."""
    if payload.count(engineio.RS) < MAX_PACKETS:
        return payload, b""
    end = -1
    for _ in range(MAX_PACKETS):
        end = payload.index(engineio.RS, end + 1)
    return payload[:end], payload[end + 1 :]


class _GoneError(Exception):
    """The HTTP client is gone: nobody is left to answer."""


async def _unless_gone(future: asyncio.Future[T], receive: Receive) -> T | None:
    """The future's result; None if the HTTP connection ends before that, or in the same moment:
    then the result would go nowhere."""
    if future.done():
        return future.result()
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else future.result()
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise PeerError(PAYLOAD_TOO_LARGE, f"at most {limit} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)


async def _respond(
    send: Send, status: int, content_type: bytes, body: bytes, extra: list[tuple[bytes, bytes]]
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _preflight(send: Send, cors: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]) -> None:
    asked = headers.get(b"access-control-request-headers", b"content-type")
    extra = [
        *cors,
        (b"access-control-allow-methods", b"GET,POST,OPTIONS"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": extra if cors else []})
    await send({"type": "http.response.body", "body": b""})
