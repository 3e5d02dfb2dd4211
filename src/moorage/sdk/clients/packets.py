"""The meaning of a client's packets. No I/O, and no state but the pieces of an event that is not complete.
`read` turns a packet into an `Event`, `Ack`, `Connect` or `Leave`; the executors decide when it is read and
run the handlers. Everything raises `ValueError` or `PeerError` for packets that break the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from moorage.sdk.clients.members import Member, Stage
from moorage.sdk.payload import RS, Codec, header_of
from moorage.wire.socketio import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    DISCONNECT,
    EVENT,
    Header,
    disconnect_packet,
)

RESERVED: Final = frozenset({"*", "connect", "connect_error", "disconnect"})
"""Event names that no client may send: they would run the handlers of the same names. A catch-all handler
would take the client's first argument for its socket id."""


class Event(NamedTuple):
    """`data` begins with the event's name."""

    namespace: str
    id: int | None
    data: list[Any]


class Ack(NamedTuple):
    """The answer to an event of the app server."""

    namespace: str
    id: int | None
    data: list[Any]


class Connect(NamedTuple):
    """A CONNECT; `text` is the packet as python-socketio takes it."""

    namespace: str
    auth: Any
    text: str


class Leave(NamedTuple):
    """A DISCONNECT of one namespace."""

    namespace: str


Plan = Event | Ack | Connect | Leave


class Receiver(Protocol):
    """The client that has sent the packets."""

    incoming: list[bytes]


def complete(client: Receiver, payload: bytes) -> Iterator[bytes]:
    """The packets in `payload`, each with its attachments. An event whose attachments are not all here waits
    in `client.incoming`."""
    for piece in payload.split(RS):
        parts = client.incoming
        if (piece[:1] == b"b") != bool(parts):
            raise ValueError("an attachment is missing, or came where none was announced")
        parts.append(piece)
        if len(parts) > header_of(parts[0]).attachments:
            client.incoming = []
            yield RS.join(parts)


class PacketReader:
    """Reads with the codec of one `socketio` server."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def read(self, packet: bytes) -> Plan:
        """The request in one packet and its attachments."""
        if packet[:2] == b"42":
            # Usually an event in `/`: its header is read without the machinery for all others.
            start = packet.find(b"[", 2, 20)
            if start == 2:
                return _event("/", None, self._codec.loads(memoryview(packet)[2:]))
            if start > 0 and (number := packet[2:start]).isdigit():
                return _event("/", int(number), self._codec.loads(memoryview(packet)[start:]))
        header = header_of(packet)
        kind, namespace = header.type, header.namespace
        if kind in (EVENT, BINARY_EVENT):
            return _event(namespace, header.id, self._data(packet, header))
        if kind in (ACK, BINARY_ACK):
            return Ack(namespace, header.id, self._data(packet, header))
        if kind == CONNECT:
            body = memoryview(packet)[header.body :]
            return Connect(namespace, self._codec.loads(body) if body else None, packet[1:].decode())
        if kind == DISCONNECT:
            return Leave(namespace)
        raise ValueError(f"a packet of type {kind}")

    def _data(self, packet: bytes, header: Header) -> list[Any]:
        if header.type in (BINARY_EVENT, BINARY_ACK):
            return self._codec.arguments(packet)
        data = self._codec.loads(memoryview(packet)[header.body :])
        if not isinstance(data, list):
            raise ValueError("the data is not a list of arguments")
        return data


def _event(namespace: str, ack_id: int | None, data: Any) -> Event:
    if not isinstance(data, list):
        raise ValueError("the data is not a list of arguments")
    if not data or not isinstance(data[0], (str, int)) or data[0] in RESERVED:
        raise ValueError(f"not an event name: {data[:1]!r:.100}")
    return Event(namespace, ack_id, data)


def refusal(member: Member | None, *, failed: bool, always_connect: bool) -> str | None:
    """The message that refuses a socket after its `connect` handler; None for a socket that stays. A socket
    that is still connecting then is refused. With `always_connect` the answer came before the handler, so
    after a handler that failed the socket is disconnected, as after one that returns False."""
    if member is None:
        return None
    if member.stage is Stage.CONNECTING:
        head = "" if member.namespace == "/" else f"{member.namespace},"
        return f'4{head}{{"message":"Unable to connect"}}'
    if failed and always_connect and member.stage is Stage.CONNECTED:
        return disconnect_packet(member.namespace)[1:].decode()
    return None
