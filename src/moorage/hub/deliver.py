"""Delivery of payloads that concern the service too: CONNECT answers, disconnects, closes.

An ordinary emit takes `fanout.fan_out` and never comes here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from moorage.engine.upgrade import State
from moorage.hub.fanout import Encoded, fan_out, metrics_of
from moorage.wire import engineio, socketio
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.reasons import APP_CLOSED

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.node import Node

_HEADED: Final = (b"40", b"41", b"44")
"""Packets whose header is read here."""


def deliver(node: Node, to: Collection[Connection], payload: bytes) -> int:
    """Queue `payload` for all in `to`; how many. Raises `PeerError` where it cannot be encoded."""
    if not to:
        return 0
    # A client must close a WebSocket on which broken text comes: one bad emit would cost them all.
    encoded = Encoded(engineio.check_text(payload))
    if not encoded.is_special:
        # Encoding errors must come before the first recipient has got anything.
        if encoded.packets > 1 or payload[:1] == b"b":
            _ = encoded.frames
        fan_out(encoded, to, node.flusher, node.metrics)
        return len(to)
    # Here, too, nothing is done where not all can be done.
    _ = encoded.frames
    packets = payload.split(engineio.RS)
    for packet in packets:
        if packet.startswith(_HEADED):
            socketio.parse_header(packet)
    everyone = tuple(to)
    for connection in everyone:
        for packet in packets:
            if connection.session.state == State.CLOSED:
                break
            _one(node, connection, packet)
    return len(everyone)


def _one(node: Node, connection: Connection, packet: bytes) -> None:
    if packet == engineio.CLOSE:
        node.disconnect(connection, APP_CLOSED, who="app")
    elif packet[:2] == b"40":
        _connected(node, connection, packet)
    elif packet[:2] == b"41":
        _disconnected(node, connection, packet)
    else:
        if packet[:2] == b"44":
            namespace = socketio.parse_header(packet).namespace
            was = connection.session.peer.left(namespace)
            node.leave_namespace(connection, namespace, was_connected=bool(was))
        _push(node, connection, packet)


def _push(node: Node, connection: Connection, packet: bytes) -> None:
    encoded = Encoded(packet)
    connection.outbox.push(encoded)
    metrics_of(connection.outbox, encoded, node.metrics)


def _connected(node: Node, connection: Connection, packet: bytes) -> None:
    """A CONNECT answer: the socket joins its namespace's group and its private room here, before
    anything later can be sent to them. The app server's own join of the private room comes as a
    separate call, and of the namespace's group not at all."""
    header = socketio.parse_header(packet)
    sid = socketio.connected_sid(packet, header)
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
    _push(node, connection, packet)


def _disconnected(node: Node, connection: Connection, packet: bytes) -> None:
    """`41` from the app side. With `{"close":…}` it comes from `disconnectSockets`: the data is
    ours, not the client's, and the app's own socket waits to hear that the client has left."""
    header = socketio.parse_header(packet)
    peer = connection.session.peer
    if not peer.namespaces.get(header.namespace):
        # Not in the namespace. The SDK sends this to the private room after every socket's end;
        # and for a client that is only connecting, it is meant for its former socket.
        return
    peer.left(header.namespace)
    node.leave_namespace(connection, header.namespace, was_connected=True)
    plain = socketio.disconnect_packet(header.namespace)
    _push(node, connection, plain)
    close = socketio.closes_engine(packet, header)
    if close is True:
        node.disconnect(connection, APP_CLOSED, who="app")
    elif close is False:
        connection.server.link.forward(connection, plain)
