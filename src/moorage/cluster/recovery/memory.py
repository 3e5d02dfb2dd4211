"""A store in memory that several nodes of one process share, for tests. It fails on demand."""

from __future__ import annotations

from moorage.cluster.recovery.batches import Batches, entries
from moorage.cluster.recovery.ports import Stored, StoreError


class MemoryStores:
    """What would be on a server."""

    def __init__(self) -> None:
        self.batches: dict[str, list[bytes]] = {}
        self.facts: dict[str, bytes] = {}
        self.failing = False
        """True while the server is full or gone."""

    def check(self) -> None:
        """Raises `StoreError` while the server fails."""
        if self.failing:
            raise StoreError("out of order")


class MemoryStore:
    """`cluster.recovery.ports.Store` of one node."""

    def __init__(self, stores: MemoryStores, node: str) -> None:
        self._stores = stores
        self._node = node
        self._batches = Batches(self._publish)

    async def _publish(self, batch: bytes) -> None:
        self._stores.check()
        self._stores.batches.setdefault(self._node, []).append(batch)

    def append(self, entry: bytes, stored: Stored) -> None:
        """As in the port."""
        self._batches.append(entry, stored)

    async def read(self, node: str) -> list[bytes]:
        """As in the port."""
        self._stores.check()
        return entries(self._stores.batches.get(node, ()))

    def put(self, pid: str, facts: bytes) -> None:
        """As in the port."""
        if not self._stores.failing:
            self._stores.facts[pid] = facts

    async def claim(self, pid: str) -> bytes | None:
        """As in the port."""
        self._stores.check()
        return self._stores.facts.pop(pid, None)

    def drop(self, pid: str) -> None:
        """As in the port."""
        self._stores.facts.pop(pid, None)

    async def stop(self) -> None:
        """Wait until everything appended so far was tried."""
        await self._batches.stop()
