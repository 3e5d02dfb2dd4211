"""What a worker has counted since its last report, and the sums of all reports."""

from __future__ import annotations

from typing import Final

import msgspec

from moorage.load.histogram import Histogram

COUNTS: Final = (
    "sent",
    "received",
    "lost",
    "repeated",
    "misordered",
    "wrong",
    "connects",
    "failed",
    "disconnects",
    "cuts",
    "reconnects",
    "recovered",
    "attempts",
    "missing",
)
"""Names of the counters. `lost`: events without an answer or delivery, at the end of their client or of the
run. `wrong`: answers unlike what was asked for. `attempts`: dials after a lost connection. `missing`:
clients that did not come back."""
HISTOGRAMS: Final = ("latency", "lag", "connect")
"""`latency` from the intended time of sending; `lag` is the load tester's own delay in sending."""
REPORT_SECONDS: Final = 0.5
"""Time between two reports of a worker."""
MAX_ERRORS: Final = 50
"""Maximum number of different texts of errors that a run keeps."""
OTHER: Final = "other errors"
"""Stands for all texts beyond these."""
MAX_TEXT: Final = 200
NEVER: Final = 1 << 62


class Report(msgspec.Struct):
    """One worker's figures since its last report."""

    worker: int
    connected: int
    """Clients that are in the namespace now."""
    counts: dict[str, int]
    histograms: dict[str, dict[int, int]]
    errors: dict[str, int]
    cpu: float
    """Seconds of CPU that the worker has used so far."""
    state: str = ""
    """`ready`: all clients are settled. `done`: the last report."""


class Tally:
    """Counts events whose intended time is in the measured window, [`since`, `until`) in nanoseconds."""

    def __init__(self) -> None:
        self.since = NEVER
        self.until = NEVER
        self.connected = 0
        self.latency = Histogram()
        self.lag = Histogram()
        self.connect = Histogram()
        self.sent = 0
        self.received = 0
        self.counts = dict.fromkeys(COUNTS, 0)
        self._errors: dict[str, int] = {}

    def measures(self, at: int) -> bool:
        """True if what was intended for `at` belongs to the measured window."""
        return self.since <= at < self.until

    def count(self, name: str, number: int = 1) -> None:
        """Add to one of the rare counters; `sent` and `received` are attributes."""
        self.counts[name] += number

    def error(self, text: str) -> None:
        """Count an error by its text, of which only what a terminal can show is kept: servers write parts
        of it."""
        _add_error(self._errors, _printable(text[:MAX_TEXT]), 1)

    def report(self, worker: int, cpu: float, state: str = "") -> Report:
        """The figures since the last report, which are then forgotten."""
        self.counts["sent"] += self.sent
        self.counts["received"] += self.received
        made = Report(
            worker,
            self.connected,
            {name: count for name, count in self.counts.items() if count},
            {name: getattr(self, name).buckets() for name in HISTOGRAMS},
            self._errors,
            cpu,
            state,
        )
        self.sent = self.received = 0
        self.counts = dict.fromkeys(COUNTS, 0)
        self._errors = {}
        for name in HISTOGRAMS:
            getattr(self, name).clear()
        return made


def _add_error(errors: dict[str, int], text: str, count: int) -> None:
    if text not in errors and len(errors) >= MAX_ERRORS:
        text = OTHER
    errors[text] = errors.get(text, 0) + count


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Totals:
    """The sums of reports: of all workers, or of all workers in one second."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self.histograms = {name: Histogram() for name in HISTOGRAMS}
        self.errors: dict[str, int] = {}

    def add(self, report: Report) -> None:
        """Add one report."""
        for name, count in report.counts.items():
            self.counts[name] += count
        for name, buckets in report.histograms.items():
            self.histograms[name].add(buckets)
        for text, count in report.errors.items():
            # Each report has a bounded number of texts, but they may differ from those before.
            _add_error(self.errors, text, count)
