"""Delivery of payloads that concern the service too: CONNECT answers, disconnects, closes.

An ordinary emit takes `fanout.fan_out` and never comes here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from moorage.engine.upgrade import State
from moorage.hub.clients import Clients
from moorage.hub.connection import Connection
from moorage.hub.fanout import SPECIAL, Encoded, fan_out, push
from moorage.hub.turns import Job
from moorage.wire import engineio, socketio
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import API_BAD_PAYLOAD, APP_CLOSED, APP_LET_GO
from moorage.wire.socketio import Header

_HEADED: Final = (b"40", b"41", b"44")
"""Packets whose header is read here."""


SPECIAL_WORK: Final = 20
"""Units of work for a packet that concerns the service: it may end a connection."""

PIECE: Final = 250
"""Packets for one client in one step. The attachments of the last one come on top."""
_NOT_PLAIN: Final = (*SPECIAL, b"b")


class Delivery:
    """A payload, checked, encoded and built once for all who get it, at once or part by part. Raises
    `PeerError` where it cannot be encoded: that must come before the first recipient has got anything."""

    __slots__ = ("_clients", "_encoded", "_steps", "work")

    def __init__(self, clients: Clients, payload: bytes) -> None:
        self._clients = clients
        # A client must close a WebSocket on which broken text comes: one bad emit would cost them all.
        self._encoded = encoded = Encoded(engineio.check_text(payload))
        self._steps: list[tuple[Encoded, Header | None]] | None = None
        if encoded.packets > socketio.MAX_EMIT:
            raise PeerError(API_BAD_PAYLOAD, f"at most {socketio.MAX_EMIT} packets for several clients")
        self.work = 1
        """Units of work (`hub.turns`) for each recipient."""
        if encoded.is_special:
            self._steps = [_step(packet) for packet in payload.split(engineio.RS)]
            self.work = SPECIAL_WORK * len(self._steps)
        elif encoded.packets > 1 or payload[:1] == b"b":
            _ = encoded.frames

    def to(self, some: Collection[Connection], *, among: int = 0) -> int:
        """Queue it for all in `some`; returns how many. `among`: the number of all recipients, where others
        get it in other calls."""
        if not some:
            return 0
        if self._steps is not None:
            return self._special(tuple(some), self._steps)
        fan_out(self._encoded, some, self._clients.flusher, self._clients.metrics, among=among)
        return len(some)

    def _special(self, everyone: tuple[Connection, ...], steps: list[tuple[Encoded, Header | None]]) -> int:
        for connection in everyone:
            for packet, header in steps:
                if connection.session.state == State.CLOSED:
                    break
                _one(self._clients, connection, packet, header)
        return len(everyone)


def deliver(clients: Clients, to: Collection[Connection], payload: bytes) -> int:
    """Queue `payload` for all in `to`; how many. Raises what `Delivery` raises."""
    return Delivery(clients, payload).to(to) if to else 0


def deliver_to_one(clients: Clients, connection: Connection, payload: bytes) -> None:
    """`deliver` to one client. An answer or an event of plain text, which nearly all are, needs no
    `Encoded`: there is nobody to share it with."""
    if engineio.SEPARATOR in payload or payload.startswith(_NOT_PLAIN):
        deliver(clients, (connection,), payload)
        return
    if not payload.isascii():
        engineio.check_text(payload)
    if connection.outbox.framed:
        connection.outbox.push(engineio.text_frame(payload))
        clients.metrics.sent_websocket += 1
    else:
        connection.outbox.push(payload)
        clients.metrics.sent_polling += 1


def is_long(payload: bytes) -> bool:
    """Holds so many packets that they are delivered in steps."""
    return len(payload) > 2 * PIECE and payload.count(engineio.SEPARATOR) >= PIECE


def delivering_to_one(clients: Clients, connection: Connection, payload: bytes) -> Job[None]:
    """`deliver_to_one` in steps. A packet that cannot be encoded ends it, and raises `PeerError`."""
    start = 0
    while start <= len(payload) and connection.session.state != State.CLOSED:
        end = _end_of_piece(payload, start)
        deliver_to_one(clients, connection, payload[start:end])
        start = end + 1
        yield False


def _end_of_piece(payload: bytes, start: int) -> int:
    """Where the piece that begins at `start` ends. A binary event stays together with its attachments: others
    send to the same client between two steps, and a client closes on text where an attachment is due."""
    end = start - 1
    for count in range(1, PIECE + socketio.MAX_EMIT):
        end = payload.find(engineio.RS, end + 1)
        if end < 0:
            return len(payload)
        if count >= PIECE and not payload.startswith(b"b", end + 1):
            break
    return end


def _step(packet: bytes) -> tuple[Encoded, Header | None]:
    encoded = Encoded(packet)
    _ = encoded.frames
    return encoded, socketio.parse_header(packet) if packet.startswith(_HEADED) else None


def _one(clients: Clients, connection: Connection, packet: Encoded, header: Header | None) -> None:
    if header is None:
        if packet.payload == engineio.CLOSE:
            # Azure's SDK tells each socket of a disconnect first. Without, the app server is being closed,
            # or the app closed the transport alone; natively such clients come back.
            left = any(connection.session.peer.namespaces.values())
            clients.disconnect(connection, APP_LET_GO if left else APP_CLOSED, who="app")
        else:
            _push(clients, connection, packet)
    elif header.type == socketio.CONNECT:
        _connected(clients, connection, packet, header)
    elif header.type == socketio.DISCONNECT:
        _disconnected(clients, connection, packet, header)
    else:
        was = connection.session.peer.left(header.namespace)
        clients.leave_namespace(connection, header.namespace, was_connected=bool(was))
        _push(clients, connection, packet)


def _push(clients: Clients, connection: Connection, packet: Encoded) -> None:
    push(connection.outbox, packet, clients.metrics)


def _connected(clients: Clients, connection: Connection, packet: Encoded, header: Header) -> None:
    """A CONNECT answer: the socket joins its namespace's group and its private room here, before
    anything later can be sent to them. The app server's own join of the private room comes as a
    separate call, and of the namespace's group not at all."""
    sid = socketio.connected_sid(packet.payload, header)
    peer = connection.session.peer
    # A client that has left the namespace meanwhile must not become a member again.
    if sid is not None and header.namespace in peer.namespaces:
        rooms = connection.hub.directory.rooms
        before = peer.namespaces[header.namespace]
        if not before:
            connection.hub.sockets += 1
        elif before != sid:
            # Whatever the app server still sends to its former socket must not reach the new one.
            rooms.leave(connection, room_group(header.namespace, before))
        peer.connected(header.namespace, sid)
        rooms.join(connection, namespace_group(header.namespace))
        rooms.join(connection, room_group(header.namespace, sid))
    _push(clients, connection, packet)


