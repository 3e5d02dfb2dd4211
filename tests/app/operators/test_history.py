"""Samples of the counters."""

from __future__ import annotations

from moorage.app.operators.history import POINTS, History
from moorage.metrics.metrics import Metrics
from moorage.wire.inspect.forms import HISTORY_STEP
from tests.hub.fakes import World


class Clock:
    """A node's history, whose clocks are `now`."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.metrics = Metrics("test")
        self.history = History(World().node, self.metrics, lambda: self.now, self.now)

    def pass_(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            self.history.tick(self.now)


def test_a_sample_every_five_seconds() -> None:
    clock = Clock()
    clock.metrics.connects += 3
    clock.metrics.received_websocket += 10
    clock.metrics.bytes_received_polling += 100
    clock.metrics.lag(0.25)
    clock.pass_(5)
    clock.metrics.connects += 1
    clock.metrics.lag(0.0)
    clock.pass_(7)
    first, second = clock.history.show().points
    assert (first.time, second.time) == (1_005, 1_010)
    assert (first.connects, first.messages_in, first.bytes_in, first.loop_lag) == (3, 10, 100, 0.25)
    assert (second.connects, second.messages_in, second.loop_lag) == (1, 0, 0.0)
    assert first.memory > 1_000_000 and first.cpu >= 0


def test_the_last_quarter_of_an_hour() -> None:
    clock = Clock()
    clock.metrics.disconnects["slow-client"] += 1
    clock.metrics.refusals["client", "draining"] += 1
    clock.metrics.refusals["admin", "admin-no-key"] += 1
    clock.pass_(HISTORY_STEP)
    shown = clock.history.show()
    assert (shown.reasons, shown.refusals) == ({"slow-client": 1}, {"draining": 1})
    clock.pass_(HISTORY_STEP * (POINTS + 10))
    clock.metrics.disconnects["slow-client"] += 2
    shown = clock.history.show()
    assert len(shown.points) == POINTS
    assert (shown.reasons, shown.refusals) == ({"slow-client": 2}, {})


def test_a_clock_that_is_set() -> None:
    clock = Clock()
    clock.pass_(5)
    clock.now -= 3_600
    clock.history.tick(5_000.0)
    clock.pass_(5)
    assert len(clock.history.show().points) >= 2
    clock.now += 7_200
    clock.history.tick(6_000.0)
    assert clock.history.show().points[-1].time == clock.now // HISTORY_STEP * HISTORY_STEP
