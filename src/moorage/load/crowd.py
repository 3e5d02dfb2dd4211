"""Opens the connections of many clients, a limited number at a time, and looks after them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

from moorage.load.client import Client, State
from moorage.load.plan import Plan
from moorage.load.transports import polling, websocket
from moorage.load.transports.target import Target

GIVE_UP: Final = 50
"""Failures after which no further client is opened, unless one has succeeded."""
WATCH_SECONDS: Final = 5.0

clock: Final = time.monotonic_ns
"""The same clock in all processes of a machine, so that a time in a packet can be compared on arrival."""

Dial = Callable[[Target, Client], Awaitable[None]]
_DIALS: Final[dict[str, Dial]] = {"websocket": websocket.dial, "polling": polling.dial}


class Crowd:
    """Connects the clients of one worker."""

    def __init__(self, target: Target, plan: Plan) -> None:
        self._target = target
        self._dial = _DIALS[plan.transport]
        self._timeout = plan.timeout
        self._opening = plan.opening
        self._settling: dict[Client, asyncio.Future[None]] = {}
        self._failures = 0
        self._successes = 0
        self._stopped = False

    async def open(self, clients: Sequence[Client]) -> None:
        """Connect the clients. Returns when each of them has joined or failed, or when it makes no sense to
        go on."""
        waiting = iter(clients)
        await asyncio.gather(*(self._one_by_one(waiting) for _ in range(min(self._opening, len(clients)))))

    async def connect(self, client: Client, at: int = 0) -> bool:
        """Connect one client. The time counts from `at`, or from now. Returns True if it has joined;
        otherwise its listener has got `lost`."""
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        client.dialing(at or clock())
        self._settling[client] = settled
        try:
            async with asyncio.timeout(self._timeout):
                await self._dial(self._target, client)
                await settled
        except TimeoutError:
            missing = "Engine.IO handshake" if client.state is State.DIALING else "answer to CONNECT"
            client.cut(reason := f"no {missing} within {self._timeout:g} s")
            client.ended(reason)
        except OSError as error:
            client.ended(_reason(error))
        finally:
            del self._settling[client]
        joined = client.state is State.READY
        self._successes += joined
        self._failures += not joined
        return joined

    def settled(self, client: Client) -> None:
        """The client has joined or failed."""
        waiter = self._settling.get(client)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def watch(self, clients: Iterable[Client]) -> None:
        """Cut clients whose server is silent. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = clock()
            for client in clients:
                if client.is_silent(now):
                    client.cut("no ping from the server in time")

    def stop(self) -> None:
        """Open no further clients."""
        self._stopped = True

    async def _one_by_one(self, waiting: Iterator[Client]) -> None:
        for client in waiting:
            if self._stopped or (self._failures >= GIVE_UP and not self._successes):
                return
            await self.connect(client)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return error.strerror or str(error) or type(error).__name__
