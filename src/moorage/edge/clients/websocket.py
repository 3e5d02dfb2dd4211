"""Clients over WebSocket, from the start or by upgrade from polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from picows import WSFrame, WSMsgType, WSTransport

from moorage.edge.clients.admission import Admission
from moorage.edge.http.takeover import MAX_READ, ClientProtocol, descriptor_of, tcp_of
from moorage.edge.http.upgrade import UpgradeRequest
from moorage.edge.limits.clients import Meter
from moorage.edge.relay.relay import Relay
from moorage.edge.sockets import Socket, Sweep, reason_of
from moorage.edge.unconfirmed import unconfirmed
from moorage.engine.upgrade import State, Step
from moorage.hub.connections.bursts import BURST
from moorage.hub.flushes import PACKETS
from moorage.hub.hub import Connection
from moorage.hub.node import Node
from moorage.hub.ports import RefusedError
from moorage.wire import engineio, reasons
from moorage.wire.deflate.messages import inflate
from moorage.wire.deflate.negotiation import negotiate
from moorage.wire.errors import PeerError
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import Reason, stays_away

# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG


INFLATED: Final = 4096
"""Bytes of decompressed messages that count as one more frame of the same read."""


class ClientSocket(Socket):
    """One client's WebSocket; a `hub.ports.ClientSink` once the session uses it."""

    __slots__ = (
        "_acceptor", "_connection", "_full", "_is_packed", "_more", "_peer_closed", "_ping", "_tcp", "packs",
        "probing",
    )  # fmt: skip

    framed = True
    transport = "websocket"
    max_packets = 0

    def __init__(self, acceptor: WebSocketAcceptor, connection: Connection, *, probing: bool) -> None:
        super().__init__()
        self._acceptor = acceptor
        self._connection = connection
        self._tcp: asyncio.Transport
        self._peer_closed = False
        self._full = False
        """True while the client reads too slowly."""
        self._more = 0
        """Number of frames in this read before the last one."""
        self._ping: bytes | None = None
        """The payload of the last ping without an answer."""
        self.packs = False
        """True if compression was negotiated."""
        self._is_packed = False
        """True while a compressed message arrives in fragments."""
        self.probing = probing
        """True during an upgrade: the session uses polling until this socket receives `5`."""

    # -- from the client ------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """picows has answered 101, or has started again (`ClientProtocol.shrink`)."""
        self._transport = transport
        self._tcp = tcp_of(transport)
        outbox = self._connection.outbox
        if not self.probing and outbox.sink is not self:
            # Attach before the client's first packets are read. They may have come with its request, and one
            # that ends the session must end this socket.
            outbox.attach(self, ready=not self._full)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame. Nearly all are whole text messages of an open session."""
        if (
            frame.msg_type == _TEXT
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3 or self.probing)
            and self._assembler is None
        ):
            data = frame.get_payload_as_bytes()
            acceptor = self._acceptor
            metrics = acceptor.metrics
            metrics.received_websocket = count = metrics.received_websocket + 1
            metrics.bytes_received_websocket += len(data)
            if len(data) > MAX_READ:
                self._large(frame)
            acceptor.node.receive(self._connection, data)
            if not count % PACKETS:
                acceptor.node.flushes.now()
        else:
            try:
                self._unusual(frame, frame.msg_type)
            except PeerError as error:
                self._fail(error)
        if not frame.last_in_buffer:
            self._more += 1
        elif self._more:
            more, self._more = self._more, 0
            if self._ping is not None:
                self._send_pong()
            if more >= BURST:
                self._acceptor.node.burst(self._connection)

    def _send_pong(self) -> None:
        payload, self._ping = self._ping, None
        transport = self._transport
        if payload is None or transport is None:
            return
        # RFC 6455, 5.5.1: nothing may follow a close frame.
        if not (transport.is_disconnected or transport.is_close_frame_sent):
            transport.send_pong(payload)

    def _large(self, frame: WSFrame) -> None:
        """picows' buffer has grown for this frame: free it."""
        if frame.tail_size == 0:
            cast(ClientProtocol, self._tcp.get_protocol()).shrink()

    def _unusual(self, frame: WSFrame, kind: WSMsgType) -> None:
        if frame.payload_size > MAX_READ:
            self._large(frame)
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            if not (self.packs and kind in (_TEXT, _BINARY)) or frame.rsv2 or frame.rsv3:
                raise PeerError(reasons.BAD_FRAME, "an extension that was not negotiated")
            if frame.fin and self._assembler is None:
                self._message(kind, self._inflated(frame.get_payload_as_bytes()))
                return
            self._is_packed = True
        if kind == _CLOSE:
            self._peer_closed = True
            self._ended(reasons.CLIENT_CLOSED)
            return
        if kind in (_PING, _PONG):
            if kind == _PING and not self._full:
                # RFC 6455, 5.5.3: of several pings only the last one needs an answer.
                self._ping = frame.get_payload_as_bytes()
                if frame.last_in_buffer:
                    self._send_pong()
            return
        if kind == _BINARY and frame.fin and self._assembler is None:
            self._message(kind, frame.get_payload_as_bytes())
            return
        message = self._join(frame, self._connection.session.max_payload)
        if message is not None:
            kind, data = message
            is_packed, self._is_packed = self._is_packed, False
            self._message(kind, self._inflated(data) if is_packed else data)

    def _inflated(self, data: bytes) -> bytes:
        """A compressed message. Others have a turn after a read that has become long."""
        found = inflate(data, self._connection.session.max_payload)
        self._more += len(found) // INFLATED
        return found

    def _message(self, kind: WSMsgType, data: bytes) -> None:
        metrics = self._acceptor.metrics
        metrics.received_websocket += 1
        metrics.bytes_received_websocket += len(data)
        if self.probing:
            self._probe(data if kind == _TEXT else b"")
        elif kind == _TEXT:
            self._acceptor.node.receive(self._connection, data)
        else:
            self._acceptor.node.receive_binary(self._connection, data)

    def _probe(self, data: bytes) -> None:
        """The upgrade handshake: `2probe` -> `3probe`, then `5`."""
        assert self._transport is not None
        if self._transport.is_close_frame_sent:
            # Refused already: this frame came together with the refused one.
            return
        if data == engineio.PROBE:
            self._transport.send(_TEXT, engineio.PROBE_ANSWER)
            self._acceptor.release_poll(self._connection)
        elif data == engineio.UPGRADE:
            self._upgraded()
        else:
            raise PeerError(reasons.BAD_REQUEST, "not an upgrade packet")

    def _upgraded(self) -> None:
        """The session uses this WebSocket from now on."""
        connection = self._connection
        if connection.session.step(Step.UPGRADE_DONE):
            self._leave_probing()
            self._acceptor.upgraded(connection)
            connection.outbox.attach(self, ready=not self._full)
            self._acceptor.node.upgraded(connection)
        elif connection.session.state == State.CLOSED:
            # The session ended during the upgrade. The client has stopped polling, so the remaining
            # payloads and the end are sent here.
            self._leave_probing()
            reason, unsaid = self._acceptor.farewell(connection)
            self.close(reason, [engineio.frames(payload) for payload in unsaid])
        else:
            raise PeerError(reasons.BAD_REQUEST, "no upgrade is under way")

    def _leave_probing(self) -> None:
        self.probing = False
        self._acceptor.sweep.forget(self)

    def _fail(self, error: PeerError) -> None:
        if self.probing:
            # Only the upgrade has failed. The session continues by polling.
            self._acceptor.admission.log.request_refused("client", error, "")
            self._send_close(self._acceptor.sweep, error.reason)
        else:
            self._acceptor.node.disconnect(self._connection, error.reason, who="service", detail=error.detail)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        # Its descriptor may be another connection's soon.
        self.pause_writing()
        self._ended(reason_of(transport, reasons.TRANSPORT_LOST))
        self._acceptor.sweep.forget(self)

    def _ended(self, reason: Reason) -> None:
        if self.probing:
            self._leave_probing()
            self._connection.session.step(Step.UPGRADE_FAILED)
            self._send_close(self._acceptor.sweep, reason)
        else:
            who = "client" if reason in (reasons.CLIENT_CLOSED, reasons.TRANSPORT_LOST) else "service"
            self._acceptor.node.disconnect(self._connection, reason, who=who)  # type: ignore[arg-type]

    # -- to the client: hub.ports.ClientSink ----------------------------------------------------

    @property
    def write(self) -> Callable[[bytes], None]:
        """The TCP transport's own method: finished frames need no call in between."""
        return self._tcp.write

    @property
    def descriptor(self) -> int:
        """The TCP socket, or -1 with TLS."""
        return -1 if self._transport is None else descriptor_of(self._transport)

    def pause_writing(self) -> None:
        """The client reads too slowly: its outbox gathers from now on."""
        self._full = True
        if self._connection.outbox.sink is self:
            self._connection.outbox.block()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._full = False
        if self._connection.outbox.sink is self:
            self._connection.outbox.unblock()

    def pause_reading(self) -> None:
        """The app server is too slow for this client."""
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """The app server has caught up."""
        self._tcp.resume_reading()

    def progress(self) -> int:
        """The number of bytes that the client has not confirmed."""
        return unconfirmed(self._tcp)

    def close(self, reason: Reason, rest: list[bytes]) -> None:
        """End the session on this socket."""
        if reason in (reasons.SLOW_CLIENT, reasons.TRANSPORT_LOST) or self._transport is None:
            # The client reads nothing: a close frame would wait behind the data before it.
            if self._transport is not None:
                self._transport.disconnect(graceful=False)
            return
        if not self._peer_closed:
            if stays_away(reason) and reason.number < reasons.BAD_FRAME.number:
                rest = [*rest, engineio.text_frame(engineio.CLOSE)]
            at = 0
            while at < len(rest):
                chunk, at = engineio.join_chunk(rest, at)
                self._acceptor.metrics.bytes_sent_websocket += len(chunk)
                self.write(chunk)
        self._send_close(self._acceptor.sweep, reason)

    def expired(self) -> None:
        """An upgrade that was not finished in time, or a client that did not end a closed connection."""
        if self.probing and self._transport is not None and not self._transport.is_close_frame_sent:
            self._fail(PeerError(reasons.UPGRADE_TIMEOUT))
        self.abort()


