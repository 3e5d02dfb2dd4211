"""One client's Socket.IO side: which namespaces it is in, and what its packets mean for us.

The service does not run Socket.IO for the client, the app server does. It reads just enough to
keep three promises: membership ends with a namespace, answers to the service's own acks do not
reach the app, and a peer that breaks the packet rules is stopped here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from moorage.wire.engineio import RS, encode_binary
from moorage.wire.errors import PeerError
from moorage.wire.reasons import (
    BAD_SOCKETIO_PACKET,
    DUPLICATE_CONNECT,
    MISSING_ATTACHMENT,
    TOO_MANY_ATTACHMENTS,
    TOO_MANY_NAMESPACES,
    UNEXPECTED_BINARY,
)
from moorage.wire.socketio import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    DISCONNECT,
    MAX_NAMESPACE,
    Header,
    check_data,
    parse_header,
    readable_ack,
)

FIRST_SERVICE_ACK: Final = 2**30
"""Ack ids from here on are the service's own (app servers count from 0; the Java client reads ids
as signed 32-bit numbers, hence not higher)."""
LAST_SERVICE_ACK: Final = 2**31 - 1

CONNECTING: Final = ""
"""Stands in `namespaces` for the socket id until the app server has answered a CONNECT."""

_EVENT: Final = ord("2")

HELD_BYTES: Final = 4 * 1024 * 1024
"""A binary packet up to this size is passed on whole. In parts, a link that breaks between two of
them could bring one twice, and the app server's parser would end the client for it. Larger ones go
in pieces: one event must stay far below what a link takes."""


class Forward(msgspec.Struct, gc=False, frozen=True):
    """Pass this packet on to the app server; its attachments follow it, joined by 0x1e."""

    packet: bytes


class Left(NamedTuple):
    """The client left a namespace: end its membership, then pass the packet on."""

    packet: bytes
    namespace: str
    was_connected: bool


class Answer(NamedTuple):
    """A complete answer to one of the service's own acks: not for the app server."""

    ack_id: int
    payload: bytes


Event = Forward | Left | Answer | None
"""None: nothing to do (yet)."""


class SocketPeer:
    """Fed with Engine.IO message packets (`4…`) and binary data in the client's order."""

    __slots__ = ("_ack_id", "_due", "_held", "_max_attachments", "_max_namespaces", "namespaces")

    def __init__(self, max_attachments: int, max_namespaces: int) -> None:
        self.namespaces: dict[str, str] = {}
        """Namespace -> socket id, or `CONNECTING`."""
        self._due = 0
        """Attachments that the last binary packet announced and that are still to come."""
        self._held: list[bytes] | None = None
        """A binary packet, while its attachments come in; None while none is due."""
        self._ack_id: int | None = None
        """Set where it is an answer to one of our acks."""
        self._max_attachments = max_attachments
        self._max_namespaces = max_namespaces

    def message(self, packet: bytes) -> Event:
        """One `4…` packet. Raises `PeerError` where it breaks the protocol or a limit."""
        if self._due:
            raise PeerError(MISSING_ATTACHMENT)
        # Events are nearly all traffic and need no look at their header.
        if len(packet) > 1 and packet[1] == _EVENT:
            return Forward(packet)
        header = parse_header(packet)
        if header.type == CONNECT:
            return self._connect(packet, header)
        if header.type == DISCONNECT:
            name = header.namespace
            if name not in self.namespaces:
                name = _bare(name)
            was = self.namespaces.pop(name, None)
            # Both sides may leave at once. The app server closes the whole connection for a goodbye
            # in a namespace that it has just ended itself, so the second one stops here.
            return None if was is None else Left(packet, name, bool(was))
        if header.type in (ACK, BINARY_ACK, BINARY_EVENT):
            return self._ack_or_binary(packet, header)
        raise PeerError(BAD_SOCKETIO_PACKET, "a client may not send this type")

    def _connect(self, packet: bytes, header: Header) -> Event:
        # socket.io closes a client that connects a namespace twice. The app server's SDK opens two
        # sockets instead when both come before its answer, so the rule is kept here.
        if _bare(header.namespace) in map(_bare, self.namespaces):
            raise PeerError(DUPLICATE_CONNECT, header.namespace[:MAX_NAMESPACE])
        if len(self.namespaces) >= self._max_namespaces:
            raise PeerError(TOO_MANY_NAMESPACES, f"at most {self._max_namespaces}")
        check_data(packet, header)
        self.namespaces[header.namespace] = CONNECTING
        return Forward(packet)

    def _ack_or_binary(self, packet: bytes, header: Header) -> Event:
        if header.attachments > self._max_attachments:
            raise PeerError(TOO_MANY_ATTACHMENTS, f"at most {self._max_attachments}")
        ours = header.type != BINARY_EVENT and header.id is not None and header.id >= FIRST_SERVICE_ACK
        ack_id = header.id if ours else None
        if ours:
            # A parser that fails on it would fail in the app server that asked, not in this client's.
            packet = readable_ack(packet, header)
        if header.attachments:
            self._due, self._held, self._ack_id = header.attachments, [packet], ack_id
            return None
        return Forward(packet) if ack_id is None else Answer(ack_id, packet)

    def binary(self, data: bytes) -> Event:
        """One binary message, decoded. Raises `PeerError` (unexpected-binary)."""
        held = self._held
        if held is None:
            raise PeerError(UNEXPECTED_BINARY)
        self._due -= 1
        held.append(encode_binary(data))
        if self._due and (self._ack_id is not None or sum(map(len, held)) <= HELD_BYTES):
            return None
        self._held = [] if self._due else None
        payload = RS.join(held)
        return Forward(payload) if self._ack_id is None else Answer(self._ack_id, payload)

    def connected(self, namespace: str, sid: str) -> None:
        """The app server accepted the namespace."""
        if namespace not in self.namespaces:
            self._answered_without_query(namespace)
        self.namespaces[namespace] = sid

    def left(self, namespace: str) -> str | None:
        """The namespace ended from the app server's side; its socket id, None if not connected."""
        sid = self.namespaces.pop(namespace, None)
        if sid is None:
            self._answered_without_query(namespace)
        return sid

    def _answered_without_query(self, namespace: str) -> None:
        """python-socketio answers `40/ns?token=x,` as `/ns`: the name that was asked for is no other."""
        for name, sid in self.namespaces.items():
            if sid == CONNECTING and _bare(name) == namespace:
                del self.namespaces[name]
                return


def _bare(namespace: str) -> str:
    """The name without a query."""
    return namespace.partition("?")[0]
