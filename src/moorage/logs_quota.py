"""How many lines a stranger may cause."""

from __future__ import annotations

from typing import Final

REPORT_SECONDS: Final = 10.0
"""Suppressed lines are reported at most this often."""


class Quota:
    """`rate` lines a second, and `burst` at once after a quiet time; the rest is counted. Times in seconds,
    of any clock that does not go back."""

    def __init__(self, rate: float, burst: float) -> None:
        self.suppressed = 0
        """All of them, since the start."""
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = 0.0
        self._reported = 0
        self._report_at = 0.0

    def allows(self, now: float) -> bool:
        """True if a line may be written now. If not, it is counted."""
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
        if self._left >= 1:
            self._left -= 1
            return True
        self.suppressed += 1
        return False

    def report(self, now: float) -> int:
        """How many lines were suppressed since the last report; 0 if the next one is not due yet."""
        missed = self.suppressed - self._reported
        if not missed or now < self._report_at:
            return 0
        self._reported = self.suppressed
        self._report_at = now + REPORT_SECONDS
        return missed
