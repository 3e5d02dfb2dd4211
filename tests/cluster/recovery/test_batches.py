"""How the entries of a log become batches, and what a reader makes of them."""

from __future__ import annotations

import asyncio

import pytest

from moorage.cluster.recovery.batches import MAX_BATCH, MAX_WAITING, Batches, entries
from moorage.cluster.recovery.ports import StoreError


class Server:
    """Stores batches one by one, when it is told to."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.asked = asyncio.Semaphore(0)
        self.answers: asyncio.Queue[bool] = asyncio.Queue()
        self.log = Batches(self._publish)
        self.fates: list[tuple[bytes, bool]] = []

    async def _publish(self, batch: bytes) -> None:
        self.asked.release()
        if not await self.answers.get():
            raise StoreError("full")
        self.batches.append(batch)

    def append(self, *some: bytes) -> None:
        for entry in some:
            self.log.append(entry, lambda stored, entry=entry: self.fates.append((entry, stored)))  # type: ignore[misc]

    async def answer(self, *answers: bool) -> None:
        for answer in answers:
            await self.asked.acquire()
            self.answers.put_nowait(answer)
        await self.log.stop()


async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch() -> None:
    server = Server()
    server.append(b"a", b"b")
    await server.asked.acquire()
    server.append(b"c")
    server.append(b"d")
    server.answers.put_nowait(True)
    await server.answer(True)
    assert server.fates == [(entry, True) for entry in (b"a", b"b", b"c", b"d")]
    assert len(server.batches) == 2
    assert entries(server.batches) == [b"a", b"b", b"c", b"d"]
    server.append(b"e")
    await server.answer(True)
    assert entries(server.batches)[-1] == b"e"


async def test_only_what_stands_behind_the_last_hole_is_used() -> None:
    server = Server()
    for entry, stored in ((b"a", True), (b"b", False), (b"c", True), (b"d", True)):
        server.append(entry)
        await server.answer(stored)
    assert [stored for _, stored in server.fates] == [True, False, True, True]
    assert server.log.lost == 1
    assert entries(server.batches) == [b"c", b"d"]
    assert entries(server.batches[:1]) == [b"a"]
    assert entries(()) == []


async def test_a_large_entry_has_a_batch_of_its_own() -> None:
    server = Server()
    large = bytes(MAX_BATCH + 1)
    server.append(b"a", large, b"b")
    await server.answer(True, True, True)
    assert entries(server.batches) == [b"a", large, b"b"]


async def test_too_much_that_waits_is_not_stored_and_leaves_a_hole() -> None:
    server = Server()
    half = bytes(MAX_WAITING // 2)
    server.append(half, half, b"c")
    assert server.fates == [(b"c", False)]
    await server.answer(True, True)
    server.append(b"d")
    await server.answer(True)
    assert entries(server.batches) == [b"d"]


def test_garbage_is_refused() -> None:
    with pytest.raises(StoreError):
        entries([b"garbage"])
