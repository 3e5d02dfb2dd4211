"""The Socket.IO state of one client: its namespaces and the packets that the service must handle.

The app server runs Socket.IO for the client. The service parses only as much as it needs for three
guarantees: membership ends with a namespace, answers to the service's own acks do not reach the app, and a
packet that breaks the rules is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from moorage.wire import reasons
from moorage.wire.engineio import RS, encode_binary
from moorage.wire.errors import PeerError
from moorage.wire.socketio import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    DISCONNECT,
    MAX_NAMESPACE,
    Header,
    check_data,
    is_json,
    parse_header,
    readable_ack,
)

FIRST_SERVICE_ACK: Final = 2**30
"""Ack ids from here on belong to the service. App servers count from 0. The Java client parses ids
as signed 32-bit numbers, which limits them."""
LAST_SERVICE_ACK: Final = 2**31 - 1

CONNECTING: Final = ""
"""The value in `namespaces` until the app server has answered a CONNECT with a socket id."""

_EVENT: Final = ord("2")
_ACK: Final = b"43"

HELD_BYTES: Final = 4 * 1024 * 1024
"""A binary packet up to this size is passed on in one piece. If a link breaks between two pieces, one of
them might be sent twice, and the app server's parser would end the client. Larger packets are
split, because an event must stay far below the maximum frame of a link."""


class Forward(msgspec.Struct, gc=False, frozen=True):
    """Pass this packet on to the app server. Its attachments are appended, joined by 0x1e."""

    packet: bytes


class Connect(NamedTuple):
    """The client connects to a namespace: pass the packet on, unless a former socket continues."""

    packet: bytes
    header: Header


class Left(NamedTuple):
    """The client disconnected from a namespace: end its membership, then pass the packet on."""

    packet: bytes
    namespace: str
    was_connected: bool


class Answer(NamedTuple):
    """A complete answer to one of the service's own acks, which is not passed to the app server."""

    ack_id: int
    payload: bytes


Event = Forward | Connect | Left | Answer | None
"""None: nothing to do (yet)."""


