"""A timer that can be set again."""

from __future__ import annotations

import asyncio
import time

import pytest

from moorage.app.alarm import Alarm


@pytest.mark.repair(11)
async def test_an_alarm_rings_once_and_never_early() -> None:
    rung: list[float] = []
    alarm = Alarm(lambda: rung.append(time.monotonic()))
    now = time.monotonic()
    alarm.set(now + 30.0)
    alarm.set(now + 0.0207)
    async with asyncio.timeout(10):
        while not rung:
            await asyncio.sleep(0.005)
    assert rung[0] >= now + 0.0207
    alarm.set(time.monotonic() - 5.0)
    alarm.cancel()
    alarm.set(time.monotonic() + 0.01)
    async with asyncio.timeout(10):
        while len(rung) < 2:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.03)
    assert len(rung) == 2
