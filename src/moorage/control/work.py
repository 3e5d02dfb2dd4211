"""Large REST calls. In each hub they are carried out one after another, in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from moorage.hub.inspect.paced import Paced
from moorage.hub.ports import Reply
from moorage.hub.turns import TURN_SECONDS, Intake, Job, Turns
from moorage.wire.commands import Command, Inspect, Outcome
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BUSY

MAX_WAITING: Final = 100
"""Maximum number of waiting calls of one hub."""

ResultT = TypeVar("ResultT")


class Reading:
    """Shares the time for decoding calls. A filter may take milliseconds to compile, and a hundred
    connections may send one each in the same turn of the event loop. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._used = 0.0
        """Seconds used since the last pause for others."""

    async def read(self, decode: Callable[[], ResultT]) -> ResultT:
        """Call `decode` in this turn of the loop or, after much work, in a later one."""
        async with self._lock:
            began = self._clock()
            try:
                return decode()
            finally:
                self._used += self._clock() - began
                if self._used >= TURN_SECONDS:
                    self._used = 0.0
                    # The lock stays held, so the other calls are decoded after this turn.
                    await asyncio.sleep(0)


class ApiWork:
    """Executes the calls of all hubs. `inspections` takes the work for operators."""

    def __init__(
        self, submit: Callable[[Command, Reply], Job[None] | None], turns: Turns, inspections: Paced
    ) -> None:
        self._submit = submit
        self._turns = turns
        self._inspections = inspections
        self._hubs: dict[str, Intake] = {}

    def execute(self, command: Command) -> Outcome | asyncio.Future[Outcome]:
        """The outcome, now or later; later also the exception. Raises `PeerError`, api-busy among others."""
        call = _Call()
        job = self._submit(command, call.reply)
        if job is not None and isinstance(command, Inspect):
            self._inspections.add(job)
        elif job is not None:
            self._add(command.hub.casefold(), job)
        return call.result()

    def _add(self, hub: str, job: Job[None]) -> None:
        intake = self._hubs.get(hub)
        if intake is None:
            intake = self._hubs[hub] = Intake(self._turns)
        elif len(intake) >= MAX_WAITING:
            raise PeerError(API_BUSY, f"at most {MAX_WAITING}")
        intake.add(self._carry_out(hub, intake, job))

    def _carry_out(self, hub: str, intake: Intake, job: Job[None]) -> Job[None]:
        yield from job
        if len(intake) == 1:
            del self._hubs[hub]


class _Call:
    """Keeps the reply until it is asked for, or passes it on."""

    __slots__ = ("_future", "_outcome")

    def __init__(self) -> None:
        self._outcome: Outcome | Exception | None = None
        self._future: asyncio.Future[Outcome] | None = None

    def reply(self, _about: object, outcome: Outcome | Exception) -> None:
        """`hub.ports.Reply`."""
        self._outcome = outcome
        # The caller may have gone away: its command is carried out all the same.
        if self._future is None or self._future.done():
            return
        if isinstance(outcome, Exception):
            self._future.set_exception(outcome)
        else:
            self._future.set_result(outcome)

    def result(self) -> Outcome | asyncio.Future[Outcome]:
        """The outcome, or a future if there is none yet. Raises the exception, if it is one."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        if self._outcome is not None:
            return self._outcome
        self._future = asyncio.get_running_loop().create_future()
        return self._future