class SocketPeer:
    """Receives the Engine.IO message packets (`4…`) and binary data of a client, in order."""

    __slots__ = (
        "_ack_id",
        "_due",
        "_held",
        "_max_attachments",
        "_max_namespaces",
        "_unfinished",
        "acknowledged",
        "namespaces",
    )

    def __init__(self, max_attachments: int, max_namespaces: int) -> None:
        self.namespaces: dict[str, str] = {}
        """Namespace -> socket id, or `CONNECTING`."""
        self._due = 0
        """Number of attachments of the last binary packet that have not arrived."""
        self._held: list[bytes] | None = None
        """A binary packet while its attachments arrive; None while none is due."""
        self._ack_id: int | None = None
        """Ack id of the binary packet, if it answers one of the service's own acks."""
        self._unfinished: tuple[str, int] | None = None
        """Namespace and id of an ack while its attachments arrive."""
        self.acknowledged: dict[str, Callable[[int], object]] | None = None
        """Called with the id of each ack of the client, by namespace. None if nobody needs to know."""
        self._max_attachments = max_attachments
        self._max_namespaces = max_namespaces

    def message(self, packet: bytes) -> Event:
        """Handle one `4…` packet. Raises `PeerError` if it breaks the protocol or a limit."""
        if self._due:
            raise PeerError(reasons.MISSING_ATTACHMENT)
        # Events are nearly all traffic, and their header need not be parsed.
        if len(packet) > 1 and packet[1] == _EVENT:
            return Forward(packet)
        if packet.startswith(_ACK) and self.acknowledged is None:
            # Usual: an ack id of at most 16 digits, and an array. Thousands of clients may answer a broadcast
            # in one turn of the loop, and `parse_header` takes 1 us longer.
            at = packet.find(b"[", 2, 2 + 16 + 1)
            if at > 2 and packet[2:at].isdigit():
                number = int(packet[2:at])
                if number < FIRST_SERVICE_ACK:
                    return Forward(packet)
                if is_json(packet[at:]):
                    return Answer(number, packet)
        header = parse_header(packet)
        if header.type == CONNECT:
            return self._connect(packet, header)
        if header.type == DISCONNECT:
            name = header.namespace
            if name not in self.namespaces:
                name = _bare(name)
            was = self.namespaces.pop(name, None)
            # Both sides may disconnect at the same time. The app server closes the whole connection if it
            # gets a DISCONNECT for a namespace that it has just ended, so that packet is dropped.
            return None if was is None else Left(packet, name, bool(was))
        if header.type in (ACK, BINARY_ACK, BINARY_EVENT):
            return self._ack_or_binary(packet, header)
        raise PeerError(reasons.BAD_SOCKETIO_PACKET, "a client may not send this type")

    def _connect(self, packet: bytes, header: Header) -> Event:
        # socket.io closes a client that connects to a namespace twice. The app server's SDK opens two
        # sockets if both packets arrive before its answer, so the service enforces the rule.
        if self.namespaces and _bare(header.namespace) in map(_bare, self.namespaces):
            raise PeerError(reasons.DUPLICATE_CONNECT, header.namespace[:MAX_NAMESPACE])
        if len(self.namespaces) >= self._max_namespaces:
            raise PeerError(reasons.TOO_MANY_NAMESPACES, f"at most {self._max_namespaces}")
        check_data(packet, header)
        self.namespaces[header.namespace] = CONNECTING
        return Connect(packet, header)

    def _ack_or_binary(self, packet: bytes, header: Header) -> Event:
        if header.attachments > self._max_attachments:
            raise PeerError(reasons.TOO_MANY_ATTACHMENTS, f"at most {self._max_attachments}")
        if self.acknowledged is not None and header.id is not None and header.type != BINARY_EVENT:
            if header.attachments:
                # If the connection ends before they are here, the app does not get the ack.
                self._unfinished = header.namespace, header.id
            else:
                self._acknowledged(header.namespace, header.id)
        ours = header.type != BINARY_EVENT and header.id is not None and header.id >= FIRST_SERVICE_ACK
        ack_id = header.id if ours else None
        if ours:
            # If the packet broke a parser, it would be that of the app server that requested the ack.
            packet = readable_ack(packet, header)
        if header.attachments:
            self._due, self._held, self._ack_id = header.attachments, [packet], ack_id
            return None
        return Forward(packet) if ack_id is None else Answer(ack_id, packet)

    def binary(self, data: bytes) -> Event:
        """Handle one decoded binary message. Raises `PeerError` (unexpected-binary)."""
        held = self._held
        if held is None:
            raise PeerError(reasons.UNEXPECTED_BINARY)
        self._due -= 1
        held.append(encode_binary(data))
        if self._due and (self._ack_id is not None or sum(map(len, held)) <= HELD_BYTES):
            return None
        self._held = [] if self._due else None
        if not self._due and self._unfinished is not None:
            self._acknowledged(*self._unfinished)
            self._unfinished = None
        payload = RS.join(held)
        return Forward(payload) if self._ack_id is None else Answer(self._ack_id, payload)

    def _acknowledged(self, namespace: str, ack_id: int) -> None:
        assert self.acknowledged is not None
        told = self.acknowledged.get(namespace)
        if told is not None:
            told(ack_id)

    @property
    def in_pieces(self) -> bool:
        """True if a part of a large binary packet has been passed on, and the rest is due."""
        return self._due > 0 and (not self._held or self._held[0][:1] == b"b")

    def connected(self, namespace: str, sid: str) -> None:
        """Note that the app server accepted the namespace."""
        if namespace not in self.namespaces:
            self._answered_without_query(namespace)
        self.namespaces[namespace] = sid

    def left(self, namespace: str) -> str | None:
        """Note that the app server ended the namespace. Returns the socket id, None if not connected."""
        sid = self.namespaces.pop(namespace, None)
        if sid is None:
            self._answered_without_query(namespace)
        return sid

    def _answered_without_query(self, namespace: str) -> None:
        """python-socketio answers `40/ns?token=x,` as `/ns`: remove the pending name with the query."""
        for name, sid in self.namespaces.items():
            if sid == CONNECTING and _bare(name) == namespace:
                del self.namespaces[name]
                return


def _bare(namespace: str) -> str:
    """The namespace without a query."""
    return namespace.partition("?")[0]
