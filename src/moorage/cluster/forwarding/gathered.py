"""Packets of forwarded clients, gathered in one turn of the loop: one message for all to the same node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.wire.cluster import Body, Packets
from moorage.wire.forwarding import Forward

MOST: Final = 64 * 1024
"""Bytes of packets that are gathered at most."""


class Gathered:
    """`send` sends a message to one node. `later` makes a call at the end of this turn; a broker may know a
    better moment than the loop. Whoever sends
    anything else to a node must call `flush` first if something `waits`."""

    def __init__(
        self, send: Callable[[str, Body], object], later: Callable[[Callable[[], object]], object]
    ) -> None:
        self._send = send
        self.later = later
        self._size = 0
        self.waits: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
        """Connections and packets, by the node and the hub; the hub is "" for packets to an app server."""

    def add(self, node: str, hub: str, connection: str, packet: bytes) -> None:
        """Send a packet at the end of this turn."""
        waits = self.waits
        rows = waits.get((node, hub))
        if rows is None:
            if not waits:
                self.later(self.flush)
            waits[node, hub] = rows = []
        rows.append((connection, packet))
        self._size += len(packet)
        if self._size > MOST:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        waits = self.waits
        # Emptied first, because to send means to flush.
        self.waits, self._size = {}, 0
        for (node, hub), rows in waits.items():
            self._send(node, Packets(hub, tuple(rows)) if hub else Forward(tuple(rows)))
