"""What the cluster needs from outside: a way to carry bytes to other nodes."""

from __future__ import annotations

from typing import Protocol


class Receive(Protocol):
    """Takes a message that arrived from another node. Does not raise."""

    def __call__(self, message: bytes, /) -> object: ...


class Broker(Protocol):
    """Carries messages from one node to the others. It does not read them, and does not repeat a lost one.

    Messages from one node to another arrive in the order in which they were sent, by whichever method, and
    at most once. A node never receives its own. `send` and `send_all` only queue: no message is handed over
    before they return.
    """

    def start(self, receive: Receive) -> None:
        """From now on, hand over what arrives to `receive`."""

    def send(self, node: str, message: bytes) -> None:
        """Carry a message to the node with this incarnation. It is lost if there is no such node."""

    def send_all(self, message: bytes) -> None:
        """Carry a message to each other node."""

    def stop(self) -> None:
        """Hand nothing over any more, and carry nothing."""


class Join(Protocol):
    """Makes the broker of the node with this incarnation."""

    def __call__(self, incarnation: str, /) -> Broker: ...
