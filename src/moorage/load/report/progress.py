"""The line that is rewritten while a run lasts, or a line every few seconds if the output is no terminal."""

from __future__ import annotations

from typing import Final, TextIO

from moorage.load.plan import Plan
from moorage.load.result import LATENCY, RATED
from moorage.load.run import Progress

BAR: Final = 20
LINE_SECONDS: Final = 5.0


class ProgressLine:
    """Writes to `out`."""

    def __init__(self, out: TextIO, *, shown: bool = True) -> None:
        self._out = out
        self._shown = shown
        self._rewrites = out.isatty()
        self._last = -LINE_SECONDS
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Show the progress of the run."""
        if not self._shown:
            return
        if self._rewrites:
            text = line(progress)
            self._out.write("\r" + text.ljust(self._width))
            self._width = len(text)
            self._out.flush()
        elif progress.phase != "connecting" and progress.seconds - self._last >= LINE_SECONDS:
            self._last = progress.seconds
            self._out.write(line(progress) + "\n")
            self._out.flush()

    def close(self) -> None:
        """Remove the line."""
        if self._shown and self._rewrites:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()


def line(progress: Progress) -> str:
    """The text of one line."""
    plan = progress.plan
    if progress.phase == "connecting":
        parts = [f"{plan.scenario}  connecting {progress.connected:,} of {plan.clients:,} clients"]
        failed = progress.totals.counts["failed"]
        return "  ".join([*parts, f"failed {failed:,}"] if failed else parts)
    parts = [f"{plan.scenario}  {_bar(plan, progress.seconds)}  {progress.phase}"]
    recent = progress.recent
    if plan.scenario in RATED:
        parts.append(f"{recent.counts['received']:,}/s")
    if plan.scenario in LATENCY:
        p50, p99 = recent.histograms["latency"].quantiles((0.5, 0.99))
        parts.append(f"p50 {_ms(p50)}  p99 {_ms(p99)}")
    parts.append(f"clients {progress.connected:,}")
    for name in ("lost", "disconnects"):
        if count := progress.totals.counts[name]:
            parts.append(f"{name} {count:,}")
    return "  ".join(parts)


def _bar(plan: Plan, seconds: float) -> str:
    whole = plan.warmup + plan.duration
    share = min(1.0, seconds / whole) if whole else 1.0
    return f"[{('#' * round(share * BAR)).ljust(BAR, '.')}] {seconds:.0f}/{whole:.0f} s"


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"