class MeteredSocket(ClientSocket):
    """A WebSocket whose messages are counted. Others have no check for each message."""

    __slots__ = ("_meter",)

    def __init__(
        self, acceptor: WebSocketAcceptor, connection: Connection, meter: Meter, *, probing: bool
    ) -> None:
        super().__init__(acceptor, connection, probing=probing)
        self._meter = meter

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame, control frames included."""
        limit = self._meter.exceeded() if self._connection.session.state != State.CLOSED else ""
        if limit:
            self._fail(PeerError(reasons.TOO_MANY_MESSAGES, limit))
        else:
            super().on_ws_frame(transport, frame)


class WebSocketAcceptor:
    """Accepts or refuses the upgrade requests of clients."""

    def __init__(
        self,
        admission: Admission,
        relay: Relay,
        *,
        release_poll: Callable[[Connection], None],
        upgraded: Callable[[Connection], None],
        farewell: Callable[[Connection], tuple[Reason, list[bytes]]],
        clock: Callable[[], float],
    ) -> None:
        self.admission = admission
        self._relay = relay
        self.node: Node = admission.node
        self.metrics = admission.log.metrics
        self.release_poll = release_poll
        """Answers a waiting poll of this session at once, with a noop."""
        self.upgraded = upgraded
        """The session has left polling."""
        self.farewell = farewell
        """For a session that ended during its upgrade: why, and the payloads that the client has not
        received."""
        self.sweep = Sweep(clock)

    def upgrade(self, request: UpgradeRequest) -> None:
        """Handle a client's request for a WebSocket."""
        origin = request.header("origin")
        sid: str | None = None
        try:
            hub = self.admission.hub_of(request.path)
            query = request.query
            self.admission.check_origin(origin)
            subprotocol = request.first_protocol
            sid = self.admission.check_query(query, "websocket")
            if sid is not None:
                self._upgrade_session(request, hub, sid, subprotocol)
                return
            handshake = self.admission.handshake(
                hub, request.scheme, query, request.fields, target=request.target, address=request.address
            )
            opening = _Opening(self, request, subprotocol)
            opening.connection = self.node.connect(hub, handshake, opening)
        except PeerError as error:
            # No local variable may hold the callback: with the error's traceback it would be a circle.
            if error.reason is not reasons.UNKNOWN_SID or not self._relay.upgrade(
                sid, request, partial(self._refuse, request, error, origin)
            ):
                self._refuse(request, error, origin)

    def _refuse(self, request: UpgradeRequest, error: PeerError, origin: str) -> None:
        if not isinstance(error, RefusedError):
            self.admission.log.request_refused("client", error, request.path)
        request.refuse(error, tuple(self.admission.cors_headers(origin)))

    def _upgrade_session(self, request: UpgradeRequest, hub_name: str, sid: str, subprotocol: str) -> None:
        hub = self.node.hub(hub_name)
        connection = hub.directory.connections.get(sid) if hub is not None else None
        if connection is None:
            raise PeerError(reasons.UNKNOWN_SID)
        if connection.session.state != State.POLLING:
            raise PeerError(reasons.DUPLICATE_UPGRADE)
        connection.session.step(Step.UPGRADE_ASKED)
        socket = self.socket(connection, request, probing=True)
        self.sweep.watch(socket, self.admission.server.upgrade_timeout)
        extension = self.extension(request, socket)
        limit = connection.session.max_payload
        request.accept(socket, max_frame=limit, subprotocol=subprotocol, extension=extension)

    def socket(self, connection: Connection, request: UpgradeRequest, *, probing: bool) -> ClientSocket:
        """The listener of a new WebSocket."""
        meter = self.admission.meter(connection, request.fields, request.address)
        if meter is None:
            return ClientSocket(self, connection, probing=probing)
        return MeteredSocket(self, connection, meter, probing=probing)

    def extension(self, request: UpgradeRequest, socket: ClientSocket) -> str:
        """Agree to compression, if it is on and the client offers it. Returns the header's value."""
        if not self.admission.server.compression.enabled:
            return ""
        found = negotiate(request.extensions)
        socket.packs = bool(found)
        return found

    def tick(self, now: float) -> None:
        """End upgrades that hang, and closed sockets that do not go away."""
        self.sweep.tick(now)


