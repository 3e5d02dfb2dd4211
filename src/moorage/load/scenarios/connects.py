"""Clients that connect, join the namespace, leave, and connect again.

The server has to do nothing but let them in.
"""

from __future__ import annotations

import asyncio
from collections import deque

from moorage.load.client import Client
from moorage.load.crowd import clock
from moorage.load.pace import Pace
from moorage.load.scenarios.base import Scenario, Stage, wait_for


class Connects(Scenario):
    """Connects. Without a rate, each client connects again as soon as it has left. With one, connects have
    intended times; if no client is free, they are late, and count from their intended time."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._free: deque[Client] = deque()
        self._backlog: deque[int] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """One client connects, to see that the server is there."""
        (first, *_) = self.clients
        if await self.crowd.connect(first):
            self._leave(first)

    async def load(self, since: int) -> None:
        """Connect until the time is up."""
        if self.plan.rate:
            self._free.extend(self.clients)
            await Pace(self.plan.rate, since, self.until, self._offer, clock).run()
        else:
            await asyncio.gather(*map(self._again_and_again, self.clients))

    async def settle(self) -> None:
        """Wait for late connects. What has not begun after the plan's timeout is lost; what is under way ends
        by its own."""
        self.until = 0
        await wait_for(lambda: not self._backlog, self.plan.timeout)
        unsent = sum(map(self.tally.measures, self._backlog))
        self._backlog.clear()
        self.tally.sent += unsent
        self.tally.count("lost", unsent)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _again_and_again(self, client: Client) -> None:
        while clock() < self.until:
            await self._once(client, clock())

    async def _once(self, client: Client, at: int) -> None:
        tally = self.tally
        measured = tally.measures(at)
        tally.sent += measured
        if measured and self.plan.rate:
            tally.lag.record(clock() - at)
        if await self.crowd.connect(client, at):
            if measured:
                tally.received += 1
                tally.latency.record(clock() - at)
            self._leave(client)
        else:
            tally.count("lost", int(measured))

    def _leave(self, client: Client) -> None:
        self.tally.connected -= 1
        client.close()

    def _offer(self, at: int) -> None:
        if self._free:
            self._start(self._free.popleft(), at)
        else:
            self._backlog.append(at)

    def _start(self, client: Client, at: int) -> None:
        task = asyncio.get_running_loop().create_task(self._paced(client, at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _paced(self, client: Client, at: int) -> None:
        await self._once(client, at)
        while self._backlog:
            await self._once(client, self._backlog.popleft())
        self._free.append(client)
