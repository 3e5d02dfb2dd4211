"""What nodes had sent to a node that is lost, and what that one had not carried out. Its heir gets it from
each of them, so that the lost node's sockets miss nothing (docs/explanation/architecture.md, "A node is
lost").

1. A node writes into its journal how far it has carried out what each other node has sent (`heard`).
2. When it is lost, each other node keeps what it had sent to it, and what it would have sent since.
3. The heir takes what is sent to the lost node's sockets from then on, and asks all (`ask`). Each node
   answers with what the lost node had not carried out.

If one of them does not have it all, the sockets are not recovered: nobody knows who would lack something. It
is the same if another node was lost at that time, because what that one had sent is lost with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Final, Protocol

from moorage import logs
from moorage.cluster.coverage.homes import Via, instance_of
from moorage.cluster.streams.kept import LastSent
from moorage.hub.hub import Hub
from moorage.hub.journal.heirs import Heard as Positions
from moorage.hub.journal.keeping import Keeping
from moorage.hub.node import Node
from moorage.hub.recovery.commands import Change
from moorage.hub.turns import Intake, Job
from moorage.wire.cluster import messages
from moorage.wire.cluster.messages import Body, Envelope, Packets
from moorage.wire.commands import Command, Send, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.ids import incarnation_of
from moorage.wire.recovery.journal import Heard
from moorage.wire.recovery.late import Late, LateEnd, Wanted

KEEP_SECONDS: Final = 20.0
"""Seconds for which a node keeps the messages that a lost node did not get. The heir asks a moment after
the loss."""
KEEP_BYTES: Final = 16 * 1024 * 1024
"""Maximum bytes of what would have been sent to a lost node since it is gone."""
WRITE_SECONDS: Final = 1.0
"""Longest time until the progress of other nodes' messages is written. It is in each page, but a node that
gets none of the events of its clients has no pages."""
REPEAT_SECONDS: Final = 30.0
"""After this time all of it is written again, so that old pages are not needed."""
APART: Final = 3.5
"""One of two lost nodes was certainly there longer if its last heartbeat came this many seconds later."""
REMEMBERED_SECONDS: Final = 60.0
PIECE: Final = 100
"""Messages that are looked at in one step."""

log: Final = logs.get("recovery")


class Network(Protocol):
    """The way to the other nodes (`part.ClusterRecovery`)."""

    def tell(self, node: str, body: Body) -> None:
        """Send a message to one node."""

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that a node has sent so far is carried out."""

    def position(self, node: str) -> tuple[int, int] | None:
        """How far the messages of a node are carried out. None if that is just not certain."""

    def tells(self, node: str) -> bool:
        """True if a node is there, with a version that knows the messages of `wire.recovery.late`."""

    @property
    def has_sent(self) -> bool:
        """True if this node has sent any emit to others."""


class _Gone:
    """A node that is lost, for a node that sends to it."""

    def __init__(self, sent: LastSent, now: float) -> None:
        self.sent = sent
        self.since = now
        self.later: list[bytes] = []
        """What would have been sent to it since."""
        self.fits = True
        self._size = 0

    def add(self, message: bytes) -> None:
        """A message would be sent to it."""
        self._size += len(message)
        if self._size <= KEEP_BYTES:
            self.later.append(message)
        else:
            self.fits = False
            self.later.clear()