class _Opening:
    """`hub.ports.Opening` of a WebSocket without a session. The 101 waits for the app server's decision, so
    that a refusal can be an HTTP status."""

    transport = "websocket"

    def __init__(self, acceptor: WebSocketAcceptor, request: UpgradeRequest, subprotocol: str) -> None:
        self._acceptor = acceptor
        self._request = request
        self._subprotocol = subprotocol
        self.connection: Connection | None = None
        request.on_lost = self._lost

    def _lost(self) -> None:
        if self.connection is not None:
            self._acceptor.node.abandon(self.connection)

    def accepted(self, connection: Connection, info: OpenInfo) -> None:
        connection.session.step(Step.OPENED_WEBSOCKET)
        socket = self._acceptor.socket(connection, self._request, probing=False)
        packet = engineio.open_packet(
            connection.id,
            upgrades=False,
            ping_interval=info.ping_interval,
            ping_timeout=info.ping_timeout,
            max_payload=info.max_payload,
        )
        self._request.accept(
            socket,
            max_frame=info.max_payload,
            first=engineio.text_frame(packet),
            subprotocol=self._subprotocol,
            extension=self._acceptor.extension(self._request, socket),
        )

    def refused(self, reason: Reason, detail: str) -> None:
        error, admission = PeerError(reason, detail), self._acceptor.admission
        self._request.refuse(error, tuple(admission.cors_headers(self._request.header("origin"))))
