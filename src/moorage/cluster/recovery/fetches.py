"""Sockets whose client comes to this node while another one has them, and sockets of this node whose client
has come to another one.

The rules that keep each event once and in order:

1. The node of the client records what is sent to the socket before the other node gives it away: it joins the
   socket's groups, and waits until all nodes know of that.
2. The node that has the socket gives it away in a moment in which it has carried out all that the other one
   had carried out before (`Barrier`). So what was sent has been recorded by at least one of them.
3. With the socket it tells what it has carried out. What both have recorded is replayed once.
4. The client is connected when this node has carried out all that, too. So nothing comes a second time later.

A message that is lost, or a node that is slow, ends in a new session for the client, never in a part of the
former one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from moorage.cluster.coverage.homes import Instances, instance_of
from moorage.cluster.recovery.barrier import Barrier, Network
from moorage.cluster.recovery.lost_nodes import LostNodes
from moorage.hub.hub import Connection
from moorage.hub.journal.heirs import Heirs
from moorage.hub.node import Node
from moorage.hub.ports import Wanted
from moorage.hub.recovery.causes import LOST, UNKNOWN, UNREACHED, UNSTORED
from moorage.hub.recovery.moves import Expected, Gifts, Given
from moorage.hub.recovery.sockets.state import Recovery
from moorage.wire.cluster.messages import Envelope
from moorage.wire.ids import incarnation_of
from moorage.wire.recovery.moving import Asked, Denied, Kept, More, Offered, Pushed, Take, Taken

SECONDS: Final = 12.0
"""Longest time that a client waits for its socket: for the app server's data, and for two barriers."""
UNKNOWN_SECONDS: Final = 30.0
"""How long a node does not ask again for a socket that no node had."""
MAX_UNKNOWN: Final = 10_000
"""Such sockets that are remembered."""
MAX_ROUNDS: Final = 5
"""Number of times that a socket may have new groups when it is to be given away."""

Done = Callable[[str], object]


class Peers(Network, Protocol):
    """The other nodes, and those that were there."""

    def fate(self, node: str) -> str:
        """Why a socket that this node made cannot be had, if no node has it: the name of the cause."""

    def once_visible(self, hub: str, groups: tuple[str, ...], call: Callable[[bool], object]) -> None:
        """Call back with True once all nodes know that this one has members of these groups; with False if
        one of them may not know it."""


class _Fetch:
    """One socket that is to come."""

    def __init__(self, wanted: Wanted, number: int, until: float, done: Done, *, whole: bool) -> None:
        self.wanted = wanted
        self.whole = whole
        self.number = number
        self.until = until
        self._done = [done]
        self.asked: set[str] = set()
        """Nodes that have not answered whether they have the socket."""
        self.lost = ""
        """The lost node that is thought to have had the socket."""
        self.tried: set[str] = set()
        """All nodes that were asked so far."""
        self.all = False
        """True if all nodes were asked."""
        self.cause = UNKNOWN
        self.giver = ""
        """The node that has it."""
        self.expected: Expected | None = None
        self.taken = False
        self.rounds = 0
        self.later: list[Envelope] = []
        """Questions of other nodes for the same socket."""

    def add(self, done: Done) -> None:
        """A further caller waits for it, too."""
        self._done.append(done)

    def done(self, cause: str) -> None:
        """The socket is here, or `cause` names the reason why it does not come."""
        for done in self._done:
            done(cause)


