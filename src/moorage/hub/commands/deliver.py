"""Delivery of payloads to clients. Some packets also change the service's own state: CONNECT answers,
disconnects, closes. They are handled here; ordinary emits to several clients are `fanout.Delivery`."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from typing import Final

from moorage.engine.upgrade import State
from moorage.hub.connections.clients import Clients
from moorage.hub.connections.fanout import Delivery, Encoded, push
from moorage.hub.handover.move import Move
from moorage.hub.hub import Connection
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.turns import Job
from moorage.wire import engineio, socketio
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import APP_CLOSED, APP_LET_GO, MISSED_TOO_MUCH
from moorage.wire.recovery.offsets import parts_of
from moorage.wire.socketio import Header

SPECIAL: Final = (b"40", b"41", b"44", b"1")
"""First bytes of the packets that change state in the service as well as at the client: CONNECT, DISCONNECT
and CONNECT_ERROR of Socket.IO, and the close of Engine.IO."""
_HEADED: Final = (b"40", b"41", b"44")
"""First bytes of the packets whose header is read here."""


SPECIAL_WORK: Final = 20
"""Units of work for a packet that changes the service's state, because it may end a connection."""

PIECE: Final = 250
"""Packets for one client in one step, not counting the attachments of the last one."""
LONG: Final = 2 * PIECE
"""Bytes up to which no payload `is_long`. Callers compare first, because nearly all payloads are short."""
_NOT_PLAIN: Final = (*SPECIAL, b"b")
_PLAIN: Final = frozenset((b"42", b"43"))
"""First bytes of nearly all packets. A look into a set takes half the time of `startswith`."""
EXPELLED: Final = "the app had disconnected its last socket"
"""Detail of the end of a connection."""


class SpecialDelivery(Delivery):
    """The `Delivery` of a payload that `is_special`."""

    __slots__ = ("_clients", "_steps", "work")

    def __init__(self, clients: Clients, payload: bytes) -> None:
        super().__init__(payload, clients.flusher)
        self._clients = clients
        self._steps = [_step(packet) for packet in payload.split(engineio.RS)]
        self.work = SPECIAL_WORK * len(self._steps)

    def to(self, some: Collection[Connection], *, among: int = 0) -> int:
        """`Delivery.to`."""
        everyone = tuple(some)
        for connection in everyone:
            for packet, header in self._steps:
                if connection.session.state == State.CLOSED:
                    break
                _one(self._clients, connection, packet, header)
        return len(everyone)


def is_special(payload: bytes) -> bool:
    """True if the payload holds a packet that changes the service's state (`SPECIAL`)."""
    if engineio.SEPARATOR not in payload:
        return payload.startswith(SPECIAL)
    return any(packet.startswith(SPECIAL) for packet in payload.split(engineio.RS))


def deliver_to_one(clients: Clients, connection: Connection, payload: bytes) -> None:
    """Queue `payload` for one client. Nearly all payloads are one packet of plain text. These need no
    `Encoded`, because there is no other client to share it with."""
    if engineio.SEPARATOR in payload or (payload[:2] not in _PLAIN and payload.startswith(_NOT_PLAIN)):
        if connection.hub.recovery is not None:
            _record_each(clients, connection, connection.hub.recovery, payload)
        elif engineio.SEPARATOR not in payload and not payload.startswith(b"b"):
            # Nearly always the answer to a CONNECT.
            packet, header = _step(engineio.check_text(payload))
            if connection.session.state is not State.CLOSED:
                if header is not None and header.type == socketio.CONNECT:
                    _connected(clients, connection, packet, header)
                else:
                    _one(clients, connection, packet, header)
        else:
            special = is_special(payload)
            delivery = SpecialDelivery(clients, payload) if special else Delivery(payload, clients.flusher)
            delivery.to((connection,))
        return
    if not payload.isascii():
        engineio.check_text(payload)
    if connection.tracks is not None:
        if connection.session.state == State.CLOSED:
            _deliver_away(clients, connection, payload)
            return
        recovery = connection.hub.recovery
        payload = payload if recovery is None else recovery.direct(connection, payload)
        if not payload:
            return
    connection.hub.tally.sent += 1
    if connection.outbox.framed:
        connection.outbox.push(engineio.text_frame(payload))
        clients.flusher.sent_websocket += 1
    else:
        connection.outbox.push(payload)
        clients.flusher.sent_polling += 1


def _record_each(
    clients: Clients, connection: Connection, recovery: Recovery[Connection], payload: bytes
) -> None:
    """Deliver a payload in a hub with recovery. It may hold the answer to a CONNECT and events of the socket
    that begins with it."""
    engineio.check_text(payload)
    if connection.session.state == State.CLOSED:
        _deliver_away(clients, connection, payload)
        return
    for special, packets in groupby(payload.split(engineio.RS), _is_special_packet):
        if special:
            for packet in packets:
                SpecialDelivery(clients, packet).to((connection,))
            continue
        events = engineio.RS.join(packets)
        if connection.tracks is not None:
            events = recovery.direct(connection, events)
        if events:
            Delivery(events, clients.flusher).to((connection,))


