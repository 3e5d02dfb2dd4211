"""Two nodes of which only one gets the other's messages. NATS servers of two regions have a TCP connection
for each direction, and one of them may fail alone. The node that gets nothing takes the other one off its
list. The other one would go on to serve clients whose packets cannot arrive.

So a node names in its heartbeats the nodes that it has lost because they were silent. A node that is named
for some time takes that node off its list, too, until it is not named any more. Time is an argument.
"""

from __future__ import annotations

from typing import Final

from moorage.wire.cluster.messages import MAX_SILENT

CONFIRM: Final = 2.0
"""Seconds for which a node is named before it believes it. One that was frozen finds such heartbeats in its
input when it goes on, and is heard again a moment later."""
REMEMBER: Final = 3600.0
"""Seconds for which a lost node is named. Most of them are dead, and never come back."""


class Hearing:
    """What the node with this incarnation tells of others, and what they tell of it."""

    def __init__(self, incarnation: str) -> None:
        self._own = incarnation
        self._silent: dict[str, float] = {}
        """When each node was lost, the oldest first."""
        self._deaf: dict[str, float] = {}
        """Since when each node names this one."""

    def lost(self, node: str, now: float) -> None:
        """A node was silent for too long."""
        self._silent[node] = now
        if len(self._silent) > MAX_SILENT:
            del self._silent[next(iter(self._silent))]

    def silent(self, now: float) -> tuple[str, ...]:
        """The nodes to name in a heartbeat."""
        while self._silent:
            oldest = next(iter(self._silent))
            if now - self._silent[oldest] < REMEMBER:
                break
            del self._silent[oldest]
        return tuple(self._silent)

    def heard(self, node: str) -> bool:
        """A node sends heartbeats. True if it was lost."""
        return self._silent.pop(node, None) is not None

    def names_this(self, silent: tuple[str, ...]) -> bool:
        """True if a heartbeat that names these nodes names this one."""
        return self._own in silent

    def is_deaf(self, node: str, silent: tuple[str, ...], now: float) -> bool:
        """True if a node on the list does not hear this one, according to its heartbeats. This one names
        these."""
        if not self.names_this(silent):
            self._deaf.pop(node, None)
            return False
        return now - self._deaf.setdefault(node, now) >= CONFIRM

    def forget(self, node: str) -> None:
        """A node is off the list."""
        self._deaf.pop(node, None)
