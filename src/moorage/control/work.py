"""REST calls that are too much to be carried out at once: one after another in each hub, in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from moorage.hub.turns import TURN_SECONDS, Intake, Job, Turns
from moorage.wire.commands import Outcome
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BUSY

MAX_WAITING: Final = 100
"""Calls of one hub that wait."""

ResultT = TypeVar("ResultT")


class Reading:
    """Shares the time for reading calls: a filter may take milliseconds to compile, and a hundred
    connections may bring one each in the same turn of the event loop. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._used = 0.0
        """Seconds since others last had a turn."""

    async def read(self, decode: Callable[[], ResultT]) -> ResultT:
        """What `decode` returns or raises, in this turn of the loop or, after much work, a later one."""
        async with self._lock:
            began = self._clock()
            try:
                return decode()
            finally:
                self._used += self._clock() - began
                if self._used >= TURN_SECONDS:
                    self._used = 0.0
                    # With the lock held: those that wait for it are read after this turn.
                    await asyncio.sleep(0)


class ApiWork:
    """The calls of all hubs."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._hubs: dict[str, Intake] = {}

    def carry_out(self, hub: str, job: Job[Outcome]) -> asyncio.Future[Outcome]:
        """Its outcome, or the `PeerError` that it raises. Raises `PeerError` (api-busy)."""
        name = hub.casefold()
        intake = self._hubs.get(name)
        if intake is None:
            intake = self._hubs[name] = Intake(self._turns)
        elif len(intake) >= MAX_WAITING:
            raise PeerError(API_BUSY, f"at most {MAX_WAITING}")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        intake.add(self._answered(name, intake, job, future))
        return future

    def _answered(
        self, hub: str, intake: Intake, job: Job[Outcome], future: asyncio.Future[Outcome]
    ) -> Job[None]:
        try:
            outcome = yield from job
        except Exception as error:
            if not future.done():
                future.set_exception(error)
        else:
            # The caller may have gone away: its command is carried out all the same.
            if not future.done():
                future.set_result(outcome)
        if len(intake) == 1:
            del self._hubs[hub]
