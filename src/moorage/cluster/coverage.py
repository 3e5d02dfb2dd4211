"""What the sessions of app servers that cover several nodes need from the cluster: the list of the nodes, and
the forwarding of their commands to nodes that they do not cover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from moorage.cluster.homes import Instance, Via
from moorage.cluster.membership import Member
from moorage.cluster.router import Router
from moorage.hub.ports import Answers, Reply
from moorage.wire.cluster import Envelope, Mark, Uncovered
from moorage.wire.commands import Ask, Cast, Outcome, Write
from moorage.wire.moorage.coverage import NodeRow


class Coverage:
    """`edge.moorage.coverage.Homes`. `own` describes this node; `reachable` is true for a node at which an
    app server can open a link."""

    def __init__(self, router: Router, own: Member, reachable: Callable[[Member], bool]) -> None:
        self._router = router
        self._own = own
        self._reachable = reachable
        router.handlers[Mark] = self._marked
        router.handlers[Uncovered] = self._uncovered

    def nodes(self, hub: str, server_id: str) -> tuple[NodeRow, ...]:
        """All live nodes, ordered by incarnation."""
        return tuple(sorted(self._rows(), key=lambda row: row.id))

    def _rows(self) -> Iterator[NodeRow]:
        own, membership = self._own, self._router.membership
        yield NodeRow(own.incarnation, own.name, own.advertise, own.region, True)
        for other in membership.members.values() if membership is not None else ():
            cover = self._reachable(other)
            yield NodeRow(other.incarnation, other.name, other.advertise, other.region, cover)

    def instance(self, instance: str) -> Instance:
        """What this node has carried out for an instance of an app server."""
        return self._router.instances.get(instance)

    def beyond(self, instance: str, term: int, nodes: Collection[str] | None) -> Beyond:
        """Reaches the nodes outside `nodes`; None: no other node."""
        covered = None if nodes is None else (*nodes, self._own.incarnation)
        return Beyond(self._router, Via(instance, term, covered))

    def changed(self, instance: str, term: int, added: Collection[str], removed: Collection[str]) -> None:
        """The home tells nodes that they are covered from now on, or not any more."""
        for node in added:
            self._router.tell(node, Mark(instance, term))
        for node in removed:
            self._router.tell(node, Uncovered(instance, term))

    def _marked(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Mark)
        self._router.after(envelope.origin, lambda: self.instance(body.instance).mark(body.term))

    def _uncovered(self, envelope: Envelope) -> None:
        body = envelope.body
        assert isinstance(body, Uncovered)
        self._router.after(envelope.origin, lambda: self.instance(body.instance).uncover(body.term))


class Beyond:
    """`hub.ports.Reach` for an app server that covers some nodes: reaches the others."""

    def __init__(self, router: Router, via: Via) -> None:
        self._router = router
        self.via = via

    @property
    def number(self) -> int:
        """Of the command that is being forwarded, as the app server counts."""
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
