"""The broker of a node that is alone."""

from __future__ import annotations

from moorage.cluster.ports import Receive


class LocalBroker:
    """`cluster.ports.Broker` without other nodes: every message is lost, and none arrives."""

    def __init__(self, incarnation: str) -> None:
        """Do nothing: there is no other node."""

    def start(self, receive: Receive) -> None:
        """Nothing arrives."""

    def send(self, node: str, message: bytes) -> None:
        """There is no other node."""

    def send_all(self, message: bytes) -> None:
        """There is no other node."""

    def stop(self) -> None:
        """Nothing to stop."""
