"""Work that is too much for one turn of the event loop: it is done in steps, fairly shared.

A job is a generator that yields after each step. A step is about `STEP` units of work: a member
looked at, a room looked up, a packet queued. An `Intake` holds the jobs of one peer and carries
them out in order. `Turns` gives the intakes one step each, round and round, until the time of this
turn is used up; the event loop then serves everybody else before the next turn.

What a job selects may change between two steps: other links, clients and REST callers go on. Each
job says what it guarantees (docs/explanation/architecture.md, "Work in steps").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from moorage.hub.outbox import Flusher
    from moorage.hub.ports import Schedule

STEP: Final = 1_000
"""Units of work in one step: 0.1 to 0.5 ms."""
TURN_SECONDS: Final = 0.003
"""Time for all jobs together in one turn of the loop."""
TURN_WRITES: Final = 1_000
"""A turn also ends when this many clients have something to be written: a write costs about 5 us."""

ResultT = TypeVar("ResultT")

Job = Generator[bool, None, ResultT]
"""Yields False after a step, and True when it cannot go on before `Intake.wake` is called."""


class Intake:
    """The jobs of one peer, oldest first."""

    __slots__ = ("_active", "_turns", "jobs")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.jobs: deque[Job[object]] = deque()
        """What is not finished. Only for a look whether there is anything: `busy` without a call."""
        self._active = False

    @property
    def busy(self) -> bool:
        """Has it a job that is not finished?"""
        return bool(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, job: Job[object]) -> None:
        """Carry `job` out after all others of this peer. It must not raise."""
        self.jobs.append(job)
        self.wake()

    def wake(self) -> None:
        """The first job can go on."""
        if self.jobs and not self._active:
            self._active = True
            self._turns.add(self)

    def clear(self) -> None:
        """The peer is gone, and nobody is left to care: forget its jobs."""
        self.jobs.clear()

    def step(self) -> None:
        """One step of the first job. Only `Turns` calls this."""
        self._active = False
        if not self.jobs:
            return
        job = self.jobs[0]
        waits = False
        try:
            waits = next(job)
        except StopIteration:
            self._end(job)
        except BaseException:
            self._end(job)
            raise
        finally:
            if not waits:
                self.wake()

    def _end(self, job: Job[object]) -> None:
        # A job may have cleared its own intake.
        if self.jobs and self.jobs[0] is job:
            self.jobs.popleft()


class Turns:
    """Shares the time for jobs. `schedule` has `run` called in the next turn of the loop."""

    def __init__(self, schedule: Schedule, clock: Callable[[], float], flusher: Flusher) -> None:
        self._schedule = schedule
        self._clock = clock
        self._flusher = flusher
        self._active: deque[Intake] = deque()
        self._scheduled = False
        self._running = False
        self._behind = False
        """The last turn ended with work left."""

    def add(self, intake: Intake) -> None:
        """`intake` has something to do."""
        self._active.append(intake)
        if not self._running:
            self._wake()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    def begin(self) -> None:
        """Have a turn now, at the end of a read, unless there was more work than one turn holds: then
        the new work waits for the next turn like the rest."""
        if not self._behind:
            self._turn()

    def run(self) -> None:
        """One turn: a step of each intake, round and round."""
        self._scheduled = False
        self._turn()

    def _turn(self) -> None:
        active, clock, flusher = self._active, self._clock, self._flusher
        if not active:
            return
        self._running = True
        flusher.cork()
        until = clock() + TURN_SECONDS
        try:
            while active:
                active.popleft().step()
                if clock() >= until or flusher.pending >= TURN_WRITES:
                    break
        finally:
            flusher.run()
            self._running = False
            self._behind = bool(active)
            if active:
                self._wake()


def finished(job: Job[ResultT]) -> ResultT:
    """The result of a job that is carried out in one go."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            result: ResultT = end.value
            return result
