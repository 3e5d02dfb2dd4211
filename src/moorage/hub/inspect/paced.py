"""Operators' questions are answered at a pace that clients do not notice: one question after another, and at
most one step in a turn of the event loop, where other work gets several milliseconds (`hub.turns`). While
several questions wait, there is also a pause after each step."""

from __future__ import annotations

from typing import Final

from moorage.hub.ports import Inspector, Later
from moorage.hub.turns import Intake, Job, Turns
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_BUSY

MAX_WAITING: Final = 100
"""Most questions that wait on one node."""


class Paced:
    """Carries out jobs slowly. `later` makes a call in the next turn of the event loop."""

    def __init__(self, turns: Turns, later: Later) -> None:
        self._intake = Intake(turns)
        self._later = later
        self.pause: Later = later
        """Makes a call after the pause."""
        self.inspector: Inspector | None = None
        """Answers the questions. None if operators may not look at this node."""

    def __len__(self) -> int:
        return len(self._intake)

    def add(self, job: Job[None]) -> None:
        """Carry out a job after the others; it must not raise. Raises `PeerError` (admin-busy)."""
        if len(self._intake) >= MAX_WAITING:
            raise PeerError(ADMIN_BUSY, f"at most {MAX_WAITING} questions wait on a node")
        self._intake.add(self._slowly(job))

    def _slowly(self, job: Job[None]) -> Job[None]:
        for _ in job:
            (self._later if len(self._intake) == 1 else self.pause)(self._intake.wake)
            yield True
