"""Work that is too large for one turn of the event loop is done in steps, and its time is shared fairly.

A job is a generator that yields after each step. A step is about `STEP` units of work; one unit is a member
examined, a room looked up or a packet queued. An `Intake` holds the jobs of one peer and carries them out in
order. `Turns` gives each intake one step in rotation until the time of this turn is used up; the event loop
then does everything else before the next turn.

Other links, clients and REST callers go on between two steps, so what a job has selected may change.
docs/explanation/architecture.md, "Work in steps", describes what jobs guarantee."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from moorage.hub.outbox import Flusher

STEP: Final = 1_000
"""Units of work in one step: 0.1 to 0.5 ms."""
TURN_SECONDS: Final = 0.003
"""Time for all jobs together in one turn of the loop."""
AT_ONCE: Final = 50
"""Clients that are closed in one step. Each costs about 20 us, with its write and its log line."""
TURN_WRITES: Final = 1_000
"""A turn also ends when this many clients have data to be written, because a write costs about 5 us."""

ResultT = TypeVar("ResultT")


Job = Generator[bool, None, ResultT]
"""Yields False after a step, and True when it cannot go on before `Intake.wake` is called."""


class Intake:
    """The jobs of one peer, oldest first."""

    __slots__ = ("_active", "_turns", "jobs")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.jobs: deque[Job[object]] = deque()
        """The unfinished jobs. Callers only test whether it is empty: that is `busy` without a call."""
        self._active = False

    @property
    def busy(self) -> bool:
        """True if there is an unfinished job."""
        return bool(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, job: Job[object]) -> None:
        """Carry out `job` after all other jobs of this peer. It must not raise."""
        self.jobs.append(job)
        self.wake()

    def wake(self) -> None:
        """The first job can continue."""
        if self.jobs and not self._active:
            self._active = True
            self._turns.add(self)

    def clear(self) -> None:
        """Drop all jobs, because the peer is gone."""
        self.jobs.clear()

    def step(self) -> None:
        """Do one step of the first job. Only `Turns` calls this."""
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
    """Shares the time for jobs among intakes. `schedule` makes the event loop call `run` in its next turn."""

    def __init__(
        self, schedule: Callable[[], object], clock: Callable[[], float], flusher: Flusher[Any]
    ) -> None:
        self._schedule = schedule
        self._clock = clock
        self._flusher = flusher
        flusher.busy = lambda: self.busy
        self._active: deque[Intake] = deque()
        self._scheduled = False
        self._running = False
        self._behind = False
        """True if the last turn ended with work left."""

    def add(self, intake: Intake) -> None:
        """Give `intake` steps: its first job can go on."""
        self._active.append(intake)
        if not self._running:
            self._wake()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    @property
    def busy(self) -> bool:
        """True if a job can go on."""
        return bool(self._active)

    def begin(self) -> None:
        """Do a turn now, at the end of a read. If the last turn left work behind, the new work waits for the
        next turn instead."""
        if not self._behind:
            self._turn()

    def run(self) -> None:
        """Do one turn: a step of each intake, in rotation."""
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
    """Carry out all steps of a job at once, and return its result."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            result: ResultT = end.value
            return result
