"""Everything of recovery that concerns other nodes, as the router sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, get_args

from moorage.cluster.coverage.homes import Instances, Via
from moorage.cluster.directory import Directory
from moorage.cluster.members.membership import Membership
from moorage.cluster.recovery.barrier import Barrier
from moorage.cluster.recovery.fetches import Fetches
from moorage.cluster.recovery.handing import Handing
from moorage.cluster.recovery.late import LateEmits
from moorage.cluster.recovery.losses import ClusterLosses
from moorage.cluster.recovery.lost_nodes import Journals, LostNodes
from moorage.cluster.streams.kept import LastSent
from moorage.hub.node import Node
from moorage.hub.recovery.causes import LOST, UNKNOWN, UNREACHED
from moorage.wire.cluster.messages import Body, Envelope
from moorage.wire.commands import Command, SendToConnection
from moorage.wire.recovery import handing
from moorage.wire.recovery.late import LateEnd, Lateness, Wanted
from moorage.wire.recovery.losses import Loss
from moorage.wire.recovery.moving import Awaited, Moving, Reached

SINCE: Final = (1, 1)
"""Version of the messages between nodes since which sockets move."""
TELLS_SINCE: Final = (1, 3)
"""Version since which nodes tell what a lost node had not carried out."""
HANDS_ON_SINCE: Final = (1, 5)
"""Version since which an app server's home hands over to an heir that the app server does not cover."""
AT_ONCE: Final = 500
"""Maximum number of sockets that leave at the same time, when the node ends."""
AGAIN: Final = 4.0
"""Seconds after which another node is told to fetch a socket that is still here."""
MAX_PAST: Final = 10_000
"""Maximum number of remembered nodes that are gone."""


