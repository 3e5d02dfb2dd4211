"""Messages between two nodes that cannot be repaired: a gap in their numbers, or the time of a partition,
after which both meet again.

Each node knows up to which time of another one's clock it has everything that the other one sent. After a
loss it asks that node whom its emits since then were for (`Sent`), and ends the sockets that may have missed
one (`hub.recovery.losses`). App servers that cover both nodes send to each of them, so what those send is not
concerned. Nothing is asked of a node that is gone for good."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from moorage import logs
from moorage.cluster.coverage.homes import Via
from moorage.hub.hub import Connection
from moorage.hub.node import Node
from moorage.hub.recovery.losses import Losses, lanes_of
from moorage.hub.recovery.sockets.replay import EVERYONE
from moorage.wire.cluster.messages import Body, Envelope
from moorage.wire.commands import Command, Invoke, Send, SendToConnection
from moorage.wire.reasons import EVENTS_LOST
from moorage.wire.recovery.losses import Since, Unseen

MAX_SENT: Final = 10_000
"""Maximum number of lanes whose last emit is remembered."""
MAX_TOLD: Final = 5_000
"""Maximum number of lanes in one answer. With more, the answer is "everything"."""
ABSENT_SECONDS: Final = 600.0
"""Seconds for which a node that is gone may come back. Until then emits are noted, even if no node is
left."""
MAX_ABSENT: Final = 10_000
"""Maximum number of remembered nodes that are gone."""
AGAIN: Final = 5.0
"""Seconds after which a question is asked again."""

log: Final = logs.get("cluster")


class Sent:
    """The time of the last emit for each lane that this node has sent to others, or would have sent."""

    def __init__(self, now: float) -> None:
        self._times: dict[tuple[str, str], float] = {}
        """The oldest first."""
        self.floor = now
        """Emits up to this time need not be remembered."""

    def __len__(self) -> int:
        return len(self._times)

    def note(self, command: Send | SendToConnection | Invoke, now: float) -> None:
        """An emit is sent."""
        times = self._times
        for lane in lanes_of(command):
            key = command.hub, lane
            times.pop(key, None)
            times[key] = now
            if len(times) > MAX_SENT:
                oldest = next(iter(times))
                self.floor = times.pop(oldest)

    def since(self, clock: float) -> Unseen:
        """The lanes of the emits after this time."""
        found: dict[str, list[str]] = {}
        count = 0
        for (hub, lane), time in reversed(self._times.items()):
            if time < clock or count > MAX_TOLD:
                break
            found.setdefault(hub, []).append(lane)
            count += 1
        if count > MAX_TOLD or clock <= self.floor:
            return Unseen(clock, {}, everything=True)
        return Unseen(clock, {hub: tuple(lanes) for hub, lanes in found.items()})


class _Loss:
    """A loss that is not made good."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.asked: float | None = None
        """When the other node was asked; None if it has to be."""
        self.before: dict[str, int] = {}
        """The moment of the question."""


