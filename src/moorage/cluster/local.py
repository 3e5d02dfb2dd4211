"""The broker of a node that is alone: there is nobody else to tell."""

from __future__ import annotations

from moorage.wire.commands import Command


class LocalBroker:
    """`hub.ports.Broker` for one node. The node has already acted when it publishes."""

    def publish(self, command: Command) -> None:
        """Nothing to do: no other node exists."""
