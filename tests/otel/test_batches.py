"""Batches of spans: when they leave, how large they are, and what is dropped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from moorage.otel.batches import TOGETHER, Batches
from moorage.otel.settings import Batching


class Span(NamedTuple):
    """One that is encoded as its number."""

    number: int

    def encoded(self) -> bytes:
        return str(self.number).encode()


class Collector:
    """Keeps what it is sent. It takes no more while it is `busy`."""

    def __init__(self) -> None:
        self.batches: queue.Queue[list[bytes]] = queue.Queue()
        self.free = threading.Event()
        self.free.set()

    def take(self, spans: Sequence[bytes]) -> None:
        self.batches.put(list(spans))
        self.free.wait(20)

    def next(self) -> list[bytes]:
        return self.batches.get(timeout=20)


def numbers(*given: int) -> list[bytes]:
    return [str(number).encode() for number in given]


def test_a_batch_leaves_when_it_is_full_and_the_rest_at_the_end() -> None:
    collector = Collector()
    batches = Batches(collector.take, Batching(delay=3600.0, queue=100, batch=2 * TOGETHER))
    for number in range(2 * TOGETHER + 1):
        batches.add(Span(number))
    found = collector.next()
    batches.close()
    while not collector.batches.empty():
        found += collector.next()
    assert found == numbers(*range(2 * TOGETHER + 1))


def test_a_batch_leaves_after_its_time() -> None:
    collector = Collector()
    batches = Batches(collector.take, Batching(delay=0.01))
    batches.add(Span(1))
    assert collector.next() == numbers(1)
    batches.close()


def test_what_waits_too_long_for_the_collector_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()
    collector.free.clear()
    batches = Batches(collector.take, Batching(delay=3600.0, queue=3, batch=1))
    batches.add(Span(0))
    assert collector.next() == numbers(0)
    for number in range(1, 6):
        batches.add(Span(number))
    collector.free.set()
    batches.close()
    assert [collector.next() for _ in range(3)] == [numbers(1), numbers(2), numbers(3)]
    assert collector.batches.empty()
    assert "spans dropped" in caplog.text


def test_a_batch_that_cannot_be_sent_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()

    def send(spans: Sequence[bytes]) -> None:
        if b"0" in spans:
            raise RuntimeError("a defect")
        collector.take(spans)

    batches = Batches(send, Batching(delay=3600.0, batch=1))
    batches.add(Span(0))
    batches.add(Span(1))
    batches.close()
    assert collector.next() == numbers(1)
    assert "a batch of spans was not sent" in caplog.text
