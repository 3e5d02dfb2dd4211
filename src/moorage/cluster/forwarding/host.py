"""The guests that one other node sends to the app servers of this one. This is the host's side of forwarding;
`owner` is the owner's side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from moorage.cluster.forwarding.announced import Announced
from moorage.hub.commands.asking import is_last
from moorage.hub.hub import AppServer, Guest
from moorage.hub.node import Node
from moorage.hub.ports import Recovered, Who
from moorage.wire import reasons
from moorage.wire.cluster import forwarding as wire
from moorage.wire.cluster.messages import Body
from moorage.wire.commands import SendToConnection
from moorage.wire.handshake import Handshake, OpenInfo, Origin
from moorage.wire.moorage.rows import Chunk
from moorage.wire.reasons import CATALOGUE, Reason

SAVE_SECONDS: Final = 10.0
"""Seconds after a guest's end in which its app server may send the data of its sockets."""


class HostSide:
    """All guests of one other node, which is their `hub.ports.Owner`. `send` sends to that node, and
    `pass_on` a packet for a guest; it returns False if `send` must be used."""

    def __init__(
        self,
        node: Node,
        name: str,
        announced: Announced,
        send: Callable[[Body], object],
        pass_on: Callable[[SendToConnection], bool],
    ) -> None:
        self._node = node
        self._name = name
        self._announced = announced
        self._send = send
        self._pass_on = pass_on
        self.forwarded = 0
        """Number of packets sent to that node."""
        self.handlers: dict[type, Callable[[Any], object]] = {
            wire.Offer: self._offer,
            wire.Forward: self._forward,
            wire.Gone: self._gone,
            wire.Moved: self._moved,
            wire.Left: self._left,
            wire.Upgraded: self._upgraded,
            wire.Query: self._query,
            wire.Sync: self._sync,
            wire.Returning: self._returning,
        }
        self._gone_since: dict[AppServer, float] = {}
        """When a guest of each app server was ended last by its own node."""

    def end(self) -> None:
        """The other node is gone, or has forgotten this one."""
        self._node.guests.all_gone(self._name, reasons.TRANSPORT_LOST)

    def _guest(self, connection_id: str) -> Guest | None:
        guest = self._node.guests.get(connection_id)
        # One node must not speak for the clients of another.
        return guest if guest is not None and guest.node == self._name else None

    # -- from the other node ------------------------------------------------------------------------

    def _offer(self, body: wire.Offer) -> None:
        found = self._announced.get(body.server)
        reason = reasons.DRAINING if self._node.draining else reasons.NO_APP_SERVER
        # Only the home takes other nodes' clients. The other node may not have heard yet which one it is.
        if found is None or self._node.draining or not (found[1].takes_clients and found[1].home):
            self._decline(body.connection, reason, "")
            return
        hub, server = found
        handshake = Handshake(
            query=body.query,
            headers=body.headers,
            claims=body.claims,
            user_id=body.user,
            origin=lambda: Origin(body.url, body.address),
            secure=body.secure,
        )
        guest = Guest(body.connection, hub, user_id=body.user, server=server, node=self._name, owner=self)
        self._node.guests.welcome(guest, handshake)

    def _forward(self, body: wire.Forward) -> None:
        for connection_id, packet in body.packets:
            guest = self._guest(connection_id)
            if guest is not None and guest.open:
                guest.server.link.forward(guest, packet)
            else:
                self._send(wire.Unknown(connection_id))

    def _gone(self, body: wire.Gone) -> None:
        guest = self._guest(body.connection)
        if guest is not None:
            self._gone_since[guest.server] = self._node.clock()
            self._node.guests.gone(guest, CATALOGUE.get(body.reason, reasons.TRANSPORT_LOST))

    def _returning(self, body: wire.Returning) -> None:
        guest = self._guest(body.connection)
        if guest is None or not guest.open:
            self._send(wire.Unknown(body.connection))
        elif guest.server.returns is None:
            guest.server.link.forward(guest, body.packet)
        else:
            socket = Recovered(body.packet, body.namespace, body.sid, body.rooms, body.data)
            guest.server.returns.recover(guest, socket)

    def saved(self, server: AppServer, namespace: str, sid: str, data: bytes) -> None:
        """An app server sends the data of a socket that is not at this node. Perhaps it was a guest's."""
        if server in self._gone_since:
            self._send(wire.Saved(self._announced.number_of(server), namespace, sid, data))

    def tick(self, now: float) -> None:
        """Forget app servers that have sent all data."""
        for server, since in tuple(self._gone_since.items()):
            if now - since >= SAVE_SECONDS:
                del self._gone_since[server]

    def _moved(self, body: wire.Moved) -> None:
        guest = self._guest(body.connection)
        if guest is not None:
            guest.server.peer.moved(guest, body.namespace, body.rooms, joined=body.joined)

    def _left(self, body: wire.Left) -> None:
        guest = self._guest(body.connection)
        if guest is not None:
            guest.server.peer.left(guest, body.namespace)

    def _upgraded(self, body: wire.Upgraded) -> None:
        guest = self._guest(body.connection)
        if guest is not None:
            guest.server.peer.upgraded(guest)

    def _query(self, body: wire.Query) -> None:
        found = self._announced.get(body.server)
        if found is None or not found[1].can.answers_queries or not body.sockets:
            return
        hub, server = found
        number = hub.queries.begin()
        deadline = self._node.clock() + self._node.invoke_timeout
        check = partial(is_last, {server: len(body.sockets)})
        answers = _Answers(self._send, body.server, body.number)
        hub.queries.ask(number, {server: server.id}, answers, deadline, check)
        server.peer.query(number, body.namespace, body.sockets)

    def _sync(self, body: wire.Sync) -> None:
        guest = self._guest(body.connection)
        done = partial(self._send, wire.Synced(body.connection, body.number))
        if guest is None:
            done()
        elif body.taken:
            guest.server.link.taken(guest, done)
        else:
            guest.server.link.drained(guest, done)

    # -- hub.ports.Owner ----------------------------------------------------------------------------

    def accepted(self, guest: Guest, info: OpenInfo) -> None:
        """`Owner.accepted`."""
        self._send(wire.Accepted(guest.id, info.ping_interval, info.ping_timeout, info.max_payload))

    def refused(self, guest: Guest, reason: Reason, detail: str) -> None:
        """`Owner.refused`."""
        self._decline(guest.id, reason, detail)

    def _decline(self, connection_id: str, reason: Reason, detail: str) -> None:
        self._send(wire.Declined(connection_id, reason.name, reason.http, reason.text, reason.eio, detail))

    def send(self, guest: Guest, payload: bytes) -> None:
        """`Owner.send`."""
        self.forwarded += 1
        command = SendToConnection(guest.hub.name, guest.id, payload)
        if not self._pass_on(command):
            self._send(command)

    def close(self, guest: Guest, reason: Reason, *, who: Who, detail: str) -> None:
        """`Owner.close`."""
        self._send(wire.Close(guest.id, reason.name, who, detail))

    def read(self, guest: Guest, *, on: bool) -> None:
        """`Owner.read`."""
        self._send(wire.Read(guest.id, on))


class _Answers:
    """`hub.ports.Answers` of one `Query`. The other node notices itself what is missing at its deadline."""

    def __init__(self, send: Callable[[Body], object], server: int, number: int) -> None:
        self._send = send
        self._server = server
        self._number = number

    def answer(self, _sender: str, payload: tuple[Chunk, ...]) -> None:
        """As in the port."""
        self._send(wire.Data(self._server, self._number, payload))

    def finish(self, missing: tuple[str, ...]) -> None:
        """As in the port."""
