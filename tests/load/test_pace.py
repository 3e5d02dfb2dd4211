"""Events at a steady rate."""

from __future__ import annotations

import asyncio
import time

import pytest

from moorage.load import pace
from moorage.load.pace import Pace


@pytest.mark.parametrize("descriptor", [True, False], ids=["timer with a descriptor", "timer of the loop"])
async def test_each_event_has_its_intended_time(descriptor: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not descriptor:
        monkeypatch.setattr(pace, "_timer", lambda: -1)
    calls: list[tuple[int, int]] = []
    clock = time.monotonic_ns
    since = clock() + 20_000_000
    until = since + 100_000_000
    await Pace(200.0, since, until, lambda at: calls.append((at, clock())), clock).run()
    assert [at for at, _ in calls] == [since + number * 5_000_000 for number in range(20)]
    assert all(called >= at for at, called in calls)


async def test_a_stall_changes_no_intended_time() -> None:
    now = 0
    times: list[int] = []

    def act(at: int) -> None:
        nonlocal now
        times.append(at)
        # The first event takes as long as the whole run.
        now = max(now, 1_000_000_000)

    await Pace(10.0, 0, 1_000_000_000, act, lambda: now).run()
    assert times == [number * 100_000_000 for number in range(10)]


async def test_a_cancelled_pace_is_over() -> None:
    calls: list[int] = []
    clock = time.monotonic_ns
    task = asyncio.create_task(Pace(1000.0, clock(), clock() + 10**12, calls.append, clock).run())
    while not calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = len(calls)
    await asyncio.sleep(0.01)
    assert len(calls) == before
