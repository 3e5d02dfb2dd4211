"""The load of this process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from moorage.app.operators import load
from moorage.app.operators.load import WINDOW, Load, memory, traffic
from moorage.metrics.metrics import Metrics
from tests.hub.fakes import World


def test_the_cpu_of_the_last_seconds() -> None:
    world = World()
    found = Load(world.node, Metrics("test"), world.now, int)
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    found.tick(world.now + WINDOW - 1)
    assert found.now().cpu == 0.0
    world.now += WINDOW
    found.tick(world.now)
    assert 0.01 <= found.now().cpu <= 0.5
    assert found.now().uptime == WINDOW


def test_counters() -> None:
    world, metrics = World(), Metrics("test")
    metrics.received_websocket, metrics.received_polling = 2, 3
    metrics.lag(0.5)
    shown = Load(world.node, metrics, world.now, lambda: 3).now()
    assert (shown.messages_in, shown.messages_out, shown.loop_lag) == (5, 0, 0.5)
    assert (shown.sockets, shown.rooms, shown.queued_bytes) == (0, 3, 0)


def test_traffic_of_both_transports() -> None:
    world, metrics = World(), Metrics("test")
    metrics.received_websocket, metrics.received_polling = 1, 20
    metrics.bytes_received_websocket, metrics.bytes_received_polling = 3, 40
    metrics.bytes_sent_websocket, metrics.bytes_sent_polling = 5, 60
    world.node.flusher.written = 700
    world.node.flusher.sent_websocket, world.node.flusher.sent_polling = 8, 90
    assert traffic(world.node, metrics) == (21, 98, 43, 765)


@pytest.mark.parametrize("text", ["", "x y z", "1"])
def test_memory_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert memory() > 1_000_000
    monkeypatch.setattr(load, "_STATM", tmp_path / "statm")
    assert memory() == 0
    (tmp_path / "statm").write_text(text)
    assert memory() == 0
