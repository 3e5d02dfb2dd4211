"""Many requests begin one after another."""

from __future__ import annotations

import asyncio

import pytest

from moorage.control.admin import pace
from moorage.control.admin.pace import GAP, Pace
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_BUSY


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
    paced = Pace()
    found = await asyncio.gather(*(paced.turn() for _ in range(5)), return_exceptions=True)
    errors = [error for error in found if isinstance(error, PeerError)]
    assert [error.reason for error in errors] == [ADMIN_BUSY] * 2
    await paced.turn()


async def test_a_caller_that_goes_away_frees_its_place() -> None:
    paced = Pace()
    await paced.turn()
    waiting = asyncio.create_task(paced.turn())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert paced._waiting == 0