class LateEmits:
    """The side of the heir and that of the others, at one node. `peers` are the other nodes."""

    def __init__(
        self, node: Node, keeping: Keeping, network: Network, own: str, peers: Collection[str]
    ) -> None:
        self._node = node
        self._journal = keeping.journal
        self._heirs = keeping.heirs
        self._network = network
        self._own = own
        self._peers = peers
        self._work = Intake(node.turns)
        self._gone: dict[str, _Gone] = {}
        self._wanted: dict[str, dict[str, Wanted]] = {}
        """Questions about nodes whose loss is not known here, by node and heir."""
        self._lives: dict[str, float] = {}
        """When each node that is there was heard last."""
        self._ends: dict[str, float] = {}
        """When those that are gone were heard last."""
        self._begun: dict[str, tuple[Callable[[], bool], Wanted]] = {}
        """Lost nodes for which this one has a part itself, once large work is over."""
        self._written: dict[str, tuple[int, int]] = {}
        self._next = self._again = 0.0
        keeping.journal.progress = self._progress
        keeping.heirs.ask = self._ask

    # -- how far the messages of others are carried out -------------------------------------------------

    def _progress(self) -> Iterator[Heard]:
        for peer in self._peers:
            position = self._network.position(peer)
            if position is not None and self._written.get(peer) != position:
                self._written[peer] = position
                yield Heard(peer, *position)

    def heard(self, node: str) -> None:
        """A heartbeat has arrived."""
        self._lives[node] = self._node.clock()

    def tick(self, now: float) -> None:
        """Time passes."""
        if self._journal.down or now >= self._again:
            self._written.clear()
            self._again = now + REPEAT_SECONDS
        if now >= self._next and not self._journal.down:
            self._next = now + WRITE_SECONDS
            for entry in self._progress() if any(map(_is_written, self._node.hubs.values())) else ():
                self._journal.add(entry)
        for node, gone in tuple(self._gone.items()):
            if now - gone.since >= KEEP_SECONDS:
                self._forget(node)
        self._ends = {node: end for node, end in self._ends.items() if now - end < REMEMBERED_SECONDS}
        self._own_part()

    # -- what this node sends ---------------------------------------------------------------------------

    def sent(self, command: Command, via: Via | None) -> None:
        """A command is sent to other nodes."""
        if isinstance(command, Send | Change):
            for node, gone in self._gone.items():
                # An app server hands over its own messages to the lost node.
                if via is None:
                    gone.add(messages.encode(Envelope(self._own, command)))
                elif via.covered is not None and node not in via.covered:
                    more = via.instance, via.term, via.number
                    gone.add(messages.encode(Envelope(self._own, command, 0, *more)))

    def keeps(self, command: SendToConnection) -> bool:
        """True if the client of a packet was at a lost node, whose heir gets the packet from here."""
        gone = self._gone.get(incarnation_of(command.connection))
        if gone is not None:
            gone.add(messages.encode(Envelope(self._own, command)))
        return gone is not None

    def remove(self, node: str, sent: LastSent) -> None:
        """A node is gone."""
        now = self._node.clock()
        self._ends[node] = self._lives.pop(node, now)
        self._written.pop(node, None)
        self._gone[node] = _Gone(sent, now)
        for heir, wanted in self._wanted.pop(node, {}).items():
            self._tell(heir, wanted)
        for asked in self._wanted.values():
            asked.pop(node, None)
        self._heirs.gone(node)

    def add(self, node: str) -> None:
        """A node is there, perhaps again."""
        self._ends.pop(node, None)
        self._forget(node)

    def _forget(self, node: str) -> None:
        self._gone.pop(node, None)
        self._begun.pop(node, None)

    def _tell(self, heir: str, wanted: Wanted) -> None:
        gone = self._gone.pop(wanted.lost)
        give = partial(self._network.tell, heir)
        self._work.add(
            self._handing(
                gone,
                wanted,
                lambda message: give(Late(wanted.lost, message)),
                lambda complete: give(LateEnd(wanted.lost, complete)),
            )
        )

    def _handing(
        self,
        gone: _Gone,
        wanted: Wanted,
        give: Callable[[bytes], object],
        end: Callable[[bool], object],
    ) -> Job[None]:
        sent = gone.sent.since(wanted.all, wanted.direct)
        for place, message in enumerate(chain(sent or (), gone.later), 1):
            if _concerns_sockets(message):
                give(message)
            if place % PIECE == 0:
                yield False
        end(sent is not None and gone.fits)

    # -- what the heir does -----------------------------------------------------------------------------

    def _ask(self, lost: str, heard: Positions) -> Collection[str]:
        """`Heirs.ask`."""
        owing = {*self._peers, self._own} if lost in self._gone else set(self._peers)
        # Behind the news of the groups that this node has now.
        self._node.later(partial(self._node.guard, "recovery", self._ask_all, lost, heard, tuple(owing)))
        return owing

    def _ask_all(self, lost: str, heard: Mapping[str, tuple[int, int]], nodes: Collection[str]) -> None:
        end = self._ends.get(lost)
        others = [each for each, last in self._ends.items() if end is not None and last + APART > end]
        apart = others == [lost] or end is None
        for node in nodes:
            wanted = Wanted(lost, *heard.get(node, (0, 0)))
            if not apart or (node != self._own and not self._network.tells(node)):
                self._told(lost, node, complete=False)
            elif node == self._own:
                self._begun[lost] = self._node.begun(), wanted
            else:
                self._network.tell(node, wanted)
        self._own_part()

    def _own_part(self) -> None:
        """What is delivered in steps here is sent on at its end, so this node waits for that."""
        for lost, (over, wanted) in tuple(self._begun.items()):
            if over():
                del self._begun[lost]
                self._work.add(
                    self._handing(
                        self._gone.pop(lost),
                        wanted,
                        partial(self._carry_out, self._own, lost),
                        lambda complete, lost=lost: self._told(lost, self._own, complete=complete),  # type: ignore[misc]
                    )
                )

    def _told(self, lost: str, node: str, *, complete: bool) -> None:
        if not complete:
            log.warning(
                "the sockets of a lost node end, because what this node had sent to it is not known",
                lost=lost,
                node=node,
            )
        self._heirs.told(lost, node, complete=complete)

    def take(self, envelope: Envelope) -> None:
        """A question, or an answer."""
        node, body = envelope.origin, envelope.body
        if isinstance(body, Wanted):
            self._asked(node, body)
        elif isinstance(body, Late):
            self._network.after(node, partial(self._carry_out, node, body.lost, body.message))
        else:
            assert isinstance(body, LateEnd)
            self._network.after(node, partial(self._told, body.lost, node, complete=body.complete))

    def _asked(self, node: str, wanted: Wanted) -> None:
        if wanted.lost in self._gone:
            self._tell(node, wanted)
        elif wanted.lost in self._peers:
            # The heir has noticed the loss first.
            self._wanted.setdefault(wanted.lost, {})[node] = wanted
        else:
            # This node has begun after the loss, or the question comes very late.
            self._network.tell(node, LateEnd(wanted.lost, not self._network.has_sent))

    def _carry_out(self, node: str, lost: str, message: bytes) -> None:
        try:
            envelope = messages.decode(message)
            if envelope.origin == node:
                self._hand_over(lost, envelope)
        except PeerError as error:
            log.warning("a message for a lost node cannot be carried out", node=node, reason=str(error))

    def _hand_over(self, lost: str, envelope: Envelope) -> None:
        body, heirs = envelope.body, self._heirs
        hub = self._node.hubs.get(getattr(body, "hub", "").casefold())
        if hub is None:
            return
        if isinstance(body, Packets):
            for connection, payload in body.packets:
                heirs.packet(lost, hub.name, connection, payload)
        elif isinstance(body, SendToConnection):
            heirs.packet(lost, hub.name, body.connection, body.payload)
        elif isinstance(body, Send | Change):
            instance = envelope.instance.removeprefix(instance_of(hub.name, ""))
            heirs.late(lost, hub.name, body, instance)


def _concerns_sockets(message: bytes) -> bool:
    """True if the heir needs a message."""
    try:
        return isinstance(messages.decode(message).body, Send | SendToConnection | Packets | Change)
    except PeerError:  # pragma: no cover - it is this node's own message
        return True


def _is_written(hub: Hub) -> bool:
    return hub.recovery is not None and hub.recovery.scribe is not None
