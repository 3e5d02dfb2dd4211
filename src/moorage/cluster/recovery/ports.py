"""What recovery needs from outside to survive the loss of a node: a log of each node, and claims on
sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class StoreError(Exception):
    """The store does not answer, or refuses: its server is gone, slow or full."""


Stored = Callable[[bool], object]
"""Called once: True if the entry is stored, False if nobody knows."""


class Store(Protocol):
    """A log for each node, and the facts of each session. `append`, `put` and `drop` only queue."""

    def append(self, entry: bytes, stored: Stored) -> None:
        """Write an entry behind all others of this node's log. Entries of one tick of the loop are stored
        together."""

    async def read(self, node: str) -> list[bytes]:
        """The entries of a node's log that are kept, oldest first. Where entries may be missing, only those
        behind the last gap. Raises `StoreError`."""

    def put(self, pid: str, facts: bytes) -> None:
        """Keep the facts of a session."""

    async def claim(self, pid: str) -> bytes | None:
        """The facts of a session, for the first that asks for them, anywhere. None for all others. Raises
        `StoreError`."""

    def drop(self, pid: str) -> None:
        """Forget the session."""
