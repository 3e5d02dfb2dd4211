"""What the sessions of app servers that cover several nodes need from the cluster: the list of the nodes, and
the forwarding of their commands to nodes that they do not cover."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from moorage.cluster.coverage.assignment import Assignment
from moorage.cluster.coverage.homes import Instance, Via
from moorage.cluster.members.membership import Member
from moorage.cluster.recovery.handing import Handing
from moorage.cluster.router import Router
from moorage.hub.hub import AppServer, Hub
from moorage.hub.node import Node
from moorage.hub.ports import Answers, Reply
from moorage.wire.cluster.messages import Envelope, Mark, Uncovered
from moorage.wire.commands import EVERYONE, Ask, Cast, Exists, Outcome, Write
from moorage.wire.moorage.coverage import NodeRow

COVER_SECONDS: Final = 2.0
"""Longest time that a new node waits for the app servers that should cover it."""
MAX_HUBS: Final = 1_000
"""Maximum number of hubs whose assignment is kept."""


class Coverage:
    """`edge.moorage.coverage.Homes` of `node`, which `own` describes. `reachable` is true for a node at which
    an app server can open a link. `most` is the setting `coverage.max`."""

    def __init__(
        self, node: Node, router: Router, own: Member, reachable: Callable[[Member], bool], *, most: int
    ) -> None:
        self._node = node
        self._router = router
        self._own = own
        self._reachable = reachable
        self._most = most
        self._assignments: dict[str, Assignment] = {}
        """The assignments, by hub."""
        router.handlers[Mark] = self._marked
        router.handlers[Uncovered] = self._uncovered

    @property
    def heirs(self) -> Handing | None:
        """Finds the heirs of lost nodes. None without journals."""
        return self._router.recovery.handing

    def nodes(self, app: AppServer, hub: Hub, covered: Collection[str]) -> tuple[NodeRow, ...]:
        """All live nodes, ordered by incarnation. The app server has a session at the nodes in `covered`, and
        should keep it at its home, which is this node while its `home` is set. It does not begin
        to cover a node that forwards clients to it: their packets would get a second way, and overtake each
        other. Nodes of other regions are never to be covered: it reaches them through its home."""
        assignment = self._assignment(hub)
        chosen = assignment.of(app.id)
        # Clients that it has at a node keep its session there.
        serves = self._router.forwarding.serves
        chosen |= {
            node for node in assignment.nodes - chosen if node in covered and serves(node, hub, app.id)
        }
        if app.guests:
            chosen -= {guest.node for guest in app.guests}.difference(covered)
        if app.home:
            chosen |= {self._own.incarnation}
        found = [
            NodeRow(each.incarnation, each.name, each.advertise, each.region, each.incarnation in chosen)
            for each in (self._own, *self._others())
        ]
        return tuple(sorted(found, key=lambda row: row.id))

    def _others(self) -> Collection[Member]:
        membership = self._router.membership
        return membership.members.values() if membership is not None else ()

    def _assignment(self, hub: Hub) -> Assignment:
        region = self._own.region
        nodes = {
            each.incarnation for each in self._others() if each.region == region and self._reachable(each)
        }
        nodes.add(self._own.incarnation)
        # A few nodes are covered by all app servers, whichever these are.
        few = len(nodes) <= self._most
        servers = set() if few else {app.id for app in hub.servers.serving() if _may_cover(app)}
        known = self._assignments.get(hub.name)
        if known is None or known.nodes != nodes or known.servers != servers:
            if len(self._assignments) >= MAX_HUBS:
                self._assignments.clear()
            known = self._assignments[hub.name] = Assignment(servers, nodes, self._most)
        return known

    def is_covered(self, now: float) -> bool:
        """True if each app server that should have a session here has one, or had enough time for it."""
        membership = self._router.membership
        if membership is None or membership.listened is None:
            return False
        return now - membership.listened >= COVER_SECONDS or (
            self._router.forwarding.is_told and not any(map(self._is_awaited, self._node.hubs.values()))
        )

    def _is_awaited(self, hub: Hub) -> bool:
        """True if an app server that should cover this node has no session here."""
        if not self._reachable(self._own):
            return False
        # The home of an app server lists the nodes for it.
        awaited = {app for app in hub.servers.elsewhere if app.home and _may_cover(app) and not app.clients}
        here = {app.id for app in hub.servers.all() if app.up}
        own, assignment = self._own.incarnation, self._assignment(hub)
        return any(app.id not in here and own in assignment.of(app.id) for app in awaited)

    def instance(self, instance: str) -> Instance:
        """The highest number that this node has carried out for an instance of an app server."""
        return self._router.instances.get(instance)

    def beyond(self, instance: str, term: int, nodes: Collection[str] | None) -> Beyond:
        """Reaches the nodes outside `nodes`; None: no other node."""
        covered = None if nodes is None else (*nodes, self._own.incarnation)
        return Beyond(self._router, Via(instance, term, covered))

    def changed(
        self, instance: str, term: int, added: Collection[str], removed: Collection[str] | None
    ) -> None:
        """The home tells nodes that they are covered from now on, or not any more. A new home (`removed` is
        None) tells all nodes: the last one may have died before it could, and what that one has forwarded
        must not come behind the packets for their clients."""
        for node in added:
            self._router.tell(node, Mark(instance, term))
        if removed is None:
            removed = [node for node in self._router.peers if node not in added]
        for node in removed:
            self._router.tell(node, Uncovered(instance, term))

    def mark(self, hub: str, instance: str, term: int) -> None:
        """A session that waits for the mark of this term is the home now: the mark comes from this node,
        once everything that the other nodes had sent before is carried out here. It does not come if one of
        them does not answer."""
        peers, waiting = tuple(self._router.peers), 1

        def arrived() -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                self.instance(instance).mark(term)

        def answered(_about: object, outcome: Outcome | Exception) -> None:
            nonlocal waiting
            if isinstance(outcome, Exception) or outcome.missing:
                return
            waiting += len(peers)
            for node in peers:
                self._router.after(node, arrived)
            arrived()

        # Any question will do that all nodes answer: an answer comes behind what its node has sent before.
        question = Exists(hub, EVERYONE)
        reply, about, _ = self._router.ask(question, answered, None, None)
        reply(about, Outcome(found=False))

    def _marked(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Mark)
        self._router.after(envelope.origin, lambda: self.instance(body.instance).mark(body.term))

    def _uncovered(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Uncovered)
        self._router.after(envelope.origin, lambda: self.instance(body.instance).uncover(body.term))


def _may_cover(app: AppServer) -> bool:
    """True for an app server of this region with clients that may have sessions at several nodes."""
    return bool(app.instance) and app.takes_clients and not app.far


class Beyond:
    """`hub.ports.Reach` for an app server that covers some nodes: reaches the others."""

    def __init__(self, router: Router, via: Via) -> None:
        self._router = router
        self.via = via

    @property
    def number(self) -> int:
        """The app server's number of the command that is being forwarded."""
        return self.via.number

    @number.setter
    def number(self, number: int) -> None:
        self.via.number = number

    def cast(self, command: Cast, here: Outcome) -> None:
        """As in the port."""
        self._router.cast(command, here, self.via)

    def write(self, command: Write, here: Outcome, reply: Reply, about: Any) -> None:
        """As in the port."""
        self._router.write(command, here, reply, about, self.via)

    def ask(
        self, command: Ask, reply: Reply, about: Any, answers: Answers[Any] | None
    ) -> tuple[Reply, Any, Answers[Any] | None]:
        """As in the port."""
        return self._router.ask(command, reply, about, answers, self.via)
