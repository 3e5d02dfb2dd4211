"""An app server hands over to the heir of a lost node, at which it has no session: its home forwards what the
lost node had not carried out (docs/explanation/architecture.md, "A node is lost").

1. The home asks the heir, which answers when it knows the lost node's sockets (`find`). The news of their
   groups comes before the answer, so what the app server emits from then on is forwarded to the heir, too.
2. The home forwards the frames, and the end of them (`Heir`).

A home that is lost meanwhile has not sent the end, so the sockets are not recovered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final, Protocol

from moorage import logs
from moorage.hub.journal import unfinished
from moorage.hub.journal.heirs import Heirs
from moorage.hub.journal.unfinished import Unfinished
from moorage.hub.node import Node
from moorage.hub.recovery.commands import Change
from moorage.wire.cluster import messages
from moorage.wire.cluster.messages import Body, Envelope
from moorage.wire.commands import Send, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.recovery import handing as wire

log: Final = logs.get("recovery")


class Network(Protocol):
    """The way to the other nodes (`part.ClusterRecovery`)."""

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node."""

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""

    def hands_on(self, node: str) -> bool:
        """True if a node is there, with a version that knows the messages of `wire.recovery.handing`."""


class Heir:
    """The heir of a lost node, for the home of an app server: `edge.moorage.coverage.Heir`."""

    def __init__(self, tell: Callable[[Body], object], own: str, lost: str, hub: str) -> None:
        self._tell = tell
        self._own = own
        self._lost = lost
        self._hub = hub

    def unfinished(self, found: Unfinished) -> None:
        """A command that the lost node may not have carried out."""
        session, batch, place, client, command = found
        message = messages.encode(Envelope(self._own, command))
        self._tell(wire.Unfinished(self._lost, self._hub, session, batch, place, client, message))

    def settled(self, instance: str, number: int) -> None:
        """That was all of this app server."""
        self._tell(wire.Settled(self._lost, self._hub, instance, number))

    def saved(self, server: str, namespace: str, sid: str, data: bytes) -> None:
        """The data of a socket that the lost node had."""
        self._tell(wire.Saved(self._hub, server, namespace, sid, data))


Found = Callable[[Heir | None], object]


class Handing:
    """Both sides at one node. `heir_of` names the heir of a lost node; "" if this node does not know of the
    loss."""

    def __init__(
        self, node: Node, heirs: Heirs, network: Network, own: str, heir_of: Callable[[str], str]
    ) -> None:
        self._node = node
        self._heirs = heirs
        self._network = network
        self._own = own
        self._heir_of = heir_of
        self._sought: dict[tuple[str, str, str], list[Found]] = {}
        """Questions without an answer: by the node that was asked, the lost node, and the hub."""

    # -- the home -----------------------------------------------------------------------------------------

    def find(self, lost: str, hub: str, covered: Collection[str], done: Found) -> None:
        """Call `done` with the heir of a lost node, once that knows its sockets; with None if the heir is
        this node or one of `covered`, to which the app server hands over itself, or if it is not known."""
        heir = self._heir_of(lost)
        if heir == self._own or heir in covered or not self._network.hands_on(heir):
            done(None)
            return
        waiting = self._sought.setdefault((heir, lost, hub), [])
        waiting.append(done)
        if len(waiting) == 1:
            self._network.tell(heir, wire.HeirSought(lost, hub))

    def _found(self, node: str, body: wire.HeirFound) -> None:
        heir = Heir(partial(self._network.tell, node), self._own, body.lost, body.hub)
        for done in self._sought.pop((node, body.lost, body.hub), ()):
            done(heir if body.is_heir else None)

    def remove(self, node: str) -> None:
        """A node is gone. It answers nothing any more."""
        for key in [key for key in self._sought if key[0] == node]:
            for done in self._sought.pop(key):
                done(None)

    # -- the heir -----------------------------------------------------------------------------------------

    def _asked(self, node: str, body: wire.HeirSought) -> None:
        if self._heirs.is_reading(body.lost) or self._heirs.is_alive(body.lost):
            # The home has perhaps noticed the loss first.
            self._heirs.once_known(body.lost, partial(self._answer, node, body))
        else:
            self._answer(node, body)

    def _answer(self, node: str, body: wire.HeirSought) -> None:
        is_heir = self._heirs.takes(body.lost, self._hub(body.hub))
        answer = wire.HeirFound(body.lost, body.hub, is_heir)
        # Behind the news of the groups that this node has now.
        self._node.later(partial(self._node.guard, "recovery", self._network.tell, node, answer))

    def _hub(self, name: str) -> str:
        """The name of a hub at this node, which may differ in the case of its letters."""
        hub = self._node.hubs.get(name.casefold())
        return name if hub is None else hub.name

    def _carry_out(self, node: str, body: wire.Unfinished) -> None:
        try:
            command = messages.decode(body.message).body
            if isinstance(command, Send | SendToConnection | Change):
                made = Unfinished(body.session, body.batch, body.place, body.client, command)
                unfinished.carry_out(self._heirs, body.lost, self._hub(body.hub), made)
        except PeerError as error:
            log.warning("a message for a lost node cannot be carried out", node=node, reason=str(error))

    def _saved(self, body: wire.Saved) -> None:
        hub = self._node.hubs.get(body.hub.casefold())
        if hub is None:
            return
        servers = (*hub.servers.all(), *hub.servers.elsewhere)
        server = next((each for each in servers if each.id == body.server), None)
        if server is not None:
            self._node.claims.save(hub, server, body.namespace, body.sid, body.data)

    # -- both ---------------------------------------------------------------------------------------------

    def take(self, envelope: Envelope) -> None:
        """A question, an answer, or what is handed over."""
        self._network.after(envelope.origin, partial(self._take, envelope.origin, envelope.body))

    def _take(self, node: str, body: Body) -> None:
        if isinstance(body, wire.HeirSought):
            self._asked(node, body)
        elif isinstance(body, wire.HeirFound):
            self._found(node, body)
        elif isinstance(body, wire.Unfinished):
            self._carry_out(node, body)
        elif isinstance(body, wire.Settled):
            self._heirs.handed_over(body.lost, self._hub(body.hub), body.instance, body.number)
        else:
            assert isinstance(body, wire.Saved)
            self._saved(body)
