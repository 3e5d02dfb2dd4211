"""Clients whose app server is linked to another node. Their node, the *owner*, forwards their packets to that
node, the *host*, and takes the app server's packets from there.

Two nodes forward to each other only after both have sent a token. A node makes a new token for a peer
whenever it begins anew with it. A peer that sees another token ends all clients forwarded between the two, so
a node that was only thought dead leaves nothing behind."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, get_args

from moorage.cluster.forwarding.announced import Announced
from moorage.cluster.forwarding.host import HostSide
from moorage.cluster.forwarding.owner import OwnerSide
from moorage.hub.hub import AppServer, Hub
from moorage.hub.node import Node
from moorage.wire.cluster import forwarding as wire
from moorage.wire.cluster.messages import Body, Envelope
from moorage.wire.commands import SendToConnection

REPEAT: Final = 1.0
"""Seconds after which a token is sent again to a peer that has not confirmed it."""


class Network(Protocol):
    """The way to the other nodes (`cluster.router.Router`)."""

    handlers: dict[type, Callable[[Envelope], object]]

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node."""

    def forward(self, node: str, connection: str, packet: bytes) -> None:
        """Send a client's packet to the node of its app server."""

    def pass_on(self, command: SendToConnection) -> bool:
        """Send a packet to the node of its client. False if it must be sent with `tell`."""

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""


class _Pair:
    """This node and another one."""

    def __init__(self, owner: OwnerSide, host: HostSide, now: float) -> None:
        self.owner = owner
        self.host = host
        self.handlers: dict[type, Any] = {**owner.handlers, **host.handlers}
        self.token = secrets.token_urlsafe(6)
        self.heard = ""
        """The other node's token."""
        self.confirmed = False
        """True once the other node has heard this one's token. Its earlier messages do not count."""
        self.sent_at = now

    def end(self) -> None:
        """End all clients that are forwarded between the two."""
        self.owner.end()
        self.host.end()


class Forwarding:
    """All forwarding of one node."""

    def __init__(
        self,
        node: Node,
        nodes: Network,
        *,
        connect_timeout: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._nodes = nodes
        self._connect_timeout = connect_timeout
        self._wall_clock = wall_clock
        self._announced = Announced(node)
        self._pairs: dict[str, _Pair] = {}
        self._past = [0, 0]
        self._due = False
        node.app_servers_changed = self._changed
        node.claims.unsaved = self._saved
        for kind in (wire.Pair, wire.AppServers, *get_args(wire.FromOwner)):
            nodes.handlers[kind] = self._take
        for kind in get_args(wire.FromHost):
            nodes.handlers[kind] = self._take_in_order

    def add(self, peer: str, *, near: bool = True) -> None:
        """Another node is there. Its app servers are chosen first if it is `near`: in this node's region."""
        send = partial(self._nodes.tell, peer)
        owner = OwnerSide(
            self._node,
            peer,
            send,
            partial(self._nodes.forward, peer),
            near=near,
            connect_timeout=self._connect_timeout,
            wall_clock=self._wall_clock,
        )
        host = HostSide(self._node, peer, self._announced, send, self._nodes.pass_on)
        self._pairs[peer] = pair = _Pair(owner, host, self._node.clock())
        self._introduce(peer, pair)

    def remove(self, peer: str) -> None:
        """A node is gone."""
        pair = self._pairs.pop(peer)
        pair.end()
        self._past[0] += pair.owner.forwarded
        self._past[1] += pair.host.forwarded

    def serves(self, node: str, hub: Hub, server_id: str) -> bool:
        """True if an app server has clients through its session at another node."""
        pair = self._pairs.get(node)
        return pair is not None and pair.owner.serves(hub, server_id)

    @property
    def is_told(self) -> bool:
        """True if all other nodes have told which app servers they have."""
        return all(pair.owner.is_told for pair in self._pairs.values())

    @property
    def forwarded(self) -> tuple[int, int]:
        """Packets sent to hosts for clients of this node, and to owners for guests."""
        pairs = self._pairs.values()
        to_hosts = self._past[0] + sum([pair.owner.forwarded for pair in pairs])
        return to_hosts, self._past[1] + sum([pair.host.forwarded for pair in pairs])

    @property
    def counts(self) -> tuple[int, int, int]:
        """The number of guests, and `forwarded`."""
        return len(self._node.guests), *self.forwarded

    def app_servers(self, peer: str) -> tuple[wire.AppServerRow, ...]:
        """The app servers of another node."""
        pair = self._pairs.get(peer)
        return pair.owner.rows if pair is not None else ()

    def restart(self, peer: str) -> None:
        """Messages of another node are lost: begin anew with it."""
        pair = self._pairs.get(peer)
        if pair is not None:
            self.remove(peer)
            self.add(peer, near=pair.owner.near)

    def _take_in_order(self, envelope: Envelope) -> None:
        # Behind the packets that the host has sent to the same client.
        self._nodes.after(envelope.origin, partial(self._take, envelope))

    def _take(self, envelope: Envelope) -> None:
        pair, body = self._pairs.get(envelope.origin), envelope.body
        if pair is None:
            return
        if isinstance(body, wire.Pair):
            self._meet(envelope.origin, pair, body)
        elif pair.confirmed:
            pair.handlers[type(body)](body)

    def tick(self, now: float) -> None:
        """Announce what has changed, and check all deadlines."""
        self._announce()
        for peer, pair in tuple(self._pairs.items()):
            if not pair.confirmed and now - pair.sent_at >= REPEAT:
                pair.sent_at = now
                self._introduce(peer, pair)
            pair.owner.tick(now)
            pair.host.tick(now)

    def _saved(self, server: AppServer, namespace: str, sid: str, data: bytes) -> None:
        for pair in self._pairs.values():
            pair.host.saved(server, namespace, sid, data)

    def _changed(self) -> None:
        if self._pairs and not self._due:
            self._due = True
            self._node.later(self._announce)

    def _announce(self) -> None:
        self._due = False
        if self._pairs and self._announced.refresh():
            for peer, pair in self._pairs.items():
                if pair.heard:
                    self._nodes.tell(peer, self._announced.all)

    def _introduce(self, peer: str, pair: _Pair) -> None:
        self._nodes.tell(peer, wire.Pair(pair.token, pair.heard, not pair.confirmed))

    def _meet(self, peer: str, pair: _Pair, body: wire.Pair) -> None:
        anew = body.token != pair.heard
        if anew:
            if pair.heard:
                pair.end()
            pair.heard = body.token
            pair.confirmed = False
        pair.confirmed = pair.confirmed or body.heard == pair.token
        if anew or body.ask:
            self._introduce(peer, pair)
        if anew:
            self._announced.refresh()
            self._nodes.tell(peer, self._announced.all)
