"""Which nodes are there. Every node sends a heartbeat to all others each second. A node that is silent for
three of them is taken off the list, and so is one that says goodbye, at once. Time is an argument."""

from __future__ import annotations

from typing import Final, Protocol

from moorage.wire.cluster import Alive, Goodbye

INTERVAL: Final = 1.0
"""Seconds between two heartbeats of a node."""
SILENCE: Final = 3 * INTERVAL
"""Seconds after which a silent node is taken off the list."""
LISTEN: Final = 2 * INTERVAL
"""Seconds that a new node listens before it counts as ready."""


class List(Protocol):
    """The list of the other nodes (`cluster.router.Router`)."""

    def add(self, incarnation: str, name: str) -> None:
        """A node is there."""

    def remove(self, incarnation: str) -> None:
        """A node is gone."""

    def beat(self, body: Alive | Goodbye) -> None:
        """Send this to all other nodes."""


class Membership:
    """Keeps the list of one node, which is called `name`."""

    def __init__(self, name: str, nodes: List) -> None:
        self._name = name
        self._nodes = nodes
        self._heard: dict[str, float] = {}
        """When each node on the list was heard last, by its incarnation."""
        self._started: float | None = None
        self._next = 0.0
        self._ticked = 0.0

    def start(self, now: float) -> None:
        """Announce this node."""
        self._started = self._ticked = now
        self._beat(now, new=True)

    def stop(self) -> None:
        """Say goodbye. Nothing is sent after that, and nobody is put on the list."""
        if self._started is not None:
            self._nodes.beat(Goodbye())
        self._started = None

    def has_listened(self, now: float) -> bool:
        """True if every node that was there at the start had time to make itself heard."""
        return self._started is not None and now - self._started >= LISTEN

    @property
    def count(self) -> int:
        """The number of nodes, this one included."""
        return len(self._heard) + 1

    def alive(self, incarnation: str, beat: Alive, now: float) -> None:
        """A heartbeat arrived."""
        if self._started is None:
            return
        known = incarnation in self._heard
        self._heard[incarnation] = now
        if not known:
            self._nodes.add(incarnation, beat.name)
        if beat.new:
            # It should not have to wait for the next heartbeat until it knows this node.
            self._beat(now)

    def goodbye(self, incarnation: str) -> None:
        """A node ends."""
        if self._heard.pop(incarnation, None) is not None:
            self._nodes.remove(incarnation)

    def tick(self, now: float) -> None:
        """Time passes. Call it several times per interval."""
        if self._started is None:
            return
        slept = now - self._ticked
        self._ticked = now
        if slept > INTERVAL:
            # This process stood still. What the others sent meanwhile is not read yet, so it judges nobody.
            self._heard = {node: heard + slept for node, heard in self._heard.items()}
        for node in [node for node, heard in self._heard.items() if now - heard >= SILENCE]:
            self.goodbye(node)
        if now >= self._next:
            self._beat(now)

    def _beat(self, now: float, *, new: bool = False) -> None:
        self._next = now + INTERVAL
        self._nodes.beat(Alive(self._name, new))