class Network(Protocol):
    """The way to the other nodes (`part.ClusterRecovery`)."""

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node."""


class ClusterLosses:
    """The losses of one node. `complete` tells whether everything has come that a node has told of."""

    def __init__(
        self, node: Node, network: Network, peers: Collection[str], complete: Callable[[str], bool]
    ) -> None:
        self._node = node
        self._network = network
        self._peers = peers
        """The other nodes now."""
        self._complete = complete
        self._losses = Losses(node.hubs, node.turns, self._end)
        self._sent = Sent(node.clock())
        self._last: dict[str, float] = {}
        """Each node's clock in its last heartbeat."""
        self._until: dict[str, float] = {}
        """Up to which time of its clock everything of a node has come, those included that are gone."""
        self._absent: dict[str, float] = {}
        """Nodes that are gone and may come back, with the time at which they went."""
        self._open: dict[str, _Loss] = {}

    @property
    def has_sent(self) -> bool:
        """True if this node has sent any emit to others."""
        return len(self._sent) > 0

    def is_settled(self, node: str) -> bool:
        """True if no loss of this node's messages has to be made good."""
        return node not in self._open and not self._losses.busy

    @property
    def awaited(self) -> bool:
        """True if a node that is gone may come back."""
        return bool(self._absent)

    # -- what this node sends -------------------------------------------------------------------------

    def sent(self, command: Command, via: Via | None) -> None:
        """A command is going to other nodes, if there are any for it."""
        if not isinstance(command, Send | SendToConnection | Invoke):
            return
        if via is not None:
            covered = via.covered
            if covered is None or (covered.issuperset(self._peers) and covered.issuperset(self._absent)):
                # All nodes get it from the app server.
                return
        self._sent.note(command, self._node.clock())

    # -- other nodes ----------------------------------------------------------------------------------

    def add(self, node: str) -> None:
        """Another node is there."""
        if len(self._peers) == 1 and not self._absent:
            # This node was alone, and did not note what it sent.
            self._sent.floor = self._node.clock()
        self._absent.pop(node, None)
        self.gap(node)

    def remove(self, node: str) -> None:
        """A node is gone, perhaps for a while only."""
        self._absent[node] = self._node.clock()
        self._last.pop(node, None)
        if node in self._open:
            self._until[node] = self._open.pop(node).since
        if len(self._absent) > MAX_ABSENT:
            del self._absent[next(iter(self._absent))]

    def gap(self, node: str) -> None:
        """Messages of a node are lost, or were not sent to this one."""
        until = self._until.get(node)
        if until is not None:
            self._open.setdefault(node, _Loss(until)).asked = None

    def heard(self, node: str, clock: float) -> None:
        """A heartbeat arrived; 0 from an older node."""
        complete = self._complete(node)
        last = self._last.get(node)
        self._last[node] = clock
        if not complete or not clock:
            return
        if last is not None:
            self._until.pop(node, None)
            self._until[node] = last
            if len(self._until) > MAX_ABSENT:
                del self._until[next(iter(self._until))]
        loss, now = self._open.get(node), self._node.clock()
        if loss is not None and (loss.asked is None or now - loss.asked >= AGAIN):
            loss.asked, loss.before = now, self._losses.mark()
            self._network.tell(node, Since(loss.since))

    def take(self, envelope: Envelope) -> None:
        """A question, or an answer."""
        node, body = envelope.origin, envelope.body
        if isinstance(body, Since):
            self._network.tell(node, self._sent.since(body.clock))
            return
        assert isinstance(body, Unseen)
        if body.relayed:
            self._end_all(body, self._losses.mark())
            return
        loss = self._open.get(node)
        if loss is None or loss.since != body.clock:
            return
        if loss.asked is not None:
            del self._open[node]
        self._end_all(body, loss.before)
        if body.hubs or body.everything:
            relayed = Unseen(body.clock, body.hubs, everything=body.everything, relayed=True)
            for peer in self._peers:
                if peer != node:
                    self._network.tell(peer, relayed)

    def tick(self, now: float) -> None:
        """Time passes."""
        for node, gone in tuple(self._absent.items()):
            if now - gone >= ABSENT_SECONDS:
                del self._absent[node]

    def _end_all(self, body: Unseen, before: Mapping[str, int]) -> None:
        hubs = dict.fromkeys(before, (EVERYONE,)) if body.everything else body.hubs
        for hub, lanes in hubs.items():
            self._losses.lost(hub, lanes, before, self._ended, moved=body.relayed)

    def late(self, hub: str, pids: Collection[str] | None, lanes: Collection[str]) -> None:
        """`hub.journal.latecomers.Missed`. Some of these sockets may have moved on to other nodes."""
        if pids is None:
            self._losses.lost(hub, lanes, self._losses.mark(), self._ended_late, moved=True)
        else:
            self._losses.missed(hub, pids, lanes, self._ended_late)
        everything = len(lanes) > MAX_TOLD
        hubs: dict[str, tuple[str, ...]] = {hub: (EVERYONE,) if everything else tuple(lanes)}
        for peer in self._peers:
            self._network.tell(peer, Unseen(0.0, hubs, relayed=True))

    def _ended_late(self, hub: str, sockets: int) -> None:
        self._node.claims.counts.incomplete += sockets
        log.warning(
            "sockets end, because an app server came back too late to a node that was lost",
            hub=hub,
            sockets=sockets,
        )

    def _ended(self, hub: str, sockets: int) -> None:
        self._node.claims.counts.incomplete += sockets
        log.warning("sockets may have missed events of another node and end", hub=hub, sockets=sockets)

    def _end(self, connection: Connection) -> None:
        self._node.disconnect(connection, EVENTS_LOST, who="service")
