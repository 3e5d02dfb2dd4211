"""Clients over HTTP long-polling, as a plain ASGI application. The session outlives each request. A GET waits
until the outbox has data, and a POST brings packets. Both find the session by its id, so it does not matter
which TCP connection carries a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from moorage.edge.clients.admission import Admission
from moorage.edge.clients.opening import PollingOpening
from moorage.edge.http.asgi import GoneError, Receive, Scope, read_body, unless_gone
from moorage.edge.http.protocol import TURN, Turn
from moorage.edge.http.refusals import error_body
from moorage.edge.http.replies import Send, preflight, respond
from moorage.edge.http.upgrade import decoded, parse_query
from moorage.edge.limits.clients import Meter
from moorage.edge.relay.relay import Relay
from moorage.edge.unconfirmed import TRANSPORT, unconfirmed
from moorage.engine.upgrade import State
from moorage.hub.hub import Connection
from moorage.hub.ports import RefusedError
from moorage.wire import engineio, reasons
from moorage.wire.errors import PeerError
from moorage.wire.reasons import Reason, stays_away

BINARY_TYPE: Final = b"application/octet-stream"
"""The only `Content-Type` that is refused, as in native Socket.IO. Clients in other languages send many."""
VERDICT_SECONDS: Final = 0.02
"""Within this time the heartbeat closes a session whose pong is overdue."""
MAX_ENDS: Final = 1_000
"""Number of ended sessions whose reason is kept."""
LINGER_SECONDS: Final = 30.0
"""Time that a closed session waits for the poll that fetches its last payloads."""
MAX_PACKETS: Final = 16
"""Maximum packets in the answer to one poll: python-engineio ends a session after a larger payload."""
SMALLEST_PACKET: Final = 6
"""Bytes of the smallest packet that a stock client sends for an event, `42[1]`, and its separator."""
POST_SLICE: Final = 256
"""Packets of a POST that are handled in one turn of the event loop."""


class PollingSession:
    """One client's polls; `hub.ports.ClientSink` while the session is on polling."""

    __slots__ = (
        "_handler",
        "_poll",
        "_polls",
        "_resumed",
        "_transport",
        "connection",
        "dead_at",
        "ended",
        "meter",
        "posting",
        "unsaid",
    )

    framed = packs = False
    transport = "polling"
    max_packets = MAX_PACKETS
    descriptor = -1

    def __init__(self, handler: PollingHandler, connection: Connection) -> None:
        self.connection = connection
        self.posting = False
        self.meter: Meter | None = None
        """Counts the client's packets, if their number is limited."""
        self.dead_at: float | None = None
        """Set when the session has ended: the time until which it waits for its last poll."""
        self.ended: Reason | None = None
        """The reason of the session's end; None while it is open."""
        self.unsaid: list[bytes] = []
        """After the end: payloads that no poll has fetched."""
        self._handler = handler
        self._poll: asyncio.Future[bytes] | None = None
        self._polls = 0
        self._transport: asyncio.Transport | None = None
        """The TCP connection of the last poll."""
        self._resumed: asyncio.Future[None] | None = None
        """Set while POSTs are held back."""

    def poll(self, transport: asyncio.Transport | None = None) -> asyncio.Future[bytes]:
        """The answer to a GET that came over this TCP connection. Raises `PeerError` (duplicate-poll)."""
        if self._poll is not None:
            raise PeerError(reasons.DUPLICATE_POLL)
        self._polls += 1
        self._transport = transport
        future = asyncio.get_running_loop().create_future()
        if self.dead_at is not None:
            self._say_goodbye(future)
            return future
        self._poll = future
        self.connection.outbox.unblock()
        if self.connection.session.state == State.PROBING:
            # During an upgrade polls are answered at once, because the client waits for that.
            self.release()
        return future

    def release(self) -> None:
        """Answer a waiting poll now."""
        if self._poll is not None:
            self.write(engineio.NOOP)

    def abandoned(self, future: asyncio.Future[bytes]) -> None:
        """The poll's connection broke before the answer was sent."""
        if self._poll is future:
            self._poll = None
            self.connection.outbox.block()
        elif future.exception() is not None or future.result() == engineio.NOOP:
            return
        self._handler.node.disconnect(self.connection, reasons.TRANSPORT_LOST, who="client")

    # -- hub.ports.ClientSink -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Answer the waiting poll. The outbox gathers until the next one."""
        poll, self._poll = self._poll, None
        self.connection.outbox.block()
        if poll is not None and not poll.done():
            self._handler.metrics.bytes_sent_polling += len(data)
            poll.set_result(data)

    def progress(self) -> int:
        """Changes with every poll, and while the client reads the answer to the last one."""
        pending = unconfirmed(self._transport) if self._transport is not None else 0
        return (self._polls << 40) + pending

    def close(self, reason: Reason, rest: list[bytes]) -> None:
        """Give the answers that Socket.IO's own tests expect: one poll gets what is queued, if anything, and
        the next one `6` `1`. They are separate, because the client handles Socket.IO packets a tick later
        than a close, and would report `transport close` for a disconnect. A client that should reconnect gets
        an error in place of `6` `1` (`stays_away`). As in native Socket.IO, a client that broke the rules or
        missed its heartbeat gets nothing more, and its further requests are refused."""
        self.ended = reason
        self.resume_reading()
        if reason is reasons.CLIENT_CLOSED:
            # The client has closed the session: answer its last poll with a noop. No other will come.
            self.release()
            self._handler.forget(self)
            return
        if not _is_abrupt(reason):
            self.unsaid = rest
            self.dead_at = self._handler.clock() + LINGER_SECONDS
        poll, self._poll = self._poll, None
        if poll is not None and not poll.done():
            self._say_goodbye(poll)
        elif _is_abrupt(reason):
            self._handler.forget(self)

    def _say_goodbye(self, poll: asyncio.Future[bytes]) -> None:
        """Answer a poll of an ended session."""
        assert self.ended is not None
        if self.unsaid:
            words, self.unsaid = engineio.next_payload(self.unsaid, MAX_PACKETS)
            self._handler.metrics.bytes_sent_polling += len(words)
            poll.set_result(words)
            return
        self._handler.forget(self)
        if stays_away(self.ended):
            poll.set_result(engineio.CLOSE if _is_abrupt(self.ended) else engineio.NOOP_CLOSE)
        else:
            # Use the status for an unknown session: proxies and browsers may react to another one.
            poll.set_exception(
                _EndedError(self.ended._replace(http=reasons.UNKNOWN_SID.http, eio=reasons.UNKNOWN_SID.eio))
            )

    def pause_reading(self) -> None:
        """Leave the body of the next POST unread."""
        if self._resumed is None:
            self._resumed = asyncio.get_running_loop().create_future()

    def resume_reading(self) -> None:
        """Read a waiting POST."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    async def readable(self) -> None:
        """Return when POSTs are not held back."""
        while self._resumed is not None:
            await self._resumed


class PollingHandler:
    """The ASGI application of the client paths."""

    def __init__(
        self, admission: Admission, relay: Relay, max_packets: int, *, clock: Callable[[], float]
    ) -> None:
        self.node = admission.node
        self.metrics = admission.log.metrics
        self.clock = clock
        self._admission = admission
        self._max_packets = max_packets
        self._relay = relay
        self._sessions: dict[str, PollingSession] = {}
        self._ends: dict[str, Reason] = {}
        """The reasons of the last sessions' ends, for later requests of their clients."""

    def forget(self, session: PollingSession) -> None:
        """The session has ended, and its last payload is sent."""
        sid = session.connection.id
        self._sessions.pop(sid, None)
        if session.ended is not None:
            self._ends[sid] = session.ended
            if len(self._ends) > MAX_ENDS:
                del self._ends[next(iter(self._ends))]

    def release_poll(self, connection: Connection) -> None:
        """Answer the waiting poll of a client that upgrades."""
        session = self._sessions.get(connection.id)
        if session is not None:
            session.release()

    def upgraded(self, connection: Connection) -> None:
        """The upgrade is done."""
        session = self._sessions.pop(connection.id, None)
        if session is not None:
            session.release()
            session.resume_reading()

    def farewell(self, connection: Connection) -> tuple[Reason, list[bytes]]:
        """For a session that ended during its upgrade: why it ended, and the payloads that the client has not
        received. It will not poll again."""
        session = self._sessions.pop(connection.id, None)
        if session is None or session.ended is None:
            # The polls have fetched everything, including the end.
            return self._ends.get(connection.id, reasons.CLIENT_CLOSED), []
        return session.ended, session.unsaid

    def tick(self, now: float) -> None:
        """Forget ended sessions whose last poll did not come."""
        for session in [s for s in self._sessions.values() if s.dead_at is not None and s.dead_at <= now]:
            self.forget(session)

    # -- requests -----------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request to a client path."""
        headers = {name: value for name, value in reversed(scope["headers"])}
        cors = self._admission.cors_headers(headers.get(b"origin", b"").decode("latin-1"))
        sid: str | None = None
        try:
            hub = self._admission.hub_of(scope["path"])
            if scope["method"] == "OPTIONS":
                await preflight(send, cors, headers)
                return
            query = parse_query(scope["query_string"].decode("latin-1"))
            sid = self._admission.check_query(query, "polling")
            body = await self._answer(scope, receive, headers, hub, query, sid)
            await respond(send, 200, b"text/plain; charset=UTF-8", body, cors)
        except PeerError as error:
            if error.reason is reasons.UNKNOWN_SID and await self._relay.request(sid, scope, receive, send):
                return
            if not isinstance(error, (_EndedError, RefusedError)):
                self._admission.log.request_refused("client", error, scope["path"])
            await respond(send, error.reason.http, b"application/json", error_body(error), cors)
        except GoneError:
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
                raise PeerError(reasons.BAD_METHOD)
            return await self._open(scope, receive, hub, query)
        session = self._find(hub, sid)
        if scope["method"] == "GET":
            if self.node.heartbeats.is_overdue(session.connection, self.clock()):
                # A pong may be on its way. If it does not arrive now, this session ends.
                await asyncio.sleep(VERDICT_SECONDS)
                session = self._find(hub, sid)
            return await self._poll(session, scope["extensions"])
        if scope["method"] == "POST":
            return await self._post(session, receive, headers)
        raise PeerError(reasons.BAD_METHOD)

    def _find(self, hub_name: str, sid: str) -> PollingSession:
        session = self._sessions.get(sid)
        if session is not None and session.connection.hub.name.casefold() == hub_name.casefold():
            return session
        hub = self.node.hub(hub_name)
        if hub is not None and sid in hub.directory.connections:
            raise PeerError(reasons.ALREADY_UPGRADED)
        raise _over(self._ends[sid]) if sid in self._ends else PeerError(reasons.UNKNOWN_SID)

    async def _open(self, scope: Scope, receive: Receive, hub: str, query: dict[str, list[str]]) -> bytes:
        path, asked = scope["path"], scope["query_string"].decode("latin-1")
        fields = decoded(scope["headers"])

        def address() -> str:
            return str(scope["client"][0]) if scope["client"] else ""

        handshake = self._admission.handshake(
            hub,
            scope["scheme"],
            query,
            fields,
            target=f"{path}?{asked}" if asked else path,
            address=address,
        )
        opening = PollingOpening()
        connection = self.node.connect(hub, handshake, opening)
        info = await unless_gone(opening.answer, receive)
        if info is None:
            self.node.abandon(connection)
            if opening.answer.done() and opening.answer.exception() is None:
                self.node.disconnect(connection, reasons.TRANSPORT_LOST, who="client")
            raise GoneError
        if connection.session.state == State.CLOSED:
            raise PeerError(reasons.UNKNOWN_SID, "closed while it was opening")
        session = PollingSession(self, connection)
        session.meter = self._admission.meter(connection, fields, address)
        self._sessions[connection.id] = session
        connection.outbox.attach(session, ready=False)
        return engineio.open_packet(
            connection.id,
            upgrades=True,
            ping_interval=info.ping_interval,
            ping_timeout=info.ping_timeout,
            max_payload=info.max_payload,
        )

    async def _poll(self, session: PollingSession, extensions: Mapping[str, Any]) -> bytes:
        try:
            future = session.poll(extensions[TRANSPORT])
        except PeerError as error:
            # As in engine.io, two polls at the same time end the session, and both get an error.
            self.node.disconnect(session.connection, error.reason, who="service")
            raise
        turn: Turn = extensions[TURN]
        turn.waiter = waiter = _Poll(session, future)
        try:
            if turn.queued:
                waiter.hurry()
            return await future
        finally:
            turn.waiter = None

    async def _post(self, session: PollingSession, receive: Receive, headers: dict[bytes, bytes]) -> bytes:
        connection = session.connection
        if headers.get(b"content-type") == BINARY_TYPE:
            raise PeerError(reasons.WRONG_CONTENT_TYPE, "a payload is text")
        limit = connection.session.max_payload
        if int(headers.get(b"content-length", b"0")) > limit:
            raise PeerError(reasons.PAYLOAD_TOO_LARGE, f"at most {limit} bytes")
        if session.posting:
            self.node.disconnect(connection, reasons.DUPLICATE_POST, who="service")
            raise PeerError(reasons.DUPLICATE_POST)
        session.posting = True
        try:
            await session.readable()
            body = await read_body(receive, limit)
            await self._packets(session, body)
            await self._taken(connection)
        finally:
            session.posting = False
        return b"ok"

    async def _packets(self, session: PollingSession, body: bytes) -> None:
        connection, metrics = session.connection, self.metrics
        metrics.bytes_received_polling += len(body)
        most = self._max_packets or connection.session.max_payload // SMALLEST_PACKET
        try:
            packets = engineio.split_payload(body, most)
        except PeerError as error:
            self.node.disconnect(connection, error.reason, who="service", detail=error.detail)
            raise
        for number, packet in enumerate(packets, 1):
            if connection.session.state == State.CLOSED:
                break
            metrics.received_polling += 1
            if session.meter is not None and (limit := session.meter.exceeded()):
                self.node.disconnect(connection, reasons.TOO_MANY_MESSAGES, who="service", detail=limit)
                break
            self.node.receive(connection, packet)
            if number % POST_SLICE == 0:
                # Let others have a turn. The app server may be behind by now.
                self.node.burst(connection)
                await asyncio.sleep(0)
                await session.readable()
        if session.ended is not None and _is_abrupt(session.ended):
            raise PeerError(session.ended)

    async def _taken(self, connection: Connection) -> None:
        """Wait until the app server has taken the packets, for a limited time. This slows a client down to
        the app's pace, and a protocol violation can close the session before the next POST."""
        taken = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not taken.done():
                taken.set_result(None)

        connection.server.link.drained(connection, done)
        await asyncio.wait((taken,), timeout=self._admission.server.post_wait)


class _Poll:
    """`edge.http.protocol.Waiter` of a poll."""

    def __init__(self, session: PollingSession, future: asyncio.Future[bytes]) -> None:
        self._session = session
        self._future = future

    def hurry(self) -> None:
        """End the poll with a noop. Answers are sent in the order of the requests, so a POST behind a poll
        would wait until the poll gets data. The client polls again after the noop."""
        if not self._future.done():
            self._session.release()

    def lost(self) -> None:
        self._session.abandoned(self._future)
        if not self._future.done():
            self._future.set_exception(GoneError())


class _EndedError(PeerError):
    """The session has ended, and the client should reconnect. This is not counted as a refusal."""


def _over(reason: Reason) -> PeerError:
    return PeerError(reasons.UNKNOWN_SID, f"the session has ended ({reason.name}: {reason.text})")


def _is_abrupt(reason: Reason) -> bool:
    """True if the client broke a rule or is gone."""
    return (
        reason in (reasons.PING_TIMEOUT, reasons.TRANSPORT_LOST)
        or reason.number >= reasons.SLOW_CLIENT.number
    )
