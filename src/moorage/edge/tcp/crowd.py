"""Fairness between the addresses from which TCP connections come, before anything else is known of them. A
stranger may begin very many at once: it waits for itself, and ends its own, but not those of others."""

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
        """True if one has to leave before another one comes."""
        return self._count >= self._most

    def number(self, address: str) -> int:
        """How many of them are of this address."""
        return len(self._members.get(address, ()))

    def add(self, address: str, one: T) -> None:
        """One more."""
        members = self._members.setdefault(address, {})
        members[one] = None
        self._count += 1
        self._resize(address, len(members) - 1, len(members))

    def discard(self, address: str, one: T) -> None:
        """One less, if it is still there."""
        members = self._members.get(address, {})
        if one not in members:
            return
        del members[one]
        self._count -= 1
        if not members:
            del self._members[address]
        self._resize(address, len(members) + 1, len(members))

    def take_oldest(self) -> T:
        """Remove the oldest of the address that has most. There must be one."""
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
    """What waits for its turn: the addresses take turns, and each address's own go in order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, address: str, one: T) -> None:
        """Wait behind the others of the same address."""
        self._waiting.setdefault(address, deque()).append(one)

    def take(self) -> T:
        """Whose turn it is. There must be one."""
        address, waiting = next(iter(self._waiting.items()))
        one = waiting.popleft()
        if waiting:
            self._waiting.move_to_end(address)
        else:
            del self._waiting[address]
        return one
