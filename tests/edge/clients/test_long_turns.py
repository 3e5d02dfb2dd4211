"""Clients that all send at once: one turn of the event loop reads them all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from moorage.edge.clients.websocket import ClientSocket
from moorage.hub.flushes import PACKETS
from moorage.metrics.metrics import Metrics


@pytest.mark.repair(9)
def test_a_turn_that_reads_many_clients_writes_in_between() -> None:
    metrics = Metrics("test")
    flushed: list[int] = []
    node = SimpleNamespace(
        receive=lambda connection, data: None,
        flushes=SimpleNamespace(now=lambda: flushed.append(metrics.received_websocket)),
    )
    acceptor: Any = SimpleNamespace(metrics=metrics, node=node)
    packet: Any = _make_test_ws_frame(WSMsgType.TEXT, b'42["x"]', True, False)
    for _ in range(PACKETS * 3 // 2):
        for _client in range(2):
            nobody: Any = None
            ClientSocket(acceptor, nobody, probing=False).on_ws_frame(nobody, packet)
    assert flushed == [PACKETS, 2 * PACKETS, 3 * PACKETS]