class Cluster(Protocol):
    """The way to the other nodes (`cluster.router.Router`)."""

    instances: Instances
    directory: Directory
    membership: Membership | None
    handlers: dict[type, Callable[[Envelope], object]]

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node."""

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""


class Arriving(Protocol):
    """What other nodes send (`cluster.streams.streams.Streams`)."""

    def complete(self, node: str) -> bool:
        """True if everything has come that this node has told of."""

    def position(self, node: str) -> tuple[int, int]:
        """The numbers of the next messages of a node that is there: to all, and to this one."""


class ClusterRecovery:
    """`fetches.Peers` of one node, and its parts. `names` has the other nodes. `is_busy`: what a node has
    sent is not carried out."""

    def __init__(
        self,
        node: Node,
        cluster: Cluster,
        own: str,
        names: Mapping[str, str],
        arriving: Arriving,
        is_busy: Callable[[str], bool],
    ) -> None:
        self._node = node
        self._cluster = cluster
        self._names = names
        self._own = own
        self._arriving = arriving
        self._is_busy = is_busy
        self._past: dict[str, None] = {}
        self._pushed: dict[str, float] = {}
        """Sockets that another node was told to fetch, and when."""
        self.barrier = Barrier(node, self, cluster.instances, own)
        self.fetches = Fetches(node, self, cluster.instances, self.barrier, own)
        self.losses = ClusterLosses(node, self, names.keys(), arriving.complete)
        self.late: LateEmits | None = None
        """Set if nodes keep journals."""
        for kind in (*get_args(Lateness), *get_args(handing.Handing)):
            cluster.handlers[kind] = self._without_journals
        self.handing: Handing | None = None
        """Set with `late`."""
        for kind in get_args(Loss):
            cluster.handlers[kind] = self.losses.take
        for kind in get_args(Moving):
            known = kind in (Awaited, Reached)
            cluster.handlers[kind] = self.barrier.take if known else self.fetches.take

    def add(self, node: str) -> None:
        """Another node is there."""
        self._past.pop(node, None)
        self.losses.add(node)
        if self.late is not None:
            self.late.add(node)
        self._node.claims.elsewhere = self.fetches

    def remove(self, node: str, sent: LastSent) -> None:
        """A node is gone. `sent`: what this one has sent to it lately."""
        self._past[node] = None
        if self.late is not None:
            self.late.remove(node, sent)
        if len(self._past) > MAX_PAST:
            del self._past[next(iter(self._past))]
        if self.fetches.lost is not None:
            self.fetches.lost.remove(node)
        if self.handing is not None:
            self.handing.remove(node)
        self.barrier.remove(node)
        self.fetches.remove(node)
        self.losses.remove(node)

    def keep(self, journals: Journals) -> LostNodes:
        """The sockets of lost nodes are in their journals."""
        keeping = self._node.keeping
        assert keeping is not None
        lost = LostNodes(journals, keeping.heirs, self._node.turns, self._own, self._names.keys)
        self.fetches.keep(lost)
        keeping.heirs.missed = self.losses.late
        self.late = LateEmits(self._node, keeping, self, self._own, self._names.keys())
        for kind in get_args(Lateness):
            self._cluster.handlers[kind] = self.late.take
        keeping.journal.changed = self._journal_changed
        self.handing = Handing(self._node, keeping.heirs, self, self._own, lost.heir)
        for kind in get_args(handing.Handing):
            self._cluster.handlers[kind] = self.handing.take
        self._node.claims.elsewhere = self.fetches
        return lost

    def _journal_changed(self, _up: bool) -> None:
        membership = self._cluster.membership
        if membership is not None:
            # At once: from now on, things leave this node that its journal does not have.
            membership.tell(self._node.clock())

    def _without_journals(self, envelope: Envelope) -> None:
        """A node with journals goes on with sockets of a lost one. This node has none, and has not kept what
        it had sent to the lost node."""
        if isinstance(envelope.body, Wanted):
            self.tell(envelope.origin, LateEnd(envelope.body.lost, complete=not self.has_sent))
        elif isinstance(envelope.body, handing.HeirSought):
            found = handing.HeirFound(envelope.body.lost, envelope.body.hub, is_heir=False)
            self.tell(envelope.origin, found)

    async def restart(self, *, complete: bool) -> None:
        """This node has started again, alone: it goes on with the sockets that it had before. Not `complete`:
        it could not store anything at its end."""
        assert self.fetches.lost is not None
        for former in await self.fetches.lost.restart(complete=complete):
            self._past[former] = None

    def leave(self) -> bool:
        """This node is about to end: other nodes fetch its parked sockets. Call it again until it returns
        True: there is none left, or nobody who could have it."""
        node, now = self._node, self._node.clock()
        heirs = self._heirs()
        left = [
            (hub, track.pid)
            for hub in node.hubs.values()
            if hub.recovery is not None
            for track in hub.recovery.everyone()
            if track.connection is None
        ]
        pushed = {pid: self._pushed[pid] for _, pid in left if pid in self._pushed}
        for hub, pid in left:
            if len(pushed) >= AT_ONCE:
                break
            if heirs and now - pushed.get(pid, 0.0) >= AGAIN:
                pushed[pid] = now
                self.fetches.push(hub.name, pid, heirs[len(pushed) % len(heirs)])
        self._pushed = pushed
        return not left or not heirs

    def _heirs(self) -> tuple[str, ...]:
        """Other nodes that can take sockets over. Those of the own region, if there are any."""
        membership, peers = self._cluster.membership, self.peers()
        if membership is None:
            return peers
        beats = {each: beat for each, (beat, _) in membership.heard().items() if beat.state == "ready"}
        able = tuple(each for each in peers if each in beats)
        near = tuple(each for each in able if beats[each].region == membership.region)
        return near or able

    def gap(self, node: str) -> None:
        """Something that another node had sent is lost."""
        self.barrier.fail()
        self.losses.gap(node)

    def sent(self, command: Command, via: Via | None) -> None:
        """A command is going to other nodes, if there are any for it."""
        self.losses.sent(command, via)
        if self.late is not None:
            self.late.sent(command, via)

    def keeps(self, command: SendToConnection) -> bool:
        """True if the node of a packet's client is lost, and its heir gets the packet."""
        return self.late is not None and self.late.keeps(command)

    def heard(self, node: str, clock: float, *, unstored: bool = False) -> None:
        """A heartbeat has arrived. `unstored`: its node cannot store anything."""
        self.losses.heard(node, clock)
        if self.fetches.lost is not None:
            self.fetches.lost.heard(node, unstored=unstored)
        if self.late is not None:
            self.late.heard(node)

    def tick(self, now: float) -> None:
        """Time passes."""
        if self.late is not None:
            self.late.tick(now)
        self.barrier.tick(now)
        self.fetches.tick(now)
        self.losses.tick(now)

    # -- late.Network --------------------------------------------------------------------------------------

    def position(self, node: str) -> tuple[int, int] | None:
        """How far the messages of a node are carried out. None if that is just not certain."""
        certain = self.losses.is_settled(node) and not self._is_busy(node)
        return self._arriving.position(node) if certain else None

    def tells(self, node: str) -> bool:
        """True if a node is there, with a version that tells what a lost one had not carried out."""
        return self._has_version(node, TELLS_SINCE)

    def _has_version(self, node: str, since: tuple[int, int]) -> bool:
        membership = self._cluster.membership
        member = None if membership is None else membership.members.get(node)
        return node in self._names and (member is None or member.version >= since)

    @property
    def has_sent(self) -> bool:
        """True if this node has sent any emit to others."""
        return self.losses.has_sent

    # -- handing.Network -----------------------------------------------------------------------------------

    def hands_on(self, node: str) -> bool:
        """True if a node is there, with a version that knows the messages of `wire.recovery.handing`."""
        return self._has_version(node, HANDS_ON_SINCE)

    # -- fetches.Peers ------------------------------------------------------------------------------------

    def peers(self) -> tuple[str, ...]:
        """The other nodes. None while one of them has a version that knows nothing of recovery: it could not
        tell what it has carried out."""
        membership = self._cluster.membership
        members = () if membership is None else membership.members.values()
        return () if any(each.version < SINCE for each in members) else tuple(self._names)

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node, behind everything that was sent to it before."""
        self._cluster.tell(node, body)

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""
        self._cluster.after(node, call)

    def fate(self, node: str) -> str:
        """Why a socket that this node made cannot be had, if no node has it: the name of the cause."""
        if node in self._past:
            return LOST
        return UNREACHED if node in self._names and not self.peers() else UNKNOWN

    def once_visible(self, hub: str, groups: tuple[str, ...], call: Callable[[bool], object]) -> None:
        """Call back with True once all nodes know that this one has members of these groups; with False if
        one of them may not know it."""
        directory = self._cluster.directory
        directory.when_visible(hub, groups, lambda: call(not directory.unaware))
