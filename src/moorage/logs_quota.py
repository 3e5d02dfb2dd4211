"""Limits the number of log lines that peers can cause."""

from __future__ import annotations

from typing import Final

REPORT_SECONDS: Final = 10.0
"""Minimum seconds between two reports of suppressed lines."""


class Quota:
    """Allows `rate` lines a second, and `burst` lines at once after a quiet time. Further lines are counted.
    Times are in seconds of a monotonic clock."""

    def __init__(self, rate: float, burst: float) -> None:
        self.suppressed = 0
        """Number of suppressed lines since the start."""
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = 0.0
        self._next_at = 0.0
        """Until then no line is allowed: most calls come in floods."""
        self._reported = 0
        self._report_at = 0.0

    def allows(self, now: float) -> bool:
        """True if a line may be written now. Otherwise counts it as suppressed."""
        if now >= self._next_at:
            if now > self._at:
                self._left = min(self._burst, self._left + (now - self._at) * self._rate)
                self._at = now
            if self._left >= 1:
                self._left -= 1
                return True
            if self._rate:
                self._next_at = now + (1 - self._left) / self._rate
        self.suppressed += 1
        return False

    def report(self, now: float) -> int:
        """Number of lines suppressed since the last report; 0 if the next report is not due yet."""
        missed = self.suppressed - self._reported
        if not missed or now < self._report_at:
            return 0
        self._reported = self.suppressed
        self._report_at = now + REPORT_SECONDS
        return missed
