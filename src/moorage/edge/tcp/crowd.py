"""Fairness between the addresses from which TCP connections come, before anything else is known of them. A
stranger may begin very many at once. They wait for each other and end each other, but neither delay nor end
the connections of other addresses."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Crowd(Generic[T]):
    """Connections by address. Every method takes the same time, however many there are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._members: dict[str, dict[T, None]] = {}
        """The connections of each address, the oldest first."""
        self._of_size: dict[int, dict[str, None]] = {}
        """The addresses with this number of connections."""
        self._largest = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """True if a connection has to leave before another one is added."""
        return self._count >= self._most

    def number(self, address: str) -> int:
        """Number of connections of this address."""
        return len(self._members.get(address, ()))

    def add(self, address: str, one: T) -> None:
        """Add a connection, which is not there yet."""
        members = self._members.setdefault(address, {})
        members[one] = None
        self._count += 1
        self._resize(address, len(members) - 1, len(members))

    def discard(self, address: str, one: T) -> None:
        """Remove a connection, if it is still there."""
        members = self._members.get(address, {})
        if one not in members:
            return
        del members[one]
        self._count -= 1
        if not members:
            del self._members[address]
        self._resize(address, len(members) + 1, len(members))

    def take_oldest(self) -> T:
        """Remove and return the oldest connection of the address that has most. There must be one."""
        address = next(iter(self._of_size[self._largest]))
        one = next(iter(self._members[address]))
        self.discard(address, one)
        return one

    def _resize(self, address: str, before: int, now: int) -> None:
        if before:
            del self._of_size[before][address]
            if not self._of_size[before]:
                del self._of_size[before]
        if now:
            self._of_size.setdefault(now, {})[address] = None
        # One step down at a time: if nobody else is as large, the largest is now one smaller.
        if now > self._largest or self._largest not in self._of_size:
            self._largest = now


class Queue(Generic[T]):
    """Items that wait for their turn. The addresses take turns; the items of one address keep their order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, address: str, one: T) -> None:
        """Wait behind the others of the same address."""
        self._waiting.setdefault(address, deque()).append(one)

    def take(self) -> T:
        """Remove and return the item whose turn it is. There must be one."""
        address, waiting = next(iter(self._waiting.items()))
        one = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(address)
        else:
            del self._waiting[address]
        return one
