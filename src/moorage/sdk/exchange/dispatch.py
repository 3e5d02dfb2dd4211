"""The frames of the service that are about clients: what each changes, and what runs because of it. No I/O.

The order of one client's packets is kept where an app can see it: `connect` and `disconnect` handlers, and
all handlers of a server with `async_handlers=False`, run one after another, and later packets wait. Other
events start at once, in order, as with python-socketio. ACKs do not wait: handlers may be waiting for them.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from functools import partial
from typing import Any, Final

from moorage.sdk.clients.clients import ClientT, ClientTable
from moorage.sdk.clients.idle import IdleCheck
from moorage.sdk.clients.members import Member
from moorage.sdk.clients.packets import PacketReader, complete
from moorage.sdk.clients.restored import Restored, data_of
from moorage.sdk.exchange.handover import Movers
from moorage.sdk.exchange.manager import SocketManager
from moorage.sdk.payload import Codec
from moorage.sdk.tracing import HandlerSpan
from moorage.wire.engineio import SEPARATOR
from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import (
    Back,
    Close,
    Closed,
    Left,
    Moved,
    Open,
    Parked,
    Recover,
    Save,
    Trace,
    Traced,
    Upgraded,
)

_FLASK_SESSION: Final = "saved_session"
"""Key under which Flask-SocketIO keeps the `session` of a client's handlers."""

CLIENT_QUEUE: Final = 4 * 1024 * 1024
"""Bytes of one client's packets that may wait for their turn. Beyond this the client is closed: its slow
handlers must not hold up the other clients."""

HANDLER_COST: Final = 1024
"""Bytes that a running handler counts for, besides its packet."""

_log = logging.getLogger("moorage.sdk")