def _disconnected(clients: Clients, connection: Connection, packet: Encoded, header: Header) -> None:
    """`41` from the app side. With `{"close":…}` it comes from `disconnectSockets` of Azure's SDK: the
    data is ours, not the client's, and the app's own socket waits to hear that the client has left."""
    if not connection.session.peer.namespaces.get(header.namespace):
        # Not in the namespace, or only connecting: it is meant for the client's former socket.
        return
    close = socketio.closes_engine(packet.payload, header)
    if close is None:
        _leave(clients, connection, header.namespace)
    else:
        expel(clients, connection, header.namespace, close=close)


def expel(clients: Clients, connection: Connection, namespace: str, *, close: bool) -> bool:
    """Somebody who does not serve this client takes its socket out of a namespace: client and app
    server are told; False if it is not there. `close` ends the connection as well, and with it the
    client's other sockets: each is told by itself, as socket.io does it, or a client would take the
    end of its connection for an accident and come back."""
    namespaces = connection.session.peer.namespaces
    if connection.session.state == State.CLOSED or not namespaces.get(namespace):
        return False
    server = connection.server
    for name in (namespace, *(n for n, sid in namespaces.items() if sid and n != namespace and close)):
        plain = _leave(clients, connection, name)
        if server.can.told_of_expelled:
            server.peer.left(connection, name)
        elif not close:
            server.link.forward(connection, plain)
    if close:
        clients.disconnect(connection, APP_CLOSED, who="app")
    return True


def _leave(clients: Clients, connection: Connection, namespace: str) -> bytes:
    connection.session.peer.left(namespace)
    clients.leave_namespace(connection, namespace, was_connected=True)
    plain = socketio.disconnect_packet(namespace)
    _push(clients, connection, Encoded(plain))
    return plain
