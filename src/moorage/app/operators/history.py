"""The counters of the last quarter of an hour, one sample every five seconds. A sample reads some twenty
numbers, whatever the number of clients."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from moorage.app.operators.load import Traffic, memory, traffic
from moorage.hub.node import Node
from moorage.metrics.metrics import Metrics
from moorage.wire.inspect.forms import HISTORY_STEP, NodeHistory, Point

POINTS: Final = 180


class _Totals(NamedTuple):
    """Counters since the start of the process."""

    when: float
    connects: int
    disconnects: int
    passed: Traffic
    cpu: float


class _Reasons(NamedTuple):
    disconnects: Counter[str]
    refusals: Counter[str]


class History:
    """Samples `node` and `metrics`. `wall_clock` gives epoch seconds."""

    def __init__(self, node: Node, metrics: Metrics, wall_clock: Callable[[], float], now: float) -> None:
        self._node = node
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._reasons: deque[_Reasons] = deque([self._by_reason()], maxlen=POINTS + 1)
        self._last = self._totals(now)
        self._lag = 0.0
        self._due = self._next_due()

    def _next_due(self) -> float:
        return (self._wall_clock() // HISTORY_STEP + 1) * HISTORY_STEP

    def tick(self, now: float) -> None:
        """Take a sample if one is due. Call it a few times a second."""
        self._lag = max(self._lag, self._metrics.last_lag)
        wall = self._wall_clock()
        # A clock that was set back must not stop the samples.
        if wall < self._due <= wall + HISTORY_STEP:
            return
        self._sample(now, wall // HISTORY_STEP * HISTORY_STEP)
        self._due = self._next_due()

    def _sample(self, now: float, wall: float) -> None:
        last, this = self._last, self._totals(now)
        self._last = this
        self._points.append(
            Point(
                time=wall,
                connections=self._node.connections,
                connects=this.connects - last.connects,
                disconnects=this.disconnects - last.disconnects,
                messages_in=this.passed.messages_in - last.passed.messages_in,
                messages_out=this.passed.messages_out - last.passed.messages_out,
                bytes_in=this.passed.bytes_in - last.passed.bytes_in,
                bytes_out=this.passed.bytes_out - last.passed.bytes_out,
                cpu=round((this.cpu - last.cpu) / max(this.when - last.when, 0.1), 4),
                memory=memory(),
                loop_lag=round(self._lag, 6),
                queued_bytes=self._node.flusher.waiting,
            )
        )
        self._lag = 0.0
        self._reasons.append(self._by_reason())

    def _totals(self, now: float) -> _Totals:
        metrics = self._metrics
        return _Totals(
            now,
            metrics.connects,
            metrics.disconnects.total(),
            traffic(self._node, metrics),
            time.process_time(),
        )

    def _by_reason(self) -> _Reasons:
        refusals: Counter[str] = Counter()
        for (door, reason), count in self._metrics.refusals.items():
            if door in ("client", "link"):
                refusals[reason] += count
        return _Reasons(Counter(self._metrics.disconnects), refusals)

    def show(self) -> NodeHistory:
        """All samples."""
        now, then = self._by_reason(), self._reasons[0]
        return NodeHistory(
            points=list(self._points),
            reasons=dict(now.disconnects - then.disconnects),
            refusals=dict(now.refusals - then.refusals),
        )
