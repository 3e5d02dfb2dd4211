"""A scenario in this process, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from moorage.load.crowd import Crowd, clock
from moorage.load.packets import Dialect
from moorage.load.plan import Plan
from moorage.load.result import figures
from moorage.load.scenarios.base import Scenario, Stage, wait_for
from moorage.load.scenarios.choice import SCENARIOS
from moorage.load.tally import Tally, Totals
from moorage.load.transports.target import resolve


@dataclass
class Played:
    """A scenario and its counters."""

    scenario: Scenario
    stage: Stage
    totals: Totals
    connected: int = 0

    @property
    def figures(self) -> dict[str, float]:
        """The figures so far."""
        self.totals.add(self.stage.tally.report(0, 0.0))
        return figures(self.stage.plan, self.totals, self.connected, self.stage.plan.duration)

    async def play(self, seconds: float) -> dict[str, float]:
        """Prepare, unless a test has done it, run for some seconds, and settle."""
        if not self.stage.tally.connected:
            await self.scenario.prepare()
        self.connected = self.stage.tally.connected
        since = clock()
        tally = self.stage.tally
        tally.since, tally.until = since, since + int(seconds * 1e9)
        await self.scenario.run(since, tally.until)
        await self.scenario.settle()
        return self.figures


@asynccontextmanager
async def staged(scenario: Any, url: str, **options: Any) -> AsyncIterator[Played]:
    """A scenario whose clients leave at the end."""
    given: dict[str, Any] = {"clients": 5, "timeout": 5.0, "event": "echo", "senders": 0, **options}
    plan = Plan(scenario=scenario, url=url, **given)
    crowd = Crowd(await resolve(plan), plan)
    stage = Stage(plan, Tally(), crowd, Dialect(plan.namespace))
    made = Played(SCENARIOS[plan.scenario](stage), stage, Totals())
    before = _sockets()
    try:
        yield made
    finally:
        await _end(made.scenario, before)


def _sockets() -> int:
    """Number of sockets of this process, those of the server's thread included."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    return count


async def _end(scenario: Scenario, before: int) -> None:
    """Cut all clients without a word to the scenario, and let the event loops close their sockets."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    for client in scenario.clients:
        transport, client.transport = client.transport, None
        if transport is not None:
            transport.abort()
    assert await wait_for(lambda: _sockets() <= before, 20.0), "a socket stays open"
