"""A bad network: each client loses its TCP connection again and again, and comes back, while messages are
sent.

The server has to do what it does for `fanout`, and should have connection state recovery on. The clients
that publish are not cut.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from moorage.load.client import Client, State
from moorage.load.crowd import clock
from moorage.load.scenarios.returning import Returning

CUT: Final = "cut by this scenario"
SPREAD: Final = 0.2


class Jitter(Returning):
    """Cuts. A reset, in which packets under way are lost in both directions."""

    async def load(self, since: int) -> None:
        """Cut clients while messages are published."""
        cutting = asyncio.get_running_loop().create_task(self._cut_all())
        try:
            await super().load(since)
        finally:
            cutting.cancel()

    def left(self, client: Client, reason: str) -> None:
        """Only what this scenario has not done itself is an error."""
        if reason != CUT:
            super().left(client, reason)

    async def _cut_all(self) -> None:
        """One loop over all clients in the order of their next cut. The first ones do not come at once,
        because native socket.io does not recover a client that has not received anything."""
        every = self.plan.cut_every
        cut = [client for client in self.live() if client not in self._published]
        first = [clock() + int(every * random.uniform(SPREAD, 1 + SPREAD) * 1e9) for _ in cut]  # noqa: S311
        due = sorted((at, client.number, client) for at, client in zip(first, cut, strict=True))
        while due:
            wave = []
            for at, number, client in due:
                await asyncio.sleep(max(0.0, (at - clock()) / 1e9))
                if client.state is State.READY:
                    self.tally.count("cuts")
                    client.cut(CUT)
                pause = every * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311
                wave.append((at + int(pause * 1e9), number, client))
            due = sorted(wave)