class ClientDispatcher(Movers[ClientT]):
    """Decides; an executor runs the jobs, each after the earlier jobs of the same client."""

    def __init__(self, sio: Any, table: ClientTable[ClientT], manager: SocketManager, codec: Codec) -> None:
        super().__init__()
        self._sio = sio
        self._table = table
        self._manager = manager
        self._reader = PacketReader(codec)
        self._idle = IdleCheck(sio)
        self._causes: Final = {
            "ping timeout": sio.reason.PING_TIMEOUT,
            "transport close": sio.reason.TRANSPORT_CLOSE,
            "server shutting down": sio.reason.TRANSPORT_CLOSE,
            "forced server close": sio.reason.SERVER_DISCONNECT,
        }

    # -- the executor's part --------------------------------------------------------------------------------

    @abstractmethod
    def _end_socket(self, client: ClientT, namespace: str, reason: str) -> Any:
        """Job: run the disconnect handler, then remove the socket."""

    @abstractmethod
    def _end_client(self, client: ClientT, reason: str) -> Any:
        """Job: end all its sockets, then forget the client."""

    @abstractmethod
    def _packet(self, client: ClientT, packet: bytes) -> None:
        """Handle one packet with its attachments. Raises `ValueError` and `PeerError`."""

    @abstractmethod
    def _follow(self, client: ClientT, former: ClientT) -> None:
        """The ordered jobs of `client` run after those that `former` has now."""

    # -- a client's life ------------------------------------------------------------------------------------

    def opened(self, frame: Open) -> None:
        """A new client."""
        client = self._make(frame)
        self._transmit(client, self._table.take(client))
        self._idle.client()
        engine: Any = self._table
        self._in_order(client, lambda: engine.handlers["connect"](client.sid, client.environ))

    def closed(self, frame: Closed) -> None:
        """A client's connection has ended. Its earlier packets are handled first."""
        client = self._table.by_number.pop(frame.client, None)
        if client is not None:
            client.may_return = frame.cause != "parse error" and not client.closing
            client.gone = True
            reason = self._causes.get(frame.cause, self._sio.reason.TRANSPORT_ERROR)
            self._in_order(client, partial(self._end_client, client, reason))

    def all_gone(self, slot: int | None = None) -> None:
        """The session is over, and all its clients with it: the session with this slot, or all."""
        self._forget_late(slot)
        for client in self._table.forget_all(slot):
            # If the node is lost, another one may keep its sockets.
            client.may_return = not client.closing
            self._in_order(client, partial(self._end_client, client, self._sio.reason.TRANSPORT_CLOSE))

    def left(self, frame: Left) -> None:
        """Another app server, or the REST API, has disconnected one of the client's sockets."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            reason = self._sio.reason.SERVER_DISCONNECT
            self._in_order(client, partial(self._end_socket, client, frame.namespace, reason))

    def upgraded(self, frame: Upgraded) -> None:
        """The client has changed its transport."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            client.upgraded = frame.transport == "websocket"

    def moved(self, frame: Moved) -> None:
        """Another app server, or the REST API, has changed a socket's rooms."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            self._manager.moved(client, frame.namespace, frame.joined, frame.rooms)

    # -- connection state recovery --------------------------------------------------------------------------

    def recover(self, frame: Recover) -> None:
        """The CONNECT of a client that continues a socket of an earlier connection."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            client.restored[frame.namespace] = Restored(frame.sid, frame.rooms, frame.data)
            self.packet(frame.client, frame.packet)

    def parked(self, frame: Parked) -> None:
        """The client is away and may come back. Its sockets live on."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            client.incoming = []

    def back(self, frame: Back) -> None:
        """A client that was away goes on as another client. The handlers of its earlier packets end first."""
        client, former = self._table.by_number.get(frame.client), self._table.by_number.get(frame.was)
        member = former.members.get(frame.namespace) if former is not None else None
        if client is None or former is None or member is None or member.sid != frame.sid:
            return
        self._manager.rebind(member, client)
        if _FLASK_SESSION in former.environ:
            client.environ[_FLASK_SESSION] = former.environ[_FLASK_SESSION]
        self._follow(client, former)
        self._in_order(former, partial(self._moved_on, former, frame.namespace))

    @staticmethod
    def _moved_on(former: ClientT, namespace: str) -> None:
        former.members.pop(namespace, None)

    def _kept(self, client: ClientT, member: Member) -> Save:
        """What the service keeps of a socket that may go on."""
        data = data_of(member.sid, client.session.get(member.namespace))
        return Save(member.namespace, member.sid, data)

    # -- traces ---------------------------------------------------------------------------------------------

    def trace(self, frame: Trace) -> None:
        """The client's next packet is an event of a trace."""
        client = self._table.by_number.get(frame.client)
        if client is not None:
            client.trace = frame

    def _span(self, client: ClientT, trace: Trace, event: object, member: Member) -> HandlerSpan:
        return HandlerSpan(trace, event, member.namespace, member.sid, partial(self._transmit, client))

    def _unhandled(self, client: ClientT, trace: Trace | None) -> None:
        if trace is not None:
            self._transmit(client, Traced(trace.ref))

    # -- its packets ----------------------------------------------------------------------------------------

    def packet(self, number: int, payload: bytes) -> None:
        """Engine.IO packets of a client."""
        client = self._table.by_number.get(number)
        if client is None:
            self._late_packet(number, payload)
            return
        if client.closing:
            return
        try:
            # Above `44` are `45`, `46` and `b`: an event or ack with attachments, and an attachment.
            if SEPARATOR in payload or client.incoming or payload[:2] > b"44":
                for packet in complete(client, payload):
                    self._packet(client, packet)
            else:
                self._packet(client, payload)
        except (PeerError, ValueError) as error:
            self._bad(client, str(error))

    def _bad(self, client: ClientT, why: str) -> None:
        """The client broke the protocol. As with Socket.IO's own server, its connection ends."""
        _log.info("client %s is closed: %s", client.sid, why)
        client.incoming = []
        if not client.closing and not client.gone:
            self._transmit(client, Close(client.number))
        client.closing = True