class Fetches:
    """`hub.ports.Elsewhere`, and the answers to the other nodes."""

    def __init__(self, node: Node, peers: Peers, instances: Instances, barrier: Barrier, own: str) -> None:
        self._node = node
        self._peers = peers
        self._instances = instances
        self._barrier = barrier
        self._own = own
        self._gifts = Gifts(node.hubs, node.clock, node.claims.give)
        node.claims.saved = self._gifts.saved
        self.lost: LostNodes | None = None
        """Lost nodes, if nodes keep journals (`keep`)."""
        self._by_pid: dict[str, _Fetch] = {}
        self._by_number: dict[int, _Fetch] = {}
        self._last = 0
        self._unknown: dict[str, float] = {}
        """The `pid`s that no node had, the oldest first, and when that was."""

    def keep(self, lost: LostNodes) -> None:
        """Nodes keep journals."""
        self.lost, self._gifts.lends = lost, True

    # -- sockets that come here -----------------------------------------------------------------------

    def fetch(self, wanted: Wanted, done: Done) -> None:
        """`hub.ports.Elsewhere`."""
        self._fetch(wanted, done, whole=False)

    def _fetch(self, wanted: Wanted, done: Done, *, whole: bool) -> None:
        coming = self._by_pid.get(wanted.pid)
        if coming is not None:
            # A node that ends gives its sockets away, perhaps just when the client comes.
            coming.add(done)
            return
        owner, peers = incarnation_of(wanted.pid), self._peers.peers()
        fate = self._peers.fate(owner)
        if not whole and self._is_unknown(wanted.pid):
            done(fate)
            return
        here = owner == self._own or owner in peers
        # With journals, a node that was lost before this one began has an heir, so any node may have been.
        known = fate == LOST or here or self.lost is not None
        if not known or not (peers or self.lost is not None):
            # Without journals, an invented `pid` costs the other nodes no message.
            done(fate)
            return
        self._last += 1
        until = self._node.clock() + SECONDS
        fetch = _Fetch(wanted, self._last, until, done, whole=whole)
        self._by_pid[wanted.pid] = self._by_number[fetch.number] = fetch
        if self.lost is not None and not here:
            self._ask_heir(self.lost.heirs, fetch, owner)
        elif owner in peers:
            self._ask(fetch, (owner,))
        elif peers:
            self._ask(fetch, peers)
        else:
            self._give_up(fetch)

    def _is_unknown(self, pid: str) -> bool:
        """True if no node had this socket a moment ago. A client that asks again and again costs the other
        nodes nothing."""
        return self._node.clock() - self._unknown.get(pid, -UNKNOWN_SECONDS) < UNKNOWN_SECONDS

    def _ask_heir(self, heirs: Heirs, fetch: _Fetch, node: str) -> None:
        """A node that may have had the socket is lost. If this one is its heir, the socket is here, or will
        be."""
        fetch.lost = node
        fetch.tried.add(node)
        if heirs.waits(node):
            heirs.when_open(node, partial(self._once_open, fetch))
        else:
            self._once_open(fetch)

    def _once_open(self, fetch: _Fetch) -> None:
        if self._by_number.get(fetch.number) is not fetch:
            return
        hub, peers = self._node.hub(fetch.wanted.hub), self._peers.peers()
        if hub is not None and hub.recovery is not None and hub.recovery.find(fetch.wanted.pid) is not None:
            self._end(fetch, "")
        elif peers:
            self._ask(fetch, peers)
        else:
            self._give_up(fetch)

    def _give_up(self, fetch: _Fetch) -> None:
        """No node has the socket. One that is lost may have had it."""
        owner = incarnation_of(fetch.wanted.pid)
        fate = self._peers.fate(owner)
        if self.lost is not None and fetch.cause == UNKNOWN:
            for node in (*((owner,) if fate == LOST else ()), *self.lost.recent()):
                if node not in fetch.tried:
                    self._ask_heir(self.lost.heirs, fetch, node)
                    return
            if self.lost.heirs.was_unread(fetch.lost):
                fate = UNSTORED
        self._end(fetch, fate if fetch.cause == UNKNOWN else fetch.cause)

    def _ask(self, fetch: _Fetch, nodes: tuple[str, ...]) -> None:
        wanted = fetch.wanted
        fetch.asked = set(nodes)
        fetch.all = len(nodes) == len(self._peers.peers())
        asked = Asked(
            fetch.number,
            wanted.hub,
            wanted.pid,
            wanted.namespace,
            wanted.user,
            wanted.offset,
            fetch.whole,
            fetch.lost,
        )
        for node in nodes:
            self._peers.tell(node, asked)

    def _offered(self, node: str, body: Offered) -> None:
        fetch = self._by_number.get(body.number)
        if fetch is None or fetch.giver or node not in fetch.asked or body.pid != fetch.wanted.pid:
            return
        fetch.giver = node
        hub = self._node.hub(fetch.wanted.hub)
        if hub is None or hub.recovery is None:
            self._end(fetch, UNREACHED)
            return
        if self._makes_room(hub.name, hub.recovery, body.pid):
            fetch.expected = Expected(hub.recovery, body)
            self._when_joined(fetch)
        else:
            self._end(fetch, "")

    def _makes_room(self, hub: str, recovery: Recovery[Connection], pid: str) -> bool:
        """Former states of a socket that comes give way. False if it is here, with its client."""
        here = recovery.find(pid)
        if here is not None:
            if here.connection is not None or here.claim is not None:
                return False
            recovery.end(here)
        self._gifts.kept(hub, pid)
        if self.lost is not None:
            self.lost.heirs.make_room(hub, pid)
        return True

    def _when_joined(self, fetch: _Fetch) -> None:
        assert fetch.expected is not None
        self._peers.once_visible(fetch.wanted.hub, fetch.expected.groups, partial(self._take, fetch))

    def _take(self, fetch: _Fetch, visible: bool) -> None:
        if self._by_number.get(fetch.number) is not fetch or fetch.expected is None:
            return
        if not visible:
            self._end(fetch, UNREACHED)
            return
        wanted = fetch.wanted
        executed = self._instances.executed(wanted.hub)
        take = Take(fetch.number, wanted.hub, wanted.pid, fetch.expected.groups, executed)
        self._peers.tell(fetch.giver, take)

    def _denied(self, node: str, body: Denied) -> None:
        fetch = self._by_number.get(body.number)
        if fetch is None:
            return
        if fetch.giver:
            if node == fetch.giver and not fetch.taken:
                self._end(fetch, body.cause)
            return
        if node in fetch.asked:
            fetch.cause = fetch.cause if body.cause == UNKNOWN else body.cause
            self._without(fetch, node)

    def _without(self, fetch: _Fetch, node: str) -> None:
        """This node does not have the socket."""
        fetch.asked.discard(node)
        if fetch.asked:
            return
        others = tuple(each for each in self._peers.peers() if each != node)
        if fetch.cause == UNKNOWN and not fetch.all and others:
            # The node that made the `pid` has given the socket to another one.
            self._ask(fetch, others)
            fetch.all = True
        else:
            self._give_up(fetch)

    def _more(self, node: str, body: More) -> None:
        fetch = self._by_number.get(body.number)
        if fetch is None or node != fetch.giver or fetch.expected is None or fetch.taken:
            return
        fetch.rounds += 1
        if fetch.rounds > MAX_ROUNDS:
            self._end(fetch, UNREACHED)
            return
        fetch.expected.join(body.groups)
        self._when_joined(fetch)

    def _taken(self, node: str, body: Taken) -> None:
        fetch = self._by_number.get(body.number)
        if fetch is None or node != fetch.giver or fetch.expected is None or fetch.taken:
            return
        fetch.taken = True
        self._barrier.wait(body.executed, partial(self._arrived, fetch, body))

    def _arrived(self, fetch: _Fetch, body: Taken, reached: bool) -> None:
        if self._by_number.get(fetch.number) is not fetch or fetch.expected is None:
            return
        if not reached:
            self._end(fetch, UNREACHED)
            return
        fetch.expected.take(body, _plain(fetch.wanted.hub, body.executed))
        fetch.expected = None
        keeping = self._node.keeping
        if keeping is not None:
            kept = Kept(fetch.wanted.hub, fetch.wanted.pid)
            keeping.journal.after(partial(self._peers.tell, fetch.giver, kept))
        self._end(fetch, "")

    def _end(self, fetch: _Fetch, cause: str) -> None:
        del self._by_number[fetch.number]
        del self._by_pid[fetch.wanted.pid]
        if cause in (UNKNOWN, LOST):
            self._unknown[fetch.wanted.pid] = self._node.clock()
            if len(self._unknown) > MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
        expected, fetch.expected = fetch.expected, None
        if expected is not None:
            expected.give_up()
        self._node.guard("recovery", fetch.done, cause)
        for envelope in fetch.later:
            self.take(envelope)

    # -- sockets that go --------------------------------------------------------------------------------

    def _asked(self, node: str, body: Asked, envelope: Envelope) -> None:
        if body.lost and self.lost is not None:
            heirs = self.lost.heirs
            if heirs.waits(body.lost):
                heirs.when_open(body.lost, partial(self.take, envelope))
                return
            if heirs.is_alive(body.lost):
                # The other node has noticed the loss first.
                heirs.once_known(body.lost, partial(self.take, envelope))
                return
        coming = self._by_pid.get(body.pid)
        if coming is not None and coming.giver:
            coming.later.append(envelope)
        else:
            self._gifts.ask(node, body, partial(self._peers.tell, node))

    def _given(self, node: str, body: Take) -> None:
        self._barrier.wait(body.executed, partial(self._give, node, body))

    def _give(self, node: str, body: Take, reached: bool) -> None:
        executed = self._instances.executed(body.hub)
        given = self._gifts.take(node, body, _plain(body.hub, executed)) if reached else None
        if isinstance(given, Given):
            taken = Taken(
                body.number,
                given.groups,
                given.left,
                given.segments,
                given.whole,
                executed,
                given.seen,
            )
            self._peers.tell(node, taken)
        else:
            self._peers.tell(node, given or Denied(body.number, UNREACHED))

    def push(self, hub: str, pid: str, node: str) -> None:
        """Tell a node to fetch a socket, because this one ends."""
        self._peers.tell(node, Pushed(hub, pid))

    def _pushed(self, body: Pushed) -> None:
        self._fetch(Wanted(body.hub, body.pid, "", None, None), _ignore, whole=True)

    # -- all --------------------------------------------------------------------------------------------

    def take(self, envelope: Envelope) -> None:
        """A message about a socket that moves."""
        node, body = envelope.origin, envelope.body
        if isinstance(body, Asked):
            self._asked(node, body, envelope)
        elif isinstance(body, Offered):
            self._offered(node, body)
        elif isinstance(body, Denied):
            self._denied(node, body)
        elif isinstance(body, Take):
            self._peers.after(node, partial(self._given, node, body))
        elif isinstance(body, More):
            self._more(node, body)
        elif isinstance(body, Taken):
            self._peers.after(node, partial(self._taken, node, body))
        elif isinstance(body, Kept):
            self._gifts.kept(body.hub, body.pid)
        else:
            assert isinstance(body, Pushed)
            self._pushed(body)

    def remove(self, node: str) -> None:
        """A node is gone."""
        self._gifts.gone(node)
        for fetch in tuple(self._by_number.values()):
            if fetch.giver == node and not fetch.taken:
                self._giver_lost(fetch, node)
            elif not fetch.giver and node in fetch.asked:
                self._without(fetch, node)

    def _giver_lost(self, fetch: _Fetch, node: str) -> None:
        """The node that was giving the socket away is lost. Its heir has the socket."""
        if self.lost is None:
            self._end(fetch, LOST)
            return
        expected, fetch.expected = fetch.expected, None
        if expected is not None:
            expected.give_up()
        fetch.giver = ""
        self._ask_heir(self.lost.heirs, fetch, node)

    def tick(self, now: float) -> None:
        """Time passes."""
        self._gifts.tick(now)
        for fetch in tuple(self._by_number.values()):
            if fetch.until <= now:
                self._end(fetch, UNREACHED)


def _plain(hub: str, executed: Mapping[str, int]) -> dict[str, int]:
    """The numbers by the names that the instances have in emits."""
    prefix = instance_of(hub, "")
    return {name.removeprefix(prefix): number for name, number in executed.items()}


def _ignore(_cause: str) -> None:
    """No client waits for the socket."""