def _deliver_away(clients: Clients, former: Connection, payload: bytes) -> None:
    """An app server with quiet recovery sends to a client that is away, or has come back meanwhile."""
    recovery = former.hub.recovery
    for part in parts_of(payload):
        packets = part.packets
        if packets == engineio.CLOSE:
            clients.claims.quiet.close(former)
            continue
        try:
            header = socketio.parse_header(packets.partition(engineio.RS)[0])
        except PeerError:
            continue
        track = (former.tracks or {}).get(namespace_group(header.namespace))
        if track is None or recovery is None:
            continue
        if track.connection is not None:
            deliver_to_one(clients, track.connection, packets)
        elif header.type in (socketio.DISCONNECT, socketio.CONNECT_ERROR):
            recovery.end(track)
        else:
            recovery.direct(former, packets)


def _is_special_packet(packet: bytes) -> bool:
    return packet.startswith(SPECIAL)


def is_long(payload: bytes) -> bool:
    """True if the payload holds so many packets that they are delivered in steps."""
    return len(payload) > LONG and payload.count(engineio.SEPARATOR) >= PIECE


def delivering_to_one(clients: Clients, connection: Connection, payload: bytes) -> Job[None]:
    """`deliver_to_one` in steps. Raises `PeerError` at the first packet that cannot be encoded."""
    start = 0
    while start <= len(payload) and (connection.session.state != State.CLOSED or connection.tracks):
        end = _end_of_piece(payload, start)
        deliver_to_one(clients, connection, payload[start:end])
        start = end + 1
        yield False


def _end_of_piece(payload: bytes, start: int) -> int:
    """Index of the end of the piece that begins at `start`. A binary event stays together with its
    attachments: other commands send to the same client between two steps, and a client closes its
    connection if it receives text in place of an attachment."""
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
            # Azure's SDK sends each socket a DISCONNECT first. If it did not, the app server is being closed,
            # or the app closed only the transport; with native Socket.IO such clients reconnect.
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
    push(connection, packet, clients.flusher)


def _connected(clients: Clients, connection: Connection, packet: Encoded, header: Header) -> None:
    """A CONNECT answer. The socket joins its namespace's group and its private room here, before any later
    command can send to them. The app server joins the private room in a separate call, and the namespace's
    group not at all."""
    sid = socketio.connected_sid(packet.payload, header)
    peer = connection.session.peer
    # A client that has left the namespace in the meantime must not become a member again.
    if sid is not None and header.namespace in peer.namespaces:
        rooms = connection.hub.directory.rooms
        before = peer.namespaces[header.namespace]
        if not before:
            clients.observer.joined(connection, header.namespace)
        elif before != sid:
            # What the app server still sends to the former socket must not reach the new one.
            rooms.leave(connection, room_group(header.namespace, before))
        peer.connected(header.namespace, sid)
        connection.note = ""
        rooms.join(connection, namespace_group(header.namespace))
        rooms.join(connection, room_group(header.namespace, sid), private=True)
        if clients.cluster is not None:
            _hold_until_known(clients, connection, namespace_group(header.namespace))
        if connection.hub.recovery is not None:
            answer = clients.claims.answered(connection, packet.payload, header, sid)
            if answer is None:
                clients.disconnect(connection, MISSED_TOO_MUCH, who="service")
                return
            packet = Encoded(answer)
    _push(clients, connection, packet)


def _hold_until_known(clients: Clients, connection: Connection, group: str) -> None:
    """Other nodes may not know yet that the namespace has a client here. This one is told that it is
    connected once they do, so that every emit from then on reaches it."""
    members, hub = clients.members, connection.hub.name
    if members is not None and members.is_pending(hub, (group,)):
        connection.outbox.hold()
        members.when_visible(hub, (group,), connection.outbox.release)


def _disconnected(clients: Clients, connection: Connection, packet: Encoded, header: Header) -> None:
    """A DISCONNECT from the app server. One with `{"close":…}` comes from `disconnectSockets` of Azure's SDK:
    the data is meant for the service, not for the client, and the app's own socket waits for the notification
    that the client has left."""
    if not connection.session.peer.namespaces.get(header.namespace):
        # The client is not in the namespace, or only connecting: the packet is for its former socket.
        return
    close = socketio.closes_engine(packet.payload, header)
    if close is None:
        _leave(clients, connection, header.namespace)
        if isinstance(connection.channel, Move):
            connection.channel.expelled(header.namespace)
    else:
        expel(clients, connection, header.namespace, close=close)


def expel(clients: Clients, connection: Connection, namespace: str, *, close: bool) -> bool:
    """Take a client's socket out of a namespace on behalf of somebody other than its app server. Client and
    app server are notified. Returns False if the socket does not exist. `close` ends the connection too, and
    with it the client's other sockets. Each socket gets its own DISCONNECT, as in socket.io; otherwise the
    client would take the end of its connection for an accident and reconnect."""
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
    peer = connection.session.peer
    peer.left(namespace)
    if not any(peer.namespaces.values()):
        # Stock clients close the connection then, which looks as if they had wanted to.
        connection.note = EXPELLED
    clients.leave_namespace(connection, namespace, was_connected=True)
    plain = socketio.disconnect_packet(namespace)
    _push(clients, connection, Encoded(plain))
    return plain
