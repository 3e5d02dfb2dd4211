"""Many requests begin one after another."""

from __future__ import annotations

import asyncio

import pytest

from moorage.control.admin import pace
from moorage.control.admin.pace import GAP, Pace
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_BUSY

LONG = 600.0
"""A gap, in seconds, that a busy machine does not use up before the test goes on."""


async def test_a_lone_request_does_not_wait() -> None:
    paced = Pace()
    turn = paced.turn()
    with pytest.raises(StopIteration):
        turn.send(None)


async def test_many_requests_are_spread() -> None:
    paced, loop = Pace(), asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(paced.turn() for _ in range(20)))
    assert loop.time() - began >= 18 * GAP


async def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MAX_WAITING", 2)
    monkeypatch.setattr(pace, "GAP", LONG)
    paced = Pace()
    await paced.turn()
    waiting = [asyncio.create_task(paced.turn()) for _ in range(2)]
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(PeerError) as refused:
            await paced.turn()
        assert refused.value.reason == ADMIN_BUSY
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    waiting.append(asyncio.create_task(paced.turn()))
    await asyncio.sleep(0)
    assert [each.done() for each in waiting] == [True, False, False], "one place was free again"
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)


async def test_a_caller_that_goes_away_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "GAP", LONG)
    paced = Pace()
    await paced.turn()
    waiting = asyncio.create_task(paced.turn())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert paced._waiting == 0
