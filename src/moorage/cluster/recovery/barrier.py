"""A moment in which all nodes have carried out at least certain commands, and this node has received what
came of them.

An app server sends its commands to several nodes, and its home forwards them to others. So a command may
have been carried out at one node and be on its way to another. Before a socket moves, both of its nodes
wait for such a moment (docs/explanation/architecture.md, "A client returns at another node"). Those who begin
to wait in one turn of the loop wait together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from moorage.cluster.coverage.homes import Instances
from moorage.hub.node import Node
from moorage.wire.cluster.messages import Body, Envelope
from moorage.wire.recovery.moving import Awaited, Reached

SECONDS: Final = 3.0
"""Longest time to wait. Then an event may be missing, so the socket is not recovered."""

Done = Callable[[bool], object]


class Network(Protocol):
    """The way to the other nodes (`cluster.router.Router`)."""

    def peers(self) -> tuple[str, ...]:
        """The other nodes."""

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node, behind everything that was sent to it before."""

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""


class _Round:
    """Some who wait together."""

    def __init__(self, done: list[Done], nodes: set[str], until: float) -> None:
        self.done = done
        self.owing = nodes
        """Nodes that have not answered, this one among them."""
        self.until = until


class Barrier:
    """All who wait at this node, and the questions of other nodes."""

    def __init__(self, node: Node, network: Network, instances: Instances, own: str) -> None:
        self._node = node
        self._network = network
        self._instances = instances
        self._own = own
        self._executed: dict[str, int] = {}
        self._waiting: list[Done] = []
        """Who has begun to wait in this turn, and for what."""
        self._rounds: dict[int, _Round] = {}
        self._last = 0
        self._behind: list[tuple[float, Mapping[str, int], Callable[[], object]]] = []
        """Calls that wait until commands have been carried out here, and until when."""

        self._large: list[tuple[float, Callable[[], bool], Callable[[], object]]] = []
        """Calls that wait until large work is over."""

    def wait(self, executed: Mapping[str, int], done: Done) -> None:
        """Call `done(True)` once all nodes have carried out the commands of each app server up to these
        numbers, and this node what they have sent before. `done(False)` if that takes too long."""
        if not self._waiting:
            self._node.later(self._begin)
        for instance, number in executed.items():
            self._executed[instance] = max(number, self._executed.get(instance, 0))
        self._waiting.append(done)

    def _begin(self) -> None:
        executed, self._executed = self._executed, {}
        waiting, self._waiting = self._waiting, []
        self._last += 1
        number, peers = self._last, self._network.peers()
        self._rounds[number] = _Round(waiting, {self._own, *peers}, self._node.clock() + SECONDS)
        for peer in peers:
            self._network.tell(peer, Awaited(number, executed))
        self._once_executed(executed, partial(self._reached, number, self._own))

    def remove(self, peer: str) -> None:
        """A node is gone. Its messages have been carried out, or never will be."""
        for number in tuple(self._rounds):
            self._reached(number, peer)

    def fail(self) -> None:
        """Something that another node had sent is lost."""
        rounds, self._rounds = self._rounds, {}
        for found in rounds.values():
            self._end(found, reached=False)

    def take(self, envelope: Envelope) -> None:
        """A question, or an answer."""
        body, node = envelope.body, envelope.origin
        if self._behind:
            # Sooner than the next tick: a client waits.
            self._look_again(self._node.clock())
        if isinstance(body, Awaited):
            answer = partial(self._network.tell, node, Reached(body.number))
            self._once_executed(body.executed, answer)
        else:
            assert isinstance(body, Reached)
            self._network.after(node, partial(self._reached, body.number, node))

    def tick(self, now: float) -> None:
        """Time passes."""
        large, self._large = self._large, []
        for until, over, call in large:
            if until > now:
                self._once(until, over, call)
        self._look_again(now)
        for number, found in tuple(self._rounds.items()):
            if found.until <= now:
                del self._rounds[number]
                self._end(found, reached=False)

    def _reached(self, number: int, node: str) -> None:
        found = self._rounds.get(number)
        if found is not None:
            found.owing.discard(node)
            if not found.owing:
                del self._rounds[number]
                self._end(found, reached=True)

    def _end(self, found: _Round, *, reached: bool) -> None:
        for done in found.done:
            self._node.guard("recovery", done, reached)

    # -- what is carried out here ---------------------------------------------------------------------

    def _once_executed(self, executed: Mapping[str, int], call: Callable[[], object]) -> None:
        self._look(self._node.clock() + SECONDS, executed, call)

    def _look_again(self, now: float) -> None:
        behind, self._behind = self._behind, []
        for until, executed, call in behind:
            if until > now:
                self._look(until, executed, call)

    def _once(self, until: float, over: Callable[[], bool], call: Callable[[], object]) -> None:
        if over():
            call()
        else:
            self._large.append((until, over, call))

    def _look(self, until: float, executed: Mapping[str, int], call: Callable[[], object]) -> None:
        """Make the call if all is carried out, or look again with the next tick."""
        sessions = []
        for instance, number in executed.items():
            known = self._instances.find(instance)
            session = None if known is None else known.session or known.waiting
            if known is not None and session is not None:
                if known.number < number:
                    self._behind.append((until, executed, call))
                    return
                sessions.append(session)
        left = len(sessions)

        def settled() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                # What is carried out in steps is sent to other nodes at its end.
                self._once(until, self._node.begun(), call)

        if not sessions:
            settled()
        for session in sessions:
            session.settled(settled)
