"""Exports run beside the traffic, and a collector that hangs keeps nothing from ending."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest

from moorage.metrics.metrics import Metrics
from moorage.otel.sender import LAST_SECONDS, Sender
from moorage.otel.settings import Telemetry

BOTH = Telemetry(1.0, metrics=True, interval=3600.0)


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """A collector that takes requests and never answers; their paths."""
    asked: list[str] = []
    writers: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.append((await reader.readline()).decode().split()[1])

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
    yield asked
    server.close()
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def sender(telemetry: Telemetry) -> Sender:
    return Sender(telemetry, Metrics("1.2.3"), node="n1", incarnation="abc")


async def test_a_stop_does_not_wait_for_a_collector_that_hangs(silent: list[str]) -> None:
    made = sender(BOTH)
    made.start()
    assert made.spans is not None
    made.spans.begin(lambda: ("a", {})).end("handled")
    began = time.monotonic()
    await made.stop()
    assert LAST_SECONDS <= time.monotonic() - began < 15
    async with asyncio.timeout(20):
        while len(silent) < 2:
            await asyncio.sleep(0.01)
    assert sorted(silent) == ["/v1/metrics", "/v1/traces"]


async def test_nothing_is_tried_again_after_a_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        before = set(threading.enumerate())
        made = sender(BOTH)
        made.start()
        assert made.spans is not None
        made.spans.begin(lambda: ("a", {})).end("handled")
        await made.stop()
        for thread in set(threading.enumerate()) - before:
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive(), thread.name
    assert "already shutdown" not in caplog.text


async def test_nothing_is_sampled_at_ratio_0(silent: list[str]) -> None:
    made = sender(BOTH._replace(ratio=0.0, metrics=False))
    made.start()
    assert made.spans is None
    await made.stop()
    assert silent == []


@pytest.mark.parametrize(("given", "name"), [("", "moorage"), ("chat-edge", "chat-edge")])
async def test_the_variables_name_the_service(monkeypatch: pytest.MonkeyPatch, given: str, name: str) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", given)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    attributes = sender(BOTH._replace(ratio=0.0))._resource.attributes
    assert attributes["service.name"] == name
    assert attributes["service.instance.id"] == "abc"
    assert attributes["deployment.environment"] == "test"
