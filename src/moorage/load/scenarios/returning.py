"""Clients that come back after a lost connection, with the waits of the stock client."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from moorage.load.client import Client, State
from moorage.load.crowd import clock
from moorage.load.scenarios.base import Stage
from moorage.load.scenarios.fanout import Fanout

DELAY: Final = 1.0
LONGEST: Final = 5.0
RANDOMIZATION: Final = 0.5
"""The defaults of socket.io-client: `reconnectionDelay`, `reconnectionDelayMax`, `randomizationFactor`."""


def delay(attempt: int) -> float:
    """Seconds before the attempt of this number (from 0 on)."""
    wait = min(LONGEST, DELAY * 2.0**attempt)
    return min(LONGEST, wait * (1 + RANDOMIZATION * random.uniform(-1, 1)))  # noqa: S311 - no secret


class Returning(Fanout):
    """The base of scenarios in which clients are lost on purpose. `latency` is the time from the loss of a
    client until it is back in its namespace."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._away: dict[Client, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempts: dict[Client, int] = {}
        self._running = False

    async def run(self, since: int, until: int) -> None:
        """From here on, lost clients return."""
        self._running = True
        await super().run(since, until)

    async def settle(self) -> None:
        """Wait for the clients that are away, and for late deliveries."""
        try:
            async with asyncio.timeout(self.plan.timeout + LONGEST):
                await self._all_back()
        except TimeoutError:
            pass
        self.tally.count("missing", len(self._away))
        await super().settle()

    def ready(self, client: Client) -> None:
        """A client is there for the first time, or back."""
        super().ready(client)
        at = self._away.pop(client, 0)
        if not at:
            return
        del self._attempts[client]
        self.tally.count("reconnects")
        self.tally.count("recovered", int(client.recovered))
        if self.tally.measures(at):
            self.tally.latency.record(clock() - at)

    def lost(self, client: Client, reason: str) -> None:
        """A client is gone, and comes back after a wait. A failed attempt is no failed client."""
        if not self._running:
            super().lost(client, reason)
            return
        if client.state is State.READY:
            self.tally.connected -= 1
            self.tally.count("disconnects")
            self._away[client] = clock()
            self._attempts[client] = 0
            self.left(client, reason)
        else:
            self.tally.error(reason)
        self.crowd.settled(client)
        self._later(client)

    def left(self, client: Client, reason: str) -> None:
        """A client that was there is gone."""
        self.tally.error(reason)

    def is_away(self) -> bool:
        """True while some clients are away."""
        return bool(self._away)

    def took(self, nanoseconds: int) -> None:
        """The latency of deliveries is not this scenario's figure: it would be that of the absences."""

    def _later(self, client: Client) -> None:
        attempt = self._attempts.get(client)
        if attempt is None:
            return
        self._attempts[client] = attempt + 1
        task = asyncio.get_running_loop().create_task(self._return(client, delay(attempt)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return(self, client: Client, wait: float) -> None:
        await asyncio.sleep(wait)
        self.tally.count("attempts")
        await self.crowd.connect(client)

    async def _all_back(self) -> None:
        while self._away and self._tasks:
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
