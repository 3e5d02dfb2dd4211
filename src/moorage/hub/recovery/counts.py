"""What connection state recovery has done on this node, for the metrics."""

from __future__ import annotations

from collections import Counter


class Counts:
    """Counters for all hubs together."""

    __slots__ = ("dropped", "incomplete", "moved", "parked", "refused", "replayed", "resumed")

    def __init__(self) -> None:
        self.moved = 0
        """Sockets that moved to another node while their client was away."""
        self.parked = 0
        """Sockets whose client went away."""
        self.resumed = 0
        """Sockets whose client came back."""
        self.refused: Counter[str] = Counter()
        """Clients that came back and got a new session, by the name of the cause."""
        self.replayed = 0
        """Missed events that were sent."""
        self.dropped = 0
        """Events that left a log because of a limit."""
        self.incomplete = 0
        """Sockets that may have missed events which were lost between two nodes, or came too late."""
