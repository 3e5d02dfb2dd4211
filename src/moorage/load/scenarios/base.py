"""What all scenarios share: they open their clients, run for a time, and count the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from moorage.load.client import Client, State
from moorage.load.crowd import Crowd, clock
from moorage.load.packets import Dialect
from moorage.load.plan import Plan
from moorage.load.tally import Tally

POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Stage:
    """The parts of one worker."""

    plan: Plan
    tally: Tally
    crowd: Crowd
    dialect: Dialect


class Scenario:
    """The base, and the scenario `idle`: the clients connect, answer pings, and stay."""

    def __init__(self, stage: Stage) -> None:
        self.plan = stage.plan
        self.tally = stage.tally
        self.crowd = stage.crowd
        self.dialect = stage.dialect
        self.until = 0
        self.clients = [
            Client(number, stage.dialect, self, clock, stage.plan.auth)
            for number in range(stage.plan.first, stage.plan.first + stage.plan.clients)
        ]

    # -- the phases -------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Open all clients."""
        await self.crowd.open(self.clients)

    async def run(self, since: int, until: int) -> None:
        """The load, between two times in nanoseconds."""
        self.until = until
        await self.load(since)

    async def load(self, since: int) -> None:
        """What the clients do until `until`. It may be cancelled; `settle` follows in any case."""
        await pause_until(self.until)

    async def settle(self) -> None:
        """Wait for packets that are under way, at most the plan's timeout, and count the missing ones."""

    # -- the listener of the clients --------------------------------------------------------------------

    def ready(self, client: Client) -> None:
        """The client has joined."""
        tally = self.tally
        tally.connected += 1
        tally.connect.record(clock() - client.dialed_at)
        tally.count("connects")
        self.crowd.settled(client)

    def acked(self, client: Client, number: int, packet: bytes) -> None:
        """An ack that nobody waits for."""
        self.tally.error("an ack that was not asked for")

    def event(self, client: Client, packet: bytes) -> None:
        """Ignore an event of the application that the tester did not ask for."""

    def lost(self, client: Client, reason: str) -> None:
        """The connection is gone, or there was none."""
        if client.state is State.READY:
            self.tally.connected -= 1
            self.tally.count("disconnects")
        else:
            self.tally.count("failed")
        self.tally.error(reason)
        self.crowd.settled(client)

    # -- for the scenarios ------------------------------------------------------------------------------

    def live(self) -> list[Client]:
        """The clients that are in the namespace."""
        return [client for client in self.clients if client.state is State.READY]


async def pause_until(at: int) -> None:
    """Sleep until a time in nanoseconds."""
    await asyncio.sleep(max(0.0, (at - clock()) / 1e9))


async def wait_for(done: Callable[[], bool], seconds: float) -> bool:
    """Wait until `done`, or until the time is up. Returns what `done` then says."""
    end = clock() + int(seconds * 1e9)
    while not done() and clock() < end:
        await asyncio.sleep(POLL_SECONDS)
    return done()
