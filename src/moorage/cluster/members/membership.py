"""Which nodes are there. Every node sends a heartbeat to all others each second, and in a large cluster every
three seconds. A node that is silent for the time of three is taken off the list, and so is one that says
goodbye, at once, and one that does not hear this node (`hearing`). Time is an argument.

Two nodes may have the same name: only the incarnation identifies a node. A line in the log tells of it,
because people could confuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from moorage import logs
from moorage.cluster.members.hearing import Hearing
from moorage.wire.cluster.messages import VERSION, Alive, Goodbye

INTERVAL: Final = 1.0
"""Seconds between two heartbeats of a node."""
LARGE: Final = 200
"""With more nodes, the heartbeats of all would be too many messages for the NATS servers."""
LONG_INTERVAL: Final = 3.0
"""Seconds between two heartbeats of a node of a large cluster."""
MISSED: Final = 3
"""Number of heartbeats after whose time a silent node is taken off the list."""
SILENCE: Final = MISSED * INTERVAL
"""This time in seconds, except for nodes of a large cluster."""
LISTEN: Final = 2 * INTERVAL
"""Seconds that a new node listens before it counts as ready."""
MAX_NODES: Final = 2_000
"""Maximum number of other nodes. A program with access to NATS can make up heartbeats."""

log: Final = logs.get("cluster")


class Member(NamedTuple):
    """Another node, as its heartbeats describe it."""

    incarnation: str
    name: str
    region: str
    advertise: str
    """The URL at which app servers and other nodes reach it; empty if it has none of its own."""
    version: tuple[int, int]


class List(Protocol):
    """The list of the other nodes (`cluster.router.Router`)."""

    def add(self, incarnation: str, name: str, *, near: bool) -> None:
        """A node is there; `near` if it is in the region of this one."""

    def remove(self, incarnation: str) -> None:
        """A node is gone."""

    def beat(self, body: Alive | Goodbye) -> None:
        """Send this to all other nodes."""


class Membership:
    """Keeps the list of the node with this incarnation. `own` is its heartbeat, which describes it.
    `describe` adds what changes while the node runs."""

    def __init__(
        self,
        incarnation: str,
        own: Alive,
        nodes: List,
        describe: Callable[[Alive], Alive] = lambda beat: beat,
    ) -> None:
        self._own = own
        self._nodes = nodes
        self._hearing = Hearing(incarnation)
        self._members: dict[str, Member] = {}
        self.refused = 0
        """Number of heartbeats of nodes that cannot be on the list."""
        self._refused: set[str] = set()
        """These nodes, each of which has had its line in the log."""
        self._describe = describe
        self._last: dict[str, Alive] = {}
        """The last heartbeat of each node on the list."""
        self._heard: dict[str, float] = {}
        """When each node on the list was heard last, by its incarnation."""
        self._started: float | None = None
        self.listened: float | None = None
        """When every node that was there at the start had had time to make itself heard."""
        self._expected: frozenset[str] | None = None
        self._next = 0.0
        self._slow = 0
        """Number of heartbeats, one after another, that have told of the long interval."""
        self._ticked = 0.0

    def start(self, now: float) -> None:
        """Announce this node."""
        self._started = self._ticked = now
        self._beat(now, new=True)

    def stop(self) -> None:
        """Tell the other nodes that this one ends. After that, nothing is sent, and no node is added."""
        if self._started is not None:
            self._nodes.beat(Goodbye())
        self._started = None

    def expect(self, incarnations: Collection[str]) -> None:
        """The other nodes of the cluster are these, and no others: once they are heard, the node need not
        listen any longer."""
        self._expected = frozenset(incarnations)

    def has_listened(self, now: float) -> bool:
        """True if every node that was there at the start had time to make itself heard."""
        if self._started is None:
            return False
        if self._expected is not None and self._expected <= self._heard.keys():
            return True
        return now - self._started >= LISTEN

    @property
    def members(self) -> Mapping[str, Member]:
        """The other nodes by their incarnation."""
        return MappingProxyType(self._members)

    def heard(self) -> dict[str, tuple[Alive, float]]:
        """The last heartbeat of each other node, and when it arrived."""
        return {node: (self._last[node], when) for node, when in self._heard.items()}

    @property
    def region(self) -> str:
        """The region of this node."""
        return self._own.region

    @property
    def count(self) -> int:
        """The number of nodes, this one included."""
        return len(self._heard) + 1

    def alive(self, incarnation: str, beat: Alive, now: float) -> None:
        """A heartbeat arrived."""
        if self._started is None:
            return
        if self._hearing.heard(incarnation):
            # It should not have to wait for the next heartbeat until it learns that this node hears it.
            self._next = now
        is_known = incarnation in self._heard
        if is_known and self._hearing.is_deaf(incarnation, beat.silent, now):
            self._lose(incarnation, "it does not hear this node")
            return
        if not is_known and self._hearing.names_this(beat.silent):
            return
        if not is_known and (beat.version[0] != VERSION[0] or len(self._heard) >= MAX_NODES):
            self._refuse(incarnation, beat)
            return
        if beat.new:
            # It should not have to wait for the next heartbeat until it knows this node. This goes first: the
            # node takes nothing else of this one before it knows it.
            self._beat(now)
        self._heard[incarnation] = now
        self._last[incarnation] = beat
        if not is_known:
            self._add(incarnation, beat)

    def _add(self, incarnation: str, beat: Alive) -> None:
        if beat.name == self._own.name or any(beat.name == other.name for other in self._members.values()):
            log.warning(
                "two nodes have one name; if neither was restarted just now, set cluster.node_name of each",
                name=beat.name,
            )
        self._members[incarnation] = Member(incarnation, beat.name, beat.region, beat.advertise, beat.version)
        log.info(
            "node joined",
            name=beat.name,
            incarnation=incarnation,
            region=beat.region,
            advertise=beat.advertise,
            nodes=self.count,
        )
        self._nodes.add(incarnation, beat.name, near=beat.region == self._own.region)

    def _refuse(self, incarnation: str, beat: Alive) -> None:
        self.refused += 1
        if incarnation in self._refused or len(self._refused) >= MAX_NODES:
            return
        self._refused.add(incarnation)
        if beat.version[0] == VERSION[0]:
            log.warning("node refused: there are too many", name=beat.name, limit=MAX_NODES)
            return
        theirs, ours = (".".join(map(str, version)) for version in (beat.version, VERSION))
        log.warning(
            "node refused: it speaks another version of the cluster's protocol",
            name=beat.name,
            version=theirs,
            own_version=ours,
        )

    def goodbye(self, incarnation: str) -> None:
        """A node ends."""
        member = self._remove(incarnation)
        if member is not None:
            log.info("node left", name=member.name, incarnation=incarnation, nodes=self.count)

    def _lose(self, incarnation: str, why: str) -> None:
        member = self._remove(incarnation)
        if member is not None:
            log.warning(
                f"node lost: {why}",
                name=member.name,
                incarnation=incarnation,
                nodes=self.count,
            )

    def _remove(self, incarnation: str) -> Member | None:
        self._last.pop(incarnation, None)
        self._hearing.forget(incarnation)
        if self._heard.pop(incarnation, None) is None:
            return None
        member = self._members.pop(incarnation)
        self._nodes.remove(incarnation)
        return member

    def tick(self, now: float) -> None:
        """Time passes. Call it several times per interval."""
        if self._started is None:
            return
        slept = now - self._ticked
        self._ticked = now
        if slept > INTERVAL:
            # This process was stopped. It has not read the messages of that time, so it drops no node now.
            self._heard = {node: heard + slept for node, heard in self._heard.items()}
        for node in [node for node, heard in self._heard.items() if now - heard >= self._silence(node)]:
            self._hearing.lost(node, now)
            self._lose(node, "it sends no heartbeats")
        if self.listened is None and self.has_listened(now):
            self.listened = now
        if now >= self._next:
            self._beat(now)

    def _silence(self, node: str) -> float:
        return MISSED * max(INTERVAL, self._last[node].interval)

    def tell(self, now: float) -> None:
        """Send a heartbeat at once, because something that it tells has changed."""
        self._beat(now)

    def _beat(self, now: float, *, new: bool = False) -> None:
        # An older node expects a heartbeat each second.
        large = self.count > LARGE and all(beat.interval for beat in self._last.values())
        self._slow = self._slow + 1 if large else 0
        # Messages may be lost, so the others are told several times before it matters.
        self._next = now + (LONG_INTERVAL if self._slow > MISSED else INTERVAL)
        interval, silent = LONG_INTERVAL if large else INTERVAL, self._hearing.silent(now)
        self._nodes.beat(replace(self._describe(self._own), new=new, interval=interval, silent=silent))
