"""The load of this process: CPU, memory, and its counters. A question costs a few microseconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from moorage.hub.node import Node
from moorage.metrics.metrics import Metrics
from moorage.wire.inspect.forms import NodeLoad

_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
WINDOW: Final = 5.0
"""Seconds over which the use of the CPU is measured."""


def memory() -> int:
    """Resident bytes of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


class Traffic(NamedTuple):
    """Packets and bytes between this node and its clients since the start."""

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int


def traffic(node: Node, metrics: Metrics) -> Traffic:
    """The traffic until now, of both transports."""
    flusher = node.flusher
    return Traffic(
        metrics.received_websocket + metrics.received_polling,
        flusher.sent_websocket + flusher.sent_polling,
        metrics.bytes_received_websocket + metrics.bytes_received_polling,
        metrics.bytes_sent_websocket + flusher.written + metrics.bytes_sent_polling,
    )


class Load:
    """Measures. Call `tick` a few times a second. `rooms` counts the node's rooms."""

    def __init__(self, node: Node, metrics: Metrics, now: float, rooms: Callable[[], int]) -> None:
        self._node = node
        self._rooms = rooms
        self._metrics = metrics
        self._began = self._since = now
        self._used = time.process_time()
        self.cpu = 0.0
        """CPU cores in use in the last `WINDOW` seconds."""

    def tick(self, now: float) -> None:
        """Time passes."""
        passed = now - self._since
        if passed >= WINDOW:
            used = time.process_time()
            self.cpu = (used - self._used) / passed
            self._since, self._used = now, used

    def now(self) -> NodeLoad:
        """The load now."""
        node, metrics = self._node, self._metrics
        passed = traffic(node, metrics)
        return NodeLoad(
            cpu=round(self.cpu, 4),
            memory=memory(),
            loop_lag=round(metrics.lag_max, 6),
            queued_bytes=node.flusher.waiting,
            uptime=round(node.clock() - self._began, 1),
            sockets=sum(metrics.gauges.sockets().values()),
            rooms=self._rooms(),
            messages_in=passed.messages_in,
            messages_out=passed.messages_out,
        )
