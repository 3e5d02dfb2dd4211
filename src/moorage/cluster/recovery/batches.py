"""The entries of a node's log, gathered into batches. One batch at a time is under way to the store; what is
appended meanwhile becomes the next one. So a busy node pays for few messages, and the order is that of the
calls whatever the store does.

Batches are numbered. A batch that was not stored leaves a hole in the numbers, and a reader uses only what
stands behind the last hole: a log is never replayed in part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from moorage.cluster.recovery.ports import Stored, StoreError

MAX_BATCH: Final = 256 * 1024
"""Bytes of entries after which a batch is closed. A larger entry makes a batch of its own."""
MAX_WAITING: Final = 16 * 1024 * 1024
"""Bytes that may wait for the store. What comes on top counts as not stored."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, list[bytes]]).decode


class _Entry(NamedTuple):
    data: bytes
    stored: Stored
    behind_hole: bool
    """True if something was left out in front of it."""


class Batches:
    """`publish` stores one batch, and raises `StoreError` if nobody knows whether it is stored."""

    def __init__(self, publish: Callable[[bytes], Awaitable[None]]) -> None:
        self._publish = publish
        self._waiting: list[_Entry] = []
        self._size = 0
        self._number = 0
        self._hole = False
        """True if something was left out behind the last entry."""
        self._failed = False
        """True if the last batch may not be stored."""
        self._task: asyncio.Task[None] | None = None
        self.lost = 0
        """Entries that were not stored."""

    def append(self, entry: bytes, stored: Stored) -> None:
        """`Store.append`."""
        if self._size + len(entry) > MAX_WAITING:
            self._hole = True
            self.lost += 1
            stored(False)
            return
        self._size += len(entry)
        self._waiting.append(_Entry(entry, stored, self._hole))
        self._hole = False
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Wait until everything appended so far was tried."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._store(self._take())
        finally:
            self._task = None

    def _take(self) -> list[_Entry]:
        waiting, size = self._waiting, 0
        for place, entry in enumerate(waiting):
            size += len(entry.data)
            if place and (size > MAX_BATCH or entry.behind_hole):
                self._waiting = waiting[place:]
                return waiting[:place]
        self._waiting = []
        return waiting

    async def _store(self, batch: list[_Entry]) -> None:
        # A hole costs a number, which no batch has.
        self._number += 2 if self._failed or batch[0].behind_hole else 1
        self._failed = False
        try:
            await self._publish(_encode((self._number, [entry.data for entry in batch])))
        except StoreError:
            # It may be stored all the same, so the hole comes behind its number.
            self._failed = True
            self.lost += len(batch)
        for entry in batch:
            self._size -= len(entry.data)
            entry.stored(not self._failed)


def entries(batches: Iterable[bytes]) -> list[bytes]:
    """The entries behind the last hole."""
    found: list[bytes] = []
    expected = 0
    for batch in batches:
        try:
            number, some = _decode(batch)
        except msgspec.DecodeError as error:
            raise StoreError(f"a batch cannot be read: {error}") from None
        if number != expected:
            found.clear()
        found += some
        expected = number + 1
    return found
