"""Sends this node's commands to the other nodes, and gathers their answers. A command for groups goes to the
nodes that have members of them (`directory`), one for a connection to that connection's node, and any other
to all nodes.

A cast is sent once this node has delivered it. A write is answered when all nodes have carried it out. An ask
gathers the answers of all nodes until its deadline. If a node does not answer in time, the answer is partial
and names that node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, get_args

from msgspec.structs import replace

from moorage.cluster.arrivals import Arrivals
from moorage.cluster.coverage.homes import Instances, Via
from moorage.cluster.directory import Directory
from moorage.cluster.forwarding.gathered import Gathered
from moorage.cluster.forwarding.pairs import Forwarding
from moorage.cluster.members.membership import MAX_NODES, Membership
from moorage.cluster.ports import Broker
from moorage.cluster.recovery.part import ClusterRecovery
from moorage.cluster.requests import Request, Requests
from moorage.cluster.streams.streams import FORGED, GARBAGE, OVERFLOW, Receive, Streams
from moorage.cluster.targets import Targets
from moorage.hub.commands.deliver import LONG, SPECIAL
from moorage.hub.node import Node
from moorage.hub.ports import Answers, Reply
from moorage.wire.cluster import messages
from moorage.wire.cluster.messages import Beat, Body, Envelope
from moorage.wire.commands import (
    Ask,
    Cast,
    Command,
    JoinGroups,
    Outcome,
    SendToConnection,
    TellServers,
    Write,
)
from moorage.wire.errors import PeerError
from moorage.wire.ids import incarnation_of


class Router:
    """`hub.ports.Reach` of all other nodes. `incarnation` names this start of the node. `soon` makes a call
    at the end of this turn of the loop, by default as `Node.later`. `joined` is told how many seconds each
    join took to be in effect in this node's region."""

    def __init__(
        self,
        node: Node,
        broker: Broker,
        incarnation: str,
        *,
        connect_timeout: float = 35.0,
        soon: Callable[[Callable[[], object]], object] | None = None,
        joined: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._node = node
        self.streams = Streams(broker, incarnation)
        self._own = incarnation
        self.peers: dict[str, str] = {}
        """Names of the other nodes by their incarnation."""
        self._requests = Requests(node, incarnation, self.peers)
        self._joined = joined
        self.instances = Instances()
        self.directory = Directory(self._tell_groups, lambda: node.later(self.directory.flush))
        self._targets = Targets(incarnation, self.peers, self.directory, node.clock)
        self._arrivals = Arrivals(node, self._send, self.instances, self._when_visible, self._overflow)
        self.handlers: dict[type, Callable[[Envelope], object]] = {}
        """What handles messages that are no command, answer or heartbeat, by the type of the body."""
        for kind in get_args(messages.Groups):
            self.handlers[kind] = self._targets.take
        self.gathered = Gathered(self._send_body, soon or node.later)
        self.handlers[messages.Packets] = self._arrivals.take_packets
        self.forwarding = Forwarding(node, self, connect_timeout=connect_timeout)
        self.membership: Membership | None = None
        """Keeps the list of the other nodes, if `join` was called."""
        busy = self._arrivals.is_busy
        self.recovery = ClusterRecovery(node, self, incarnation, self.peers, self.streams, busy)
        self._addresses: dict[str, str] = {}

    def start(self) -> None:
        """Take what other nodes send. Call it before the first hub exists."""
        self._node.members = self.directory
        self.streams.start(Receive(self._receive, self._hear, self._gap))

    def join(
        self, own: messages.Alive, describe: Callable[[messages.Alive], messages.Alive] = lambda beat: beat
    ) -> None:
        """Announce this node as `own` describes it. From now on, heartbeats decide who is on the list.
        `describe` adds to a heartbeat what changes while the node runs."""
        self.membership = Membership(self._own, own, self, describe)
        self.membership.start(self._node.clock())

    def stop(self) -> None:
        """Stop sending and receiving."""
        self._node.cluster = None
        if self.membership is not None:
            self.membership.stop()
        self.streams.stop()

    # -- membership -------------------------------------------------------------------------------

    def add(self, incarnation: str, name: str, *, near: bool = True) -> None:
        """Another node is there, in this node's region (`near`) or in another one. Commands wait for its
        answer from now on."""
        self.peers[incarnation] = name
        self.streams.add(incarnation)
        # A node that is alone has no cluster at all, so its commands take the shortest way.
        self._node.cluster = self
        self.directory.add(incarnation, near=near)
        self.forwarding.add(incarnation, near=near)
        self.recovery.add(incarnation)

    def remove(self, incarnation: str) -> None:
        """A node is gone. Nothing waits for it any more."""
        name = self.peers.pop(incarnation)
        sent = self.streams.remove(incarnation)
        self.directory.remove(incarnation)
        self.forwarding.remove(incarnation)
        self._arrivals.forget(incarnation)
        self.recovery.remove(incarnation, sent)
        self._leave_if_alone()
        self._requests.remove(incarnation, name)

    def _leave_if_alone(self) -> None:
        """Without other nodes, commands take the shortest way. But what one misses that may come back is
        noted."""
        if not self.peers and not self.recovery.losses.awaited:
            self._node.cluster = None

    def address_of(self, incarnation: str) -> str:
        """Where another node is reached; "" if it is unknown or has no address of its own. A node that became
        silent may still be there, if only NATS has failed. So an address is kept once it was asked for."""
        known = self._addresses
        member = None if self.membership is None else self.membership.members.get(incarnation)
        if member is None:
            return known.get(incarnation, "")
        known[incarnation] = member.advertise
        if len(known) > MAX_NODES:
            del known[next(iter(known))]
        return member.advertise

    def tick(self, now: float) -> None:
        """Time passes: nodes become silent, and requests past their deadline end without those missing."""
        self.streams.tick(now)
        if self.membership is not None:
            self.membership.tick(now)
        self.forwarding.tick(now)
        self.recovery.tick(now)
        self.directory.tick(now)
        self._targets.tick(now)
        self._leave_if_alone()
        self._requests.tick(now)

    # -- what leaves: `hub.ports.Reach` -------------------------------------------------------------

    def cast(self, command: Cast, here: Outcome, via: Via | None = None) -> None:
        """Send the cast to the other nodes that it is for."""
        self.recovery.sent(command, via)
        if isinstance(command, SendToConnection) and (here.found or (via is None and self.pass_on(command))):
            return
        self._send_out(command, 0, via, self._to(command, via))

    def pass_on(self, command: SendToConnection) -> bool:
        """Send a packet to the node of its client, together with others. False if it must travel alone."""
        node, payload = incarnation_of(command.connection), command.payload
        if node not in self.peers or len(payload) > LONG or payload.startswith(SPECIAL):
            return node not in self.peers and self.recovery.keeps(command)
        self.gathered.add(node, command.hub, command.connection, payload)
        return True

    def forward(self, node: str, connection: str, packet: bytes) -> None:
        """Send a client's packet to the node of its app server, together with others."""
        self.gathered.add(node, "", connection, packet)

    def write(self, command: Write, here: Outcome, reply: Reply, about: Any, via: Via | None = None) -> None:
        """Send it out, and reply when all nodes have carried it out. Emits that follow a join reach the
        nodes to which it goes, and a join is answered when all nodes of each member's region know where its
        groups are, but for late ones (`Directory`)."""
        self.recovery.sent(command, via)
        nodes = self._to(command, via)
        pending = isinstance(command, JoinGroups) and self.directory.is_pending(command.hub, command.groups)
        if not nodes and not pending:
            # An app server's own socket joins a room that has other members here: no other node is told.
            reply(about, self._naming_late(here) if isinstance(command, JoinGroups) else here)
            return
        request = self._begin(command, reply, about, None, via, nodes)
        if isinstance(command, JoinGroups):
            begun = self._node.clock()

            def visible(outcome: Outcome) -> None:
                self._joined(self._node.clock() - begun)
                self._requests.own_outcome(request, outcome)

            self._when_visible(command, here, visible)
        else:
            self._requests.own_outcome(request, here)

    def _when_visible(self, command: JoinGroups, here: Outcome, call: Callable[[Outcome], object]) -> None:
        """Call back with this node's outcome of a join once it is in effect in this node's region."""
        self.directory.when_visible(command.hub, command.groups, lambda: call(self._naming_late(here)))

    def _naming_late(self, here: Outcome) -> Outcome:
        """The outcome of a join. Late nodes, for which it did not wait, are missing."""
        late = self.directory.unaware
        return replace(here, missing=tuple(self.peers[node] for node in late)) if late else here

    def ask(
        self,
        command: Ask,
        reply: Reply,
        about: Any,
        answers: Answers[Any] | None,
        via: Via | None = None,
    ) -> tuple[Reply, Any, Answers[Any] | None]:
        """Send it out, and gather what comes back. This node's own part comes back in the same way."""
        self.recovery.losses.sent(command, via)
        nodes = self._to(command, via)
        if isinstance(command, TellServers) and not command.timeout:
            self._send_out(command, 0, via, nodes)
            return reply, about, answers
        if not nodes:
            return reply, about, answers
        request = self._begin(command, reply, about, answers, via, nodes)
        return self._requests.own_outcome, request, self._requests.own_answers(request)

    def _begin(
        self,
        command: Write | Ask,
        reply: Reply,
        about: Any,
        answers: Answers[Any] | None,
        via: Via | None,
        asked: Collection[str],
    ) -> Request:
        request = self._requests.begin(
            command, reply, about, answers, asked, lambda number: self._send_out(command, number, via, asked)
        )
        if isinstance(command, JoinGroups) and asked:
            request.over = self.directory.expect(command.hub, command.groups, asked)
        return request

    def beat(self, body: Beat) -> None:
        """Tell all other nodes that this one is there, or that it ends."""
        if isinstance(body, messages.Alive):
            keeping = self._node.keeping
            unstored = keeping is not None and keeping.journal.down
            body = replace(body, clock=self._node.clock(), unstored=unstored)
            self.streams.beat(messages.encode(Envelope(self._own, body)))
        else:
            self.tell_all(body)

    def _to(self, command: Command, via: Via | None) -> Collection[str]:
        """The other nodes that a command is for, without those that its app server covers."""
        if via is None:
            return self._targets.of(command)
        if via.covered is None or via.covered.issuperset(self.peers):
            # Usual for our SDKs. Each emit comes here, so the directory is not asked in vain.
            return ()
        return [node for node in self._targets.of(command) if node not in via.covered]

    def _send_out(self, command: Command, number: int, via: Via | None, nodes: Collection[str]) -> None:
        """Send a command to these nodes."""
        if not nodes:
            return
        for node in nodes:
            self._targets.passes(node, command)
        if self.gathered.pending:
            self.gathered.flush()
        envelope = Envelope(self._own, command, number)
        if via is not None and via.covered is not None:
            covered = tuple(via.covered)
            envelope = Envelope(self._own, command, number, via.instance, via.term, via.number, covered)
        message = messages.encode(envelope)
        if 2 * len(nodes) > len(self.peers) and len(envelope.covered) <= 1:
            # The others have nothing to do. One message for all costs this node less than one for each.
            self.streams.send_all(message)
            return
        for node in nodes:
            self.streams.send(node, message)

    def _tell_groups(self, node: str | None, body: Body) -> None:
        self.tell_all(body) if node is None else self._send(node, 0, body)

    def tell_all(self, body: Body, number: int = 0) -> None:
        """Send a message to all other nodes."""
        if self.gathered.pending:
            self.gathered.flush()
        self.streams.send_all(messages.encode(Envelope(self._own, body, number)))

    def tell(self, node: str, body: Body) -> None:
        """Send a message that is not answered to one node, behind everything that was sent to it before."""
        if node in self.peers:
            self._targets.passes(node, body)
            self._send(node, 0, body)

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""
        self._arrivals.after(node, call)

    def _send_body(self, to: str, body: Body) -> None:
        self._send(to, 0, body)

    def _send(self, to: str, number: int, body: Body) -> None:
        if self.gathered.pending:
            self.gathered.flush()
        self.streams.send(to, messages.encode(Envelope(self._own, body, number)))

    # -- what arrives -----------------------------------------------------------------------------

    def _receive(self, node: str, message: bytes) -> None:
        envelope = self._read(node, message)
        if envelope is not None:
            self._arrivals.message_size = len(message)
            self._node.guard("router", self._take, envelope)

    def _read(self, node: str, message: bytes) -> Envelope | None:
        try:
            envelope = messages.decode(message)
        except PeerError:
            self.streams.bad_message(GARBAGE)
            return None
        if envelope.origin != node:
            self.streams.bad_message(FORGED)
            return None
        return envelope

    def _hear(self, node: str, message: bytes) -> None:
        envelope = self._read(node, message)
        if envelope is None or self.membership is None:
            return
        if isinstance(envelope.body, messages.Alive):
            self.membership.alive(node, envelope.body, self._node.clock())
            if node in self.peers:
                self.recovery.heard(node, envelope.body.clock, unstored=envelope.body.unstored)
        else:
            self.streams.bad_message(GARBAGE)

    def _gap(self, node: str) -> None:
        """Commands or answers of a node are lost. Requests that wait for it end at their deadline."""
        self.directory.gap(node)
        self.forwarding.restart(node)
        self.recovery.gap(node)

    def _overflow(self, node: str, first: bool) -> None:
        """A message of a node was dropped, because too much of it waits. It was no change of its groups."""
        self.streams.bad_message(OVERFLOW)
        if first:
            self.streams.count_gap(node)
            self.forwarding.restart(node)
        self.recovery.gap(node)

    def _take(self, envelope: Envelope) -> None:
        if isinstance(envelope.body, messages.Beat):
            if self.membership is not None and isinstance(envelope.body, messages.Goodbye):
                self.membership.goodbye(envelope.origin)
            return
        handler = self.handlers.get(type(envelope.body))
        if handler is not None:
            handler(envelope)
            return
        if not isinstance(envelope.body, messages.Part):
            self._arrivals.take(envelope)
            return
        self._requests.take(envelope.request, envelope.origin, envelope.body)
