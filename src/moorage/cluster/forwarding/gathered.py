"""Gathers the packets of forwarded clients in one turn of the loop. All for one node share a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.wire.cluster.forwarding import Forward
from moorage.wire.cluster.messages import Body, Packets

MAX_BYTES: Final = 64 * 1024
"""Bytes of gathered packets above which they are sent at once."""


class Gathered:
    """`send` sends a message to one node. `later` makes a call at the end of this turn; a broker may know a
    better moment than the loop. To keep the order, call `flush` before anything else is sent to a node, if
    something is `pending`."""

    def __init__(
        self, send: Callable[[str, Body], object], later: Callable[[Callable[[], object]], object]
    ) -> None:
        self._send = send
        self._later = later
        self._size = 0
        self.pending: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
        """Connections and packets, by the node and the hub; the hub is "" for packets to an app server."""

    def add(self, node: str, hub: str, connection: str, packet: bytes) -> None:
        """Send a packet at the end of this turn."""
        pending = self.pending
        rows = pending.get((node, hub))
        if rows is None:
            if not pending:
                self._later(self.flush)
            pending[node, hub] = rows = []
        rows.append((connection, packet))
        self._size += len(packet)
        if self._size > MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is pending."""
        pending = self.pending
        # Emptied first, because to send means to flush.
        self.pending, self._size = {}, 0
        for (node, hub), rows in pending.items():
            self._send(node, Packets(hub, tuple(rows)) if hub else Forward(tuple(rows)))
